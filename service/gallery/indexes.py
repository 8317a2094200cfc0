"""The indexes of all collections: opened or filled from the catalog, kept up in the background.

One thread builds one index after the other. While there is nothing to build, it measures the
recall of approximate searches from time to time.

Shape suffixes: N rows, B rows of a block.
"""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.catalog.interface import Catalog
from service.errors import EncoderMismatch, IndexDamaged, ServiceError, Stopping
from service.gallery.gallery_records import Collection
from service.index.segment_builder import discard
from service.index.vector_index import EXACT_ROWS, TAIL_ROWS, EmbeddingIndex, IndexState

log = logging.getLogger(__name__)
BLOCK_ROWS = 4096
RECALL_SAMPLES = 100
RETRY_S = 60.0  # after a failed build
CLOSE_TIMEOUT_S = 30.0
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class IndexStatistics:
    """The state of the index of one collection.

    Attributes:
        index_id: names the index in metrics without naming the collection.
        recall: mean share of the exact 10 best that recent searches would find; None = the index
            is exact, or nobody has searched.
        recall_samples: number of searches in that mean.
    """

    index_id: str
    state: IndexState
    recall: float | None
    recall_samples: int


class CollectionIndexes:
    """Indexes by (workspace_id, collection). Thread safe; lookups take no lock.

    Args:
        folder: for index files; None = everything exact and in memory.
        exact_rows: longest index that is searched exactly.
        recall_every_s: pause between two measurements of recall.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        encoder_id: str,
        dim: int,
        folder: Path | None = None,
        exact_rows: int = EXACT_ROWS,
        recall_every_s: float = 60.0,
    ) -> None:
        self._catalog = catalog
        self._encoder_id = encoder_id
        self._dim = dim
        self._folder = folder
        self._exact_rows = exact_rows
        self._recall_every_s = recall_every_s
        self._indexes: dict[Key, EmbeddingIndex] = {}
        self._recalls: dict[Key, deque[float]] = {}
        self._refused_until: dict[Key, float] = {}
        self._loading: dict[Key, threading.Event] = {}
        self._changing = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    # lookup -------------------------------------------------------------------------------

    def get_own(self, workspace_id: str, name: str) -> Collection:
        """Read a collection of the loaded encoder. Raises UnknownItem, EncoderMismatch."""
        collection = self._catalog.get_collection(workspace_id, name)
        if collection.encoder_id != self._encoder_id:
            raise EncoderMismatch(
                f"the collection was made by {collection.encoder_id}, loaded is "
                f"{self._encoder_id}: re-embed the collection, or upload its files into a new one"
            )
        return collection

    def of(self, workspace_id: str, name: str) -> EmbeddingIndex:
        """The index of a collection; an empty new one if there is none."""
        loading = self._loading.get((workspace_id, name))
        if loading is not None:
            loading.wait()
        index = self._indexes.get((workspace_id, name))
        if index is not None:
            return index
        with self._changing:
            return self._indexes.setdefault((workspace_id, name), self._new(workspace_id, name))

    @contextmanager
    def held(self, workspace_id: str, name: str) -> Iterator[None]:
        """Make other threads that look this index up wait until the block ends."""
        done = self._loading[workspace_id, name] = threading.Event()
        try:
            yield
        finally:
            del self._loading[workspace_id, name]
            done.set()

    def drop(self, workspace_id: str, name: str) -> None:
        """Forget the index of a collection and delete its files."""
        with self._changing:
            index = self._indexes.pop((workspace_id, name), None)
            self._recalls.pop((workspace_id, name), None)
        if index is not None:
            index.discard()

    def statistics(self, workspace_id: str, name: str) -> IndexStatistics:
        """The state of the index of a collection."""
        recalls = tuple(self._recalls.get((workspace_id, name), ()))
        return IndexStatistics(
            index_id=_digest(workspace_id, name)[:12],
            state=self.of(workspace_id, name).state(),
            recall=float(np.mean(recalls)) if recalls else None,
            recall_samples=len(recalls),
        )

    def all_statistics(self) -> list[IndexStatistics]:
        """The state of every index."""
        return [self.statistics(*key) for key in tuple(self._indexes)]

    def _new(self, workspace_id: str, name: str) -> EmbeddingIndex:
        place = None if self._folder is None else self._folder / _digest(workspace_id, name)
        return EmbeddingIndex(
            self._dim,
            self._encoder_id,
            folder=place,
            exact_rows=self._exact_rows,
            tail_rows=min(self._exact_rows, TAIL_ROWS),
        )

    # filling ------------------------------------------------------------------------------

    def load(self) -> int:
        """Open or fill every index of the loaded encoder; return the number of scans."""
        own = [
            (workspace_id, collection.name)
            for workspace_id, collection in self._catalog.all_collections()
            if collection.encoder_id == self._encoder_id
        ]
        self._sweep(own)
        return sum(self.reload(*key) for key in own)

    def reload(self, workspace_id: str, name: str) -> int:
        """Reopen one index from its files and the catalog; return the number of its scans.

        Raises:
            UnknownItem: no such collection.
        """
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
            index = EmbeddingIndex(self._dim, self._encoder_id)
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
        known = {_digest(*key) for key in own}
        for place in self._folder.iterdir():
            if place.name not in known:
                discard(place)

    # in the background --------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread that builds and measures; ``close`` ends it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="indexes", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Tell the thread that rows came or went."""
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


def _digest(workspace_id: str, name: str) -> str:
    """A folder name that reveals nothing about the collection."""
    return hashlib.sha256(f"{workspace_id}\0{name}".encode()).hexdigest()[:32]
