"""Vector search inside the process: indexes on disk and in memory, filled from the catalog.

Each collection has an index that follows the catalog and that the catalog can rebuild. One thread
builds one index after the other. While there is nothing to build, it measures the recall of
approximate searches from time to time.

Shape suffixes: N rows, B rows of a block, D embedding width.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.arrays import Floats
from service.catalog.filter_records import ScanFilter
from service.catalog.interface import Catalog
from service.catalog.vector_search import (
    IndexedRows,
    IndexStatistics,
    NearestRows,
    PartLists,
    Ranking,
    SearchState,
    digest_of,
    require_encoder,
)
from service.errors import IndexDamaged, ServiceError, Stopping
from service.gallery.left_out import left_out, rows_of
from service.index.segment_builder import discard
from service.index.vector_index import EXACT_ROWS, TAIL_ROWS, EmbeddingIndex, IndexState

log = logging.getLogger(__name__)
BLOCK_ROWS = 4096
MAX_DENIED = 500  # rows of the patients or studies that a search leaves out, found beside the hits
RECALL_SAMPLES = 100
RETRY_S = 60.0  # after a failed build
CLOSE_TIMEOUT_S = 30.0
Key = tuple[str, str]


class EmbeddedSearch:
    """``VectorSearch`` of the one process that writes to the catalog.

    Writers take turns; searches do not wait for them and take no lock.

    Args:
        folder: for index files; None = everything exact and in memory.
        exact_rows: longest index that is searched exactly; None = ``EXACT_ROWS``.
        recall_every_s: pause between two measurements of recall.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        encoder_id: str,
        dim: int,
        folder: Path | None = None,
        exact_rows: int | None = None,
        recall_every_s: float = 60.0,
    ) -> None:
        self._catalog = catalog
        self.encoder_id = encoder_id
        self.dim = dim
        self._folder = folder
        self._exact_rows = exact_rows or EXACT_ROWS
        self._recall_every_s = recall_every_s
        self._indexes: dict[Key, EmbeddingIndex] = {}
        self._recalls: dict[Key, deque[float]] = {}
        self._refused_until: dict[Key, float] = {}
        self._exchanged: dict[Key, threading.Event] = {}
        # RLock: an exchange may be part of a longer write.
        self._writing = threading.RLock()
        self._changing = threading.Lock()  # of the table of indexes
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    # searching ----------------------------------------------------------------------------

    def search(
        self,
        workspace_id: str,
        collection: str,
        query_D: Floats,
        *,
        k: int,
        where: ScanFilter,
    ) -> NearestRows:
        """See ``VectorSearch``."""
        return self.ranking(workspace_id, collection, query_D, where=where)(k)

    def ranking(
        self, workspace_id: str, collection: str, query_D: Floats, *, where: ScanFilter
    ) -> Ranking:
        """See ``VectorSearch``: the filter is evaluated once, in the catalog."""
        filters = left_out(where)
        if filters:
            denied = partial(rows_of, self._catalog, workspace_id, collection, filters)
            count = len(denied())
            if count <= MAX_DENIED:
                return self._ranking_without(workspace_id, collection, query_D, denied, count)
        allowed_N = None
        if not where.is_empty:
            allowed_N = self._catalog.row_ids_where(workspace_id, collection, where)
        index = self._of(workspace_id, collection)

        def best(k: int) -> NearestRows:
            (nearest,) = index.search(
                query_D[None], k=k, encoder_id=self.encoder_id, allowed_ids=allowed_N
            )
            return NearestRows(nearest.row_ids_K, nearest.scores_K)

        return best

    def _ranking_without(
        self,
        workspace_id: str,
        collection: str,
        query_D: Floats,
        denied: Callable[[], npt.NDArray[np.int64]],
        count: int,
    ) -> Ranking:
        """All rows are searched, for ``count`` more hits, and the denied ones left out of them."""
        index = self._of(workspace_id, collection)

        def best(k: int) -> NearestRows:
            (nearest,) = index.search(query_D[None], k=k + count, encoder_id=self.encoder_id)
            # Read again, after the search: a denied scan that came meanwhile may be among the hits.
            others_K = ~np.isin(nearest.row_ids_K, denied())
            return NearestRows(nearest.row_ids_K[others_K][:k], nearest.scores_K[others_K][:k])

        return best

    def statistics(self, workspace_id: str, collection: str) -> IndexStatistics:
        """See ``VectorSearch``."""
        index = self._indexes.get((workspace_id, collection))
        now = IndexState(0, 0, 0, 0) if index is None else index.state()
        recalls = tuple(self._recalls.get((workspace_id, collection), ()))
        return IndexStatistics(
            index_id=digest_of(workspace_id, collection)[:12],
            state=SearchState(
                now.rows,
                now.compressed_rows,
                now.segments,
                now.tail_rows,
                tuple(PartLists(p.rows, p.lists, p.probed, p.is_measured) for p in now.lists),
            ),
            recall=float(np.mean(recalls)) if recalls else None,
            recall_samples=len(recalls),
        )

    def all_statistics(self) -> list[IndexStatistics]:
        """The state of every index."""
        return [self.statistics(*key) for key in tuple(self._indexes)]

    def _of(self, workspace_id: str, collection: str) -> EmbeddingIndex:
        """The index of a collection, a new one if it has none. Waits for the end of an exchange.

        Raises:
            UnknownItem: no such collection. EncoderMismatch: of another encoder.
        """
        exchanged = self._exchanged.get((workspace_id, collection))
        if exchanged is not None:
            exchanged.wait()
        index = self._indexes.get((workspace_id, collection))
        if index is not None:
            return index
        require_encoder(self._catalog.get_collection(workspace_id, collection), self.encoder_id)
        return self._kept(workspace_id, collection)

    def _kept(self, workspace_id: str, collection: str) -> EmbeddingIndex:
        with self._changing:
            new = self._new(workspace_id, collection)
            return self._indexes.setdefault((workspace_id, collection), new)

    def _new(self, workspace_id: str, collection: str) -> EmbeddingIndex:
        place = None
        if self._folder is not None:
            place = self._folder / digest_of(workspace_id, collection)
        return EmbeddingIndex(
            self.dim,
            self.encoder_id,
            folder=place,
            exact_rows=self._exact_rows,
            tail_rows=min(self._exact_rows, TAIL_ROWS),
        )

    # writing ------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See ``VectorSearch``: one writer at a time."""
        with self._writing:
            yield

    def add(self, workspace_id: str, collection: str, rows: IndexedRows) -> None:
        """See ``VectorSearch``."""
        self._kept(workspace_id, collection).add(
            rows.row_ids_N,
            rows.embeddings_ND,
            encoder_id=self.encoder_id,
            hashes_N=rows.hashes_N,
        )

    def remove(self, workspace_id: str, collection: str, row_ids_N: npt.NDArray[np.int64]) -> None:
        """See ``VectorSearch``: the next build removes the bytes from the files."""
        index = self._indexes.get((workspace_id, collection))
        if index is not None:
            index.remove(row_ids_N, purge=True)

    def drop(self, workspace_id: str, collection: str) -> None:
        """See ``VectorSearch``: the files are deleted."""
        with self._changing:
            index = self._indexes.pop((workspace_id, collection), None)
            self._recalls.pop((workspace_id, collection), None)
        if index is not None:
            index.discard()

    @contextmanager
    def exchange(self, workspace_id: str, collection: str) -> Iterator[None]:
        """See ``VectorSearch``: searches wait until the index is filled again."""
        key = (workspace_id, collection)
        with self._writing:
            done = self._exchanged[key] = threading.Event()
            try:
                yield
                record = self._catalog.get_collection(workspace_id, collection)
                if record.encoder_id == self.encoder_id:
                    self.reload(workspace_id, collection)
                else:
                    self.drop(workspace_id, collection)
            finally:
                del self._exchanged[key]
                done.set()

    # filling ------------------------------------------------------------------------------

    def open(self) -> int:
        """See ``VectorSearch``: opens every index, or fills it from the catalog."""
        with self._writing:
            own = [
                (workspace_id, collection.name)
                for workspace_id, collection in self._catalog.all_collections()
                if collection.encoder_id == self.encoder_id
            ]
            self._sweep(own)
            total = sum(self.reload(*key) for key in own)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="indexes", daemon=True)
            self._thread.start()
        return total

    def reload(self, workspace_id: str, name: str) -> int:
        """Reopen one index from its files and the catalog; return the number of its scans.

        Raises:
            UnknownItem: no such collection.
        """
        with self._writing:
            return self._opened(workspace_id, name)

    def _opened(self, workspace_id: str, name: str) -> int:
        began = time.monotonic()
        index = self._new(workspace_id, name)
        row_ids_N, hashes_N = self._catalog.content_hashes(workspace_id, name)
        damaged = index.open_files(row_ids_N, hashes_N)
        missing_N = index.missing(row_ids_N)
        try:
            index.fill(
                self._blocks(workspace_id, name, row_ids_N, hashes_N, missing_N), len(missing_N)
            )
        except IndexDamaged:  # no room on the disk: in memory, and exact
            log.warning("index files cannot be written", extra={"rows": len(row_ids_N)})
            index = EmbeddingIndex(self.dim, self.encoder_id)
            index.fill(self._blocks(workspace_id, name, row_ids_N, hashes_N, row_ids_N), 0)
        self._indexes[workspace_id, name] = index
        fields = {
            "rows": len(row_ids_N),
            "from_catalog": len(missing_N),
            "damaged_segments": damaged,
            "seconds": round(time.monotonic() - began, 3),
        }
        log.log(logging.WARNING if damaged else logging.INFO, "index opened", extra=fields)
        return len(row_ids_N)

    def _blocks(
        self,
        workspace_id: str,
        name: str,
        row_ids_N: npt.NDArray[np.int64],
        hashes_N: npt.NDArray[np.uint64],
        wanted_N: npt.NDArray[np.int64],
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.float32]]]:
        for start in range(0, len(wanted_N), BLOCK_ROWS):
            ids = wanted_N[start : start + BLOCK_ROWS].tolist()
            ids_B, rows_BD = self._catalog.row_vectors(workspace_id, name, ids)
            yield ids_B, hashes_N[np.searchsorted(row_ids_N, ids_B)], rows_BD

    def _sweep(self, own: list[Key]) -> None:
        """Remove the files of collections that are gone or of another encoder."""
        if self._folder is None or not self._folder.is_dir():
            return
        known = {digest_of(*key) for key in own}
        for place in self._folder.iterdir():
            if place.name not in known:
                discard(place)

    # in the background --------------------------------------------------------------------

    def wake(self) -> None:
        """See ``VectorSearch``."""
        self._wake.set()

    def close(self) -> None:
        """Abandon an unfinished build; the next start repeats it."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def _work(self) -> None:
        measured = time.monotonic()
        while not self._closed.is_set():
            self._wake.clear()
            built = [self._step(key, index) for key, index in tuple(self._indexes.items())]
            if any(built):
                continue
            if time.monotonic() - measured >= self._recall_every_s:
                self._measure()
                measured = time.monotonic()
            self._wake.wait(self._recall_every_s)

    def _step(self, key: Key, index: EmbeddingIndex) -> bool:
        if time.monotonic() < self._refused_until.get(key, 0) or not index.wants_build:
            return False
        began = time.monotonic()
        try:
            done = index.build(stopping=self._closed.is_set)
        except Stopping:
            return False
        except (ServiceError, RuntimeError, MemoryError) as error:  # FAISS raises the second
            self._refused_until[key] = time.monotonic() + RETRY_S
            log.warning("index not built", extra={"cause": type(error).__name__})
            return False
        log.info(
            "index built",
            extra={"rows": len(index), "seconds": round(time.monotonic() - began, 3)},
        )
        return done

    def _measure(self) -> None:
        for key, index in tuple(self._indexes.items()):
            recall = index.sample_recall()
            if recall is not None:
                self._recalls.setdefault(key, deque(maxlen=RECALL_SAMPLES)).append(recall)
