"""Copies are found where no patient is known, and only copies."""

import numpy as np
import pytest

from service.errors import InputError
from service.fewshot.duplicates import (
    alike,
    closest,
    first_pairs,
    near_duplicate_groups,
    similarity_of_copies,
)

LEAST = 0.9


def noisy(seed: int, count: int, dim: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim))


def test_copies_with_a_little_noise_are_one_group_and_strangers_are_not() -> None:
    rows = noisy(0, 400)
    copies = rows[:50] + 0.1 * noisy(1, 50)
    found = near_duplicate_groups(np.concatenate([rows, copies]), min_similarity=LEAST)
    assert (found[400:] == found[:50]).all()
    assert len(np.unique(found)) == 400


def test_a_chain_of_likenesses_across_blocks_is_one_group() -> None:
    turn = np.linspace(0, np.pi, 600)  # neighbours are alike, the ends are opposite
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    order = np.random.default_rng(0).permutation(600)
    assert len(np.unique(near_duplicate_groups(ring[order], min_similarity=LEAST))) == 1
    assert alike(ring[[0, 1]], min_similarity=LEAST).first_P.tolist() == [0]


def test_an_encoder_whose_frames_are_all_alike_raises_the_bar() -> None:
    rows = noisy(2, 60) + 20  # all cosines near 1
    labels = ["a"] * 30 + ["b"] * 30
    bar = similarity_of_copies(rows, labels, min_similarity=LEAST)
    assert bar > 0.99
    for least in (LEAST, 0.92):
        assert similarity_of_copies(noisy(2, 60), labels, min_similarity=least) == least
    assert len(np.unique(near_duplicate_groups(rows, min_similarity=bar))) > 30


def test_the_closest_other_row_is_that_of_plain_numpy() -> None:
    rows, others = noisy(3, 300), noisy(4, 20)
    unit = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (rows, others)]
    cosines = unit[0] @ unit[1].T
    best, cosine = closest(rows, others)
    np.testing.assert_array_equal(best, cosines.argmax(1))
    np.testing.assert_allclose(cosine, cosines.max(1), atol=1e-6)  # float32


def test_bad_rows_and_likenesses_are_refused() -> None:
    with pytest.raises(InputError):
        near_duplicate_groups(np.eye(2), min_similarity=0)
    with pytest.raises(InputError):
        near_duplicate_groups(np.array([[np.nan, 1.0]]), min_similarity=LEAST)
    with pytest.raises(InputError):
        similarity_of_copies(np.eye(2), ["a"], min_similarity=LEAST)


def test_the_first_pairs_are_those_of_all_pairs_in_order_of_rank_and_likeness() -> None:
    rows = noisy(3, 600)  # more than one block
    rows[300:] = rows[:300] + 0.3 * noisy(4, 300)
    everything = alike(rows, min_similarity=LEAST)
    ranks = (everything.first_P % 3) - 1  # of every third row the pairs are left out
    order = np.lexsort((-everything.cosine_P, ranks))
    expected = order[ranks[order] >= 0][:20]
    pairs, numbers = first_pairs(
        rows, lambda first, second: first % 3 - 1, limit=20, min_similarity=LEAST
    )
    assert pairs.first_P.tolist() == everything.first_P[expected].tolist()
    assert pairs.second_P.tolist() == everything.second_P[expected].tolist()
    assert numbers == {rank: int((ranks == rank).sum()) for rank in (0, 1)}
