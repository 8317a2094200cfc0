"""Rows that lie in clusters, and a small index over them that builds segments early."""

from pathlib import Path

import numpy as np

from service.index.vector_index import EmbeddingIndex

DIM = 64


def clustered(count: int, seed: int = 0) -> np.ndarray:
    """Unit rows around 200 centres, as embeddings of many frames of few patients are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(200, DIM))
    rows = centres[rng.integers(0, 200, count)] + 0.7 * rng.normal(size=(count, DIM))
    rows = rows.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def small_index(folder: Path | None) -> EmbeddingIndex:
    return EmbeddingIndex(DIM, "enc_a", folder=folder, exact_rows=2000, tail_rows=1000)


def marks_of(ids: np.ndarray) -> np.ndarray:
    return ids.astype(np.uint64) * np.uint64(7)


def put(index: EmbeddingIndex, ids: np.ndarray, rows: np.ndarray) -> None:
    index.add(ids, rows, encoder_id="enc_a", marks_N=marks_of(ids))


def built(index: EmbeddingIndex) -> EmbeddingIndex:
    while index.build():
        pass
    return index


def found_ids(index: EmbeddingIndex, queries: np.ndarray, k: int = 10, **options) -> list[list]:
    found = index.search(queries, k=k, encoder_id="enc_a", **options)
    return [near.row_ids_K.tolist() for near in found]
