"""Choosing hits that differ."""

import numpy as np

from service.gallery.ranking import diverse


def test_without_diversity_the_best_come_first() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=30).astype(np.float32)
    rows = rng.normal(size=(30, 8)).astype(np.float32)
    assert diverse(scores, rows, 10, 0.0) == np.argsort(-scores)[:10].tolist()


def test_a_twin_of_what_was_chosen_comes_after_what_is_new() -> None:
    rows = np.array([[1, 0], [1, 0.01], [0, 1]], np.float32)
    scores = np.array([0.9, 0.89, 0.5], np.float32)
    assert diverse(scores, rows, 3, 0.5) == [0, 2, 1]
    assert diverse(scores, rows, 3, 0.1) == [0, 1, 2]


def test_more_than_there_are_gives_all_once() -> None:
    rows = np.eye(4, dtype=np.float32)
    assert sorted(diverse(np.ones(4, np.float32), rows, 10, 1.0)) == [0, 1, 2, 3]
