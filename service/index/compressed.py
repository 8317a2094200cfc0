"""The compressed index: it finds candidates among many rows, so that few need exact scores.

Rows are rotated at random and quantised to two bits per number, relative to the nearest of some
thousand centroids (extended RaBitQ, Gao et al., SIGMOD 2025, in inverted lists; decision 0015).
Ids are positions in a segment. A built index does not change.

Shape suffixes: N rows, B rows of a block, Q queries, R candidates, D embedding width, C centroids,
P allowed rows, L lists that are looked through.
"""

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from service.arrays import Floats
from service.errors import IndexDamaged, Stopping
from service.index.mapped_file import MappedFile, limit_mapped_bytes
from service.index.neighbours import Ids

LISTS_PER_ROOT = 2.0  # lists = this x the root of N, rounded to a power of two
MIN_LISTS = 16
PROBES = 24  # of a segment whose build measured none
BITS = 2
TRAIN_PER_LIST = 20
TRAIN_STEPS = 8
ADD_ROWS = 8192
LISTS_AT_ONCE = 128  # between two checks of the limit on mapped bytes
SEED = 1234

Take = Callable[[Ids], Floats]  # positions -> rows


class CompressedIndex:
    """A trained and filled index. Thread safe: a search changes nothing.

    Args:
        file: that holds its lists; None = they are in memory.

    Attributes:
        probes: lists that a search looks through.
    """

    def __init__(self, index: Any, probes: int = PROBES, *, file: MappedFile | None = None) -> None:
        self._index = index
        self._file = file
        self.probes = probes

    @property
    def lists(self) -> int:
        """Number of its lists."""
        return int(faiss.extract_index_ivf(self._index).nlist)

    def search(
        self,
        queries_QD: Floats,
        depth: int,
        allowed_bits: npt.NDArray[np.uint8] | None,
        *,
        probes: int | None = None,
    ) -> Ids:
        """Positions of candidates, int64 (Q, R = depth), -1 where there are no more.

        Args:
            allowed_bits: a bit per position, least significant first, 1 = allowed; None = all are.
            probes: lists to look through; None = ``self.probes``.
        """
        faiss.omp_set_num_threads(1)  # for this thread: parallel searches share the cores
        selector = None
        if allowed_bits is not None:
            selector = faiss.IDSelectorBitmap(allowed_bits)  # type: ignore[call-arg, arg-type]
        lists: Any = faiss.SearchParametersIVF(nprobe=probes or self.probes, sel=selector)  # type: ignore[call-arg]
        parameters: Any = faiss.SearchParametersPreTransform(index_params=lists)  # type: ignore[call-arg]
        _, near_QR = self._index.search(queries_QD, depth, params=parameters)
        limit_mapped_bytes()
        candidates_QR: Ids = near_QR
        return candidates_QR

    def widening(self, query_D: Floats, depth: int, allowed_P: Ids) -> Iterator[Ids]:
        """Candidates among allowed positions, in steps that look ever farther from the query.

        Only lists that hold an allowed row are looked through. The first step takes
        ``self.probes`` of them, or more until they hold the share of the allowed rows that so many
        lists hold of all rows. Every further step takes as many lists as all before it.

        Args:
            depth: candidates of each ``LISTS_AT_ONCE`` lists.

        Yields:
            Positions, int64 (R,), none twice.
        """
        faiss.omp_set_num_threads(1)  # for this thread: parallel searches share the cores
        inverted = faiss.extract_index_ivf(self._index)
        rotation: Any = faiss.downcast_VectorTransform(self._index.chain.at(0))
        turned_1D = rotation.apply(query_D[None])
        distances_1C, order_1C = inverted.quantizer.search(turned_1D, inverted.nlist)
        allowed_C = np.bincount(self._lists_by_row[allowed_P], minlength=inverted.nlist)
        has_allowed_C = allowed_C[order_1C[0]] > 0
        lists_L, distances_L = order_1C[0][has_allowed_C], distances_1C[0][has_allowed_C]
        share = min(1.0, self.probes / inverted.nlist) * len(allowed_P)
        enough = int(np.searchsorted(np.cumsum(allowed_C[lists_L]), share)) + 1
        start, end = 0, max(self.probes, enough)
        selector = faiss.IDSelectorBitmap(_bits_of(allowed_P, self._index.ntotal))  # type: ignore[call-arg, arg-type]
        while start < len(lists_L):
            parts = []
            for first in range(start, min(end, len(lists_L)), LISTS_AT_ONCE):
                part = slice(first, min(first + LISTS_AT_ONCE, end))
                near = (lists_L[part], distances_L[part])
                parts.append(_among_lists(inverted, turned_1D, depth, near, selector))
                limit_mapped_bytes()
            yield np.concatenate(parts)
            start, end = end, 2 * end

    @cached_property
    def _lists_by_row(self) -> npt.NDArray[np.int32]:
        """The list of each position."""
        lists: Any = faiss.extract_index_ivf(self._index).invlists
        list_of_N = np.empty(self._index.ntotal, np.int32)
        for number in range(lists.nlist):
            if size := lists.list_size(number):
                list_of_N[faiss.rev_swig_ptr(lists.get_ids(number), size)] = number
                limit_mapped_bytes()
        return list_of_N

    def write(self, path: Path) -> None:
        """Write the file without a copy in memory. Raises OSError."""
        try:
            faiss.write_index(self._index, str(path))
        except RuntimeError as error:
            raise OSError("the compressed index cannot be written") from error


def build(take: Take, rows: int, dim: int, *, stopping: Callable[[], bool]) -> CompressedIndex:
    """Train on a sample and add every row; minutes for a million, on one core.

    Args:
        take: returns rows, float32.
        stopping: whether to stop; called about once a second.

    Raises:
        Stopping: ``stopping`` returned True.
    """
    faiss.omp_set_num_threads(1)  # for this thread: a build must not slow down searches
    # A power of two.
    lists = max(MIN_LISTS, 2 ** round(math.log2(LISTS_PER_ROOT * math.sqrt(rows))))
    rotation: Any = faiss.RandomRotationMatrix(dim, dim)
    rotation.init(SEED)
    centroids_CD = _centroids(take, rows, lists, stopping)
    quantizer: Any = faiss.IndexFlatL2(dim)
    inverted: Any = faiss.IndexIVFRaBitQ(quantizer, dim, lists, faiss.METRIC_L2, True, BITS)
    inverted.own_fields = True
    quantizer.this.disown()
    turned_CD = rotation.apply(centroids_CD)
    quantizer.add(turned_CD)
    inverted.train(turned_CD)  # the centroids are set already, but FAISS requires this call
    index: Any = faiss.IndexPreTransform(rotation, inverted)
    index.own_fields = True
    rotation.this.disown()
    inverted.this.disown()
    for start in range(0, rows, ADD_ROWS):
        stop_if(stopping)
        positions_B = np.arange(start, min(start + ADD_ROWS, rows), dtype=np.int64)
        index.add(take(positions_B))
    return CompressedIndex(index)


def read(path: Path, *, rows: int, probes: int | None = None) -> CompressedIndex:
    """Open a file whose checksum was verified; lists stay in the file. Raises IndexDamaged."""
    file = MappedFile(path, is_kept=True)
    reader: Any = faiss.ZeroCopyIOReader(  # type: ignore[attr-defined]
        faiss.swig_ptr(file.bytes_B), len(file.bytes_B)
    )
    try:
        index: Any = faiss.read_index(reader)
    except RuntimeError as error:
        raise IndexDamaged("the compressed index does not open") from error
    if index.ntotal != rows:
        raise IndexDamaged(f"expected {rows} rows in the compressed index, got {index.ntotal}")
    _copy_centroids(faiss.extract_index_ivf(index))
    return CompressedIndex(index, probes or PROBES, file=file)


def _copy_centroids(inverted: Any) -> None:
    """Move the centroids from the file to memory, because they lie at odd addresses there."""
    in_file: Any = faiss.downcast_index(inverted.quantizer)
    in_memory: Any = faiss.IndexFlatL2(in_file.d)
    in_memory.add(in_file.reconstruct_n(0, in_file.ntotal))
    inverted.quantizer = in_memory
    in_memory.this.disown()
    in_file.this.own(True)


def _bits_of(positions_P: Ids, rows: int) -> npt.NDArray[np.uint8]:
    """A bit per row, least significant first: 1 = among the positions."""
    is_among_N = np.zeros(rows, np.bool_)
    is_among_N[positions_P] = True
    return np.packbits(is_among_N, bitorder="little")


def _among_lists(
    inverted: Any, turned_1D: Floats, depth: int, near: tuple[Ids, Floats], selector: Any
) -> Ids:
    """Positions of the candidates in some lists, given with the distances of their centroids."""
    numbers_L, distances_L = (np.ascontiguousarray(array) for array in near)
    positions_R, scores_R = np.empty(depth, np.int64), np.empty(depth, np.float32)
    options: Any = faiss.SearchParametersIVF(nprobe=len(numbers_L), sel=selector)  # type: ignore[call-arg]
    given = [faiss.swig_ptr(array) for array in (numbers_L, distances_L, scores_R, positions_R)]
    # The wrapper of FAISS for Python refuses options.
    inverted.search_preassigned_c(1, faiss.swig_ptr(turned_1D), depth, *given, False, options)
    return positions_R[positions_R >= 0]


def _centroids(take: Take, rows: int, lists: int, stopping: Callable[[], bool]) -> Floats:
    rng = np.random.default_rng(SEED)
    count = min(rows, TRAIN_PER_LIST * lists)
    sample_ND = take(np.sort(rng.choice(rows, count, replace=False)))
    centroids_CD: Floats = sample_ND[rng.choice(count, lists, replace=False)]
    for _ in range(TRAIN_STEPS):
        stop_if(stopping)
        # One step at a time, because FAISS cannot interrupt a training.
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


def stop_if(stopping: Callable[[], bool]) -> None:
    """Raises Stopping: ``stopping`` returned True."""
    if stopping():
        raise Stopping("the service stopped while it built an index")
