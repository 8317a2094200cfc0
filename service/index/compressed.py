"""The compressed index: finds candidates among many rows, for exact scoring of a few.

Rows are rotated at random and kept as two bits per number beside the nearest of some thousand
centroids (extended RaBitQ, Gao et al., SIGMOD 2025, in inverted lists); docs/decisions/0015 tells
why this and not another. Ids are positions in a segment. Once built it never changes.

Shape suffixes: N rows, B rows of a block, Q queries, R candidates, D embedding width, C centroids.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from service.errors import IndexDamaged, Stopping
from service.index.neighbours import Floats, Ids

LISTS_PER_ROOT = 2.0  # lists = this x the root of N, to a power of two
LEAST_LISTS = 16
PROBES = 24
BITS = 2
TRAIN_PER_LIST = 20
TRAIN_STEPS = 8
ADD_ROWS = 8192
SEED = 1234

Take = Callable[[Ids], Floats]


class Coarse:
    """A trained and filled index. Thread safe: searching changes nothing."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def search(
        self, queries_QD: Floats, depth: int, open_bits: npt.NDArray[np.uint8] | None
    ) -> Ids:
        """Positions of candidates, int64 (Q, R = depth), -1 where there are no more.

        Args:
            open_bits: a bit per position, least first, 1 = may be found; None = all may.
        """
        faiss.omp_set_num_threads(1)  # of this thread: many searches at once share the cores
        selector = None
        if open_bits is not None:
            selector = faiss.IDSelectorBitmap(open_bits)  # type: ignore[call-arg, arg-type]
        lists: Any = faiss.SearchParametersIVF(nprobe=PROBES, sel=selector)  # type: ignore[call-arg]
        wanted: Any = faiss.SearchParametersPreTransform(index_params=lists)  # type: ignore[call-arg]
        _, near_QR = self._index.search(queries_QD, depth, params=wanted)
        found: Ids = near_QR
        return found

    def write(self, path: Path) -> None:
        """Make the file ``coarse.faiss``; not in memory first, where it would lie three times.

        Raises:
            OSError: the disk refuses.
        """
        try:
            faiss.write_index(self._index, str(path))
        except RuntimeError as error:
            raise OSError("the compressed index cannot be written") from error


def build(take: Take, rows: int, dim: int, *, stopping: Callable[[], bool]) -> Coarse:
    """Train on a sample and add every row; minutes for a million, on one core.

    Args:
        take: the rows of some positions, float32.
        stopping: asked between steps of a second or so.

    Raises:
        Stopping: ``stopping`` said so.
    """
    faiss.omp_set_num_threads(1)  # of this thread: a build must not crowd out searches
    lists = lists_for(rows)
    rotation: Any = faiss.RandomRotationMatrix(dim, dim)
    rotation.init(SEED)
    centroids_CD = _centroids(take, rows, lists, stopping)
    quantizer: Any = faiss.IndexFlatL2(dim)
    inverted: Any = faiss.IndexIVFRaBitQ(quantizer, dim, lists, faiss.METRIC_L2, True, BITS)
    inverted.own_fields = True
    quantizer.this.disown()
    turned_CD = rotation.apply(centroids_CD)
    quantizer.add(turned_CD)
    inverted.train(turned_CD)  # the centroids are there already; this lets it take rows
    index: Any = faiss.IndexPreTransform(rotation, inverted)
    index.own_fields = True
    rotation.this.disown()
    inverted.this.disown()
    for start in range(0, rows, ADD_ROWS):
        _stop_if(stopping)
        positions_B = np.arange(start, min(start + ADD_ROWS, rows), dtype=np.int64)
        index.add(take(positions_B))
    return Coarse(index)


def lists_for(rows: int) -> int:
    """How many inverted lists a segment gets: a power of two."""
    return int(max(LEAST_LISTS, 2 ** round(math.log2(LISTS_PER_ROOT * math.sqrt(rows)))))


def read(path: Path, *, rows: int) -> Coarse:
    """Open a file whose checksum was verified. Raises IndexDamaged: not what was written."""
    try:
        index: Any = faiss.read_index(str(path))
    except RuntimeError as error:
        raise IndexDamaged("the compressed index does not open") from error
    if index.ntotal != rows:
        raise IndexDamaged(f"expected {rows} rows in the compressed index, got {index.ntotal}")
    return Coarse(index)


def _centroids(take: Take, rows: int, lists: int, stopping: Callable[[], bool]) -> Floats:
    rng = np.random.default_rng(SEED)
    count = min(rows, TRAIN_PER_LIST * lists)
    sample_ND = take(np.sort(rng.choice(rows, count, replace=False)))
    centroids_CD: Floats = sample_ND[rng.choice(count, lists, replace=False)]
    for _ in range(TRAIN_STEPS):
        _stop_if(stopping)
        # One step at a time: a whole training could not be interrupted.
        step: Any = faiss.Kmeans(
            sample_ND.shape[1],
            lists,
            niter=1,
            seed=SEED,
            min_points_per_centroid=1,
            max_points_per_centroid=TRAIN_PER_LIST + 1,
        )
        step.train(sample_ND, init_centroids=centroids_CD)
        centroids_CD = step.centroids
    return centroids_CD


def _stop_if(stopping: Callable[[], bool]) -> None:
    if stopping():
        raise Stopping("an index was being built while the service stopped")
