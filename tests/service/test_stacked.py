"""Examples are stacked without a copy where that is safe, and in their own order always."""

import numpy as np

from service.classifiers.examples import Example
from service.classifiers.fitting import stacked

ROWS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def examples_of(rows: np.ndarray) -> list[Example]:
    return [Example(row, "a", str(n)) for n, row in enumerate(rows)]


def test_the_rows_of_one_matrix_are_not_copied() -> None:
    assert stacked(examples_of(ROWS)) is ROWS


def test_examples_that_are_not_those_rows_in_order_are_copied_as_they_stand() -> None:
    whole = examples_of(ROWS)
    some_twice = [*whole[:3], whole[1], whole[1], whole[5]]
    for chosen in (whole[::-1], whole[1:], some_twice, examples_of(ROWS[:, :2])):
        wanted = np.array([example.embedding_D for example in chosen])
        np.testing.assert_array_equal(stacked(chosen), wanted)
