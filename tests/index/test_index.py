"""The index agrees with plain NumPy, also after removals and under a filter."""

import numpy as np
import pytest

from service.errors import EncoderMismatch, InputError
from service.index.vector_index import EmbeddingIndex


def unit(rng: np.random.Generator, count: int, dim: int = 32) -> np.ndarray:
    rows = rng.normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
def test_search_agrees_with_plain_numpy(share: float) -> None:
    rng = np.random.default_rng(0)
    rows, queries = unit(rng, 500), unit(rng, 7)
    index = EmbeddingIndex(32, "enc_a")
    index.add(np.arange(500) + 1000, rows, encoder_id="enc_a")
    index.remove(np.arange(1000, 1100))
    allowed = rng.choice(np.arange(1000, 1500), max(1, int(500 * share)), replace=False)
    left = np.array(sorted(set(allowed.tolist()) - set(range(1000, 1100))), np.int64)
    found = index.search(
        queries, k=10, encoder_id="enc_a", allowed_ids=None if share == 1 else allowed
    )
    left = np.arange(1100, 1500) if share == 1 else left
    expected = np.sort(queries @ rows[left - 1000].T, axis=1)[:, ::-1][:, :10]
    for near, scores in zip(found, expected, strict=True):
        # Scores, not ids: ties are not misses. float32 sums in another order.
        np.testing.assert_allclose(near.scores_K, scores, atol=1e-6)
        assert set(near.row_ids_K.tolist()) <= set(left.tolist())


def test_rows_and_queries_of_another_encoder_are_refused() -> None:
    index = EmbeddingIndex(32, "enc_a")
    rows = unit(np.random.default_rng(0), 2)
    with pytest.raises(EncoderMismatch):
        index.add(np.arange(2), rows, encoder_id="enc_b")
    with pytest.raises(EncoderMismatch):
        index.search(rows, k=1, encoder_id="enc_b")


def test_bad_rows_leave_the_index_as_it_was() -> None:
    index = EmbeddingIndex(32, "enc_a")
    rows = unit(np.random.default_rng(0), 2)
    rows[1, 0] = np.nan
    with pytest.raises(InputError):
        index.add(np.arange(2), rows, encoder_id="enc_a")
    assert len(index) == 0
