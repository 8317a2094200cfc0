"""What to label first where nothing is known: rows that differ, of groups that are new."""

import numpy as np
import pytest

from service.errors import InputError
from service.fewshot.label_quality import farthest_rows


def clusters(sizes: list[int], spread: float = 0.01) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(0)
    centres = np.eye(8)[: len(sizes)]
    of = [c for c, size in enumerate(sizes) for _ in range(size)]
    return centres[of] + spread * rng.normal(size=(len(of), 8)), of


def test_each_cluster_comes_before_any_comes_twice() -> None:
    rows, of = clusters([30, 3, 5, 2])
    picked = farthest_rows(rows, [str(i) for i in range(len(rows))], 8)
    assert sorted(of[row] for row in picked[:4]) == [0, 1, 2, 3]
    assert len(set(picked)) == 8


def test_the_first_row_is_typical_and_no_outlier() -> None:
    rows, of = clusters([30, 1])
    assert of[farthest_rows(rows, [str(i) for i in range(31)], 1)[0]] == 0


def test_a_new_group_goes_before_a_farther_row_of_a_known_one() -> None:
    rows, of = clusters([4, 4, 4])
    groups = ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    picked = farthest_rows(rows, groups, 5, known_MD=rows[:1], known_groups=["a"])
    assert sorted(of[row] for row in picked[:2]) == [1, 2]
    assert len(picked) == 5


def test_equal_rows_are_picked_once_and_never_beside_their_known_copy() -> None:
    rows = np.repeat(np.eye(3), 4, axis=0)
    groups = [str(i) for i in range(12)]
    assert len(farthest_rows(rows, groups, 10)) == 3
    assert len(farthest_rows(rows, groups, 10, known_MD=rows[:1], known_groups=["k"])) == 2


def test_wrong_requests_are_refused_and_nothing_gives_nothing() -> None:
    assert farthest_rows(np.empty((0, 4)), [], 3) == []
    for rows, groups, count in (
        (np.eye(2), ["a"], 1),
        (np.eye(2), ["a", "b"], 0),
        (np.zeros((1, 3)), ["a"], 1),
    ):
        with pytest.raises(InputError):
            farthest_rows(rows, groups, count)
