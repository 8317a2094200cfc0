"""Many frames, one answer, and whose it is."""

import numpy as np
import pytest

from service.errors import InputError
from service.fewshot.attribution import frame_terms, key_frames
from service.fewshot.head import LinearHead


def head(classes: int = 3, width: int = 8) -> LinearHead:
    rng = np.random.default_rng(1)
    names = tuple(f"c{i}" for i in range(classes))
    weights = rng.normal(size=(classes, width)).astype(np.float32)
    return LinearHead("e", names, weights, rng.normal(size=classes).astype(np.float32))


def test_the_frames_shares_add_up_to_the_logits_of_the_pooled_embedding() -> None:
    rows = np.random.default_rng(2).normal(size=(7, 8)) + 1
    terms = frame_terms(head(), rows)
    np.testing.assert_allclose(terms.logits, head().logits(terms.embedding_D[None])[0], atol=1e-6)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mean = unit.mean(0) / np.linalg.norm(unit.mean(0))
    np.testing.assert_allclose(terms.embedding_D, mean, atol=1e-6)


def test_a_frame_that_stands_for_three_counts_like_three() -> None:
    rows = np.random.default_rng(5).normal(size=(3, 8)) + 1
    short = frame_terms(head(), rows, np.array([1, 3, 1]))
    long = frame_terms(head(), rows[[0, 1, 1, 1, 2]])
    np.testing.assert_allclose(short.embedding_D, long.embedding_D, atol=1e-6)
    np.testing.assert_allclose(short.logits, long.logits)
    for copies in ([1, 0, 1], [1, 2], [1, np.inf, 1]):
        with pytest.raises(InputError):
            frame_terms(head(), rows, np.array(copies))


def test_a_frame_counts_by_its_direction_and_not_by_its_length() -> None:
    rows = np.random.default_rng(3).normal(size=(4, 8))
    scaled = rows * np.array([[1], [50], [0.1], [3]])
    np.testing.assert_allclose(
        frame_terms(head(), scaled).terms_TC, frame_terms(head(), rows).terms_TC, atol=1e-9
    )


def test_the_contribution_to_a_class_is_its_term_less_the_mean_of_the_others() -> None:
    terms = frame_terms(head(), np.random.default_rng(4).normal(size=(5, 8)))
    expected = terms.terms_TC[:, 1] - terms.terms_TC[:, [0, 2]].mean(1)
    np.testing.assert_allclose(terms.contributions(1), expected)


@pytest.mark.parametrize(
    ("contributions", "share", "expected"),
    [
        ([0.0, 5.0, -9.0, 1.0], 0.5, [1]),
        ([2.0, 2.0, 2.0, 2.0], 0.5, [0, 1]),
        ([1.0, 2.0, 3.0], 1.0, [2, 1, 0]),
        ([-1.0, 0.0], 0.5, []),
    ],
)
def test_the_fewest_frames_that_give_their_share_are_the_key_frames(
    contributions, share, expected
) -> None:
    assert key_frames(np.array(contributions), share) == expected


def test_frames_that_cancel_out_or_are_none_are_refused() -> None:
    row = np.ones((1, 8))
    for rows in (np.concatenate([row, -row]), np.empty((0, 8)), np.ones((2, 7)), row * 0):
        with pytest.raises(InputError):
            frame_terms(head(), rows)
