"""Vector search in the catalog's own database, the same from every replica.

Collections up to ``exact_rows`` are searched exactly. A larger one has a partition with an HNSW
index, which some replica builds in the background; rows that came later are searched exactly. Each
search reads one moment of the database, so it needs no word from the replica that wrote.

Shape suffixes: N rows, D embedding width.
"""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import numpy.typing as npt
from psycopg.rows import DictRow

from service.arrays import Floats, unit_rows
from service.catalog.filter_records import ScanFilter
from service.catalog.postgres.postgres_database import Connection, PostgresDatabase
from service.catalog.postgres.postgres_rows import first, require_collection, select
from service.catalog.postgres.search.postgres_nearest import query_of
from service.catalog.postgres.search.postgres_ranking import Place, PostgresRanking
from service.catalog.postgres.search.postgres_search_build import BuildLimits, PartitionBuilder
from service.catalog.vector_search import (
    IndexedRows,
    IndexStatistics,
    NearestRows,
    Ranking,
    SearchState,
    digest_of,
)
from service.errors import CatalogFailure, InputError, ServiceError, UnknownItem

log = logging.getLogger(__name__)
# A row takes 1.3 us, so that an exact search takes about as long as one of a large partition.
EXACT_ROWS, TAIL_ROWS = 5_000, 2048
BUILD_MEMORY_MB = 1024
RECENT_QUERIES, RECALL_SAMPLES, RECALL_AT = 64, 100, 10
PAUSE_S = 5.0  # between two looks at what is due, however often it is woken
RETRY_S = 60.0  # after a failed build
CLOSE_TIMEOUT_S = 30.0
Key = tuple[str, str]
_STATES = """
    SELECT c.workspace_id, c.name, c.scans, p.rows
    FROM collections AS c
    LEFT JOIN search_parts AS p ON p.collection_id = c.collection_id AND p.state = 'ready'
    WHERE c.encoder_id = %s AND c.scans > 0
"""
_VERSION = """
    SELECT '[1]'::halfvec AS loads_the_library,
    set_config('hnsw.iterative_scan', 'relaxed_order', true)
"""


class PostgresSearch:
    """``VectorSearch`` of any number of processes over one PostgreSQL.

    Args:
        exact_rows: longest collection that is searched exactly; None = ``EXACT_ROWS``.
        tail_rows: rows beside a partition; more are moved into it.
        build_memory_mb: maintenance_work_mem of a build.
        recall_every_s: pause between two measurements of recall.
        pause_s: shortest time between two looks at what is due.
    """

    def __init__(
        self,
        database: PostgresDatabase,
        *,
        encoder_id: str,
        dim: int,
        exact_rows: int | None = None,
        tail_rows: int = TAIL_ROWS,
        build_memory_mb: int = BUILD_MEMORY_MB,
        recall_every_s: float = 60.0,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._database = database
        self.encoder_id = encoder_id
        self.dim = dim
        self._exact_rows = exact_rows or EXACT_ROWS
        self._recall_every_s = recall_every_s
        self._pause_s = pause_s
        self._recent: defaultdict[Key, deque[Floats]] = defaultdict(_recent_queries)
        self._recalls: defaultdict[Key, deque[float]] = defaultdict(_recalls)
        self._refused_until: dict[str, float] = {}  # of a shard whose last build failed
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._builder = PartitionBuilder(
            database,
            encoder_id,
            BuildLimits(self._exact_rows, min(tail_rows, self._exact_rows), build_memory_mb),
            stopping=self._closed.is_set,
        )

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
        """See ``VectorSearch``: ids of few passing rows are kept for longer answers."""
        ranking = self._ranking(workspace_id, collection, query_D, where)
        return partial(self._answer, ranking, (workspace_id, collection), query_D)

    def _ranking(
        self, workspace_id: str, collection: str, query_D: Floats, where: ScanFilter
    ) -> PostgresRanking:
        place = Place(self._database, workspace_id, collection, self.encoder_id, self._exact_rows)
        return PostgresRanking(place, query_of(query_D, self.dim), where)

    def _answer(self, ranking: PostgresRanking, key: Key, query_D: Floats, k: int) -> NearestRows:
        nearest = ranking(k)
        if not ranking.is_exact and ranking.is_unfiltered:
            self._recent[key].append(query_D)
        return nearest

    def statistics(self, workspace_id: str, collection: str) -> IndexStatistics:
        """See ``VectorSearch``."""
        query = _STATES + " AND c.workspace_id = %s AND c.name = %s"
        with self._database.read(workspace_id) as connection:
            row = first(connection, query, self.encoder_id, workspace_id, collection)
        return self._figures((workspace_id, collection), row)

    def all_statistics(self) -> list[IndexStatistics]:
        """See ``VectorSearch``."""
        figures = []
        for shard in self._database.shards:
            with self._database.everything(shard, "read") as connection:
                rows = select(connection, _STATES, self.encoder_id)
            figures += [self._figures((row["workspace_id"], row["name"]), row) for row in rows]
        return figures

    def _figures(self, key: Key, row: DictRow | None) -> IndexStatistics:
        scans = 0 if row is None else row["scans"]
        in_part = None if row is None else row["rows"]
        compressed = min(in_part or 0, scans)
        recalls = tuple(self._recalls.get(key, ()))
        return IndexStatistics(
            index_id=digest_of(*key)[:12],
            state=SearchState(scans, compressed, int(in_part is not None), scans - compressed),
            recall=float(np.mean(recalls)) if recalls else None,
            recall_samples=len(recalls),
        )

    # writing: the catalog's own rows are searched -------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See ``VectorSearch``: lets all in."""
        yield

    def add(self, workspace_id: str, collection: str, rows: IndexedRows) -> None:
        """See ``VectorSearch``: nothing to do, except that faulty rows are refused."""
        unit_rows(rows.embeddings_ND)
        row_ids_N = np.unique(rows.row_ids_N)
        if not len(row_ids_N) == len(rows.row_ids_N) == len(rows.embeddings_ND):
            raise InputError(f"expected {len(rows.embeddings_ND)} different row ids")

    def remove(self, workspace_id: str, collection: str, row_ids_N: npt.NDArray[np.int64]) -> None:
        """See ``VectorSearch``: the deletion did it, and a vacuum after it removes the bytes."""

    def drop(self, workspace_id: str, collection: str) -> None:
        """See ``VectorSearch``: the partition is dropped in the background."""
        self._recent.pop((workspace_id, collection), None)
        self._recalls.pop((workspace_id, collection), None)
        self.wake()

    @contextmanager
    def exchange(self, workspace_id: str, collection: str) -> Iterator[None]:
        """See ``VectorSearch``: the database lets a search see all old vectors or all new ones."""
        yield
        with self._database.read(workspace_id) as connection:
            require_collection(connection, workspace_id, collection)
        self.drop(workspace_id, collection)

    # running --------------------------------------------------------------------------------

    def open(self) -> int:
        """See ``VectorSearch``. Raises CatalogFailure: pgvector is older than 0.8."""
        count = "SELECT coalesce(sum(scans), 0) AS n FROM collections WHERE encoder_id = %s"
        total = 0
        for shard in self._database.shards:
            with self._database.everything(shard, "read") as connection:
                _require_iterative_scans(connection)
                row = first(connection, count, self.encoder_id)
                total += 0 if row is None else int(row["n"])
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="partitions", daemon=True)
            self._thread.start()
        return total

    def wake(self) -> None:
        """See ``VectorSearch``."""
        self._wake.set()

    def close(self) -> None:
        """Abandon an unfinished build; another replica or the next start repeats it."""
        self._closed.set()
        self._wake.set()
        self._builder.cancel()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def _work(self) -> None:
        measured = time.monotonic()
        while not self._closed.is_set():
            self._wake.clear()
            for shard in self._database.shards:
                self._build(shard)
            if time.monotonic() - measured >= self._recall_every_s:
                self._measure()
                measured = time.monotonic()
            self._closed.wait(self._pause_s)
            self._wake.wait(self._recall_every_s)

    def _build(self, shard: str) -> None:
        if time.monotonic() < self._refused_until.get(shard, 0.0):
            return
        try:
            self._builder.work(shard)
        except ServiceError as error:
            self._refused_until[shard] = time.monotonic() + RETRY_S
            if not self._closed.is_set():
                log.warning("partition not built", extra={"cause": type(error).__name__})

    def _measure(self) -> None:
        for key, queries in tuple(self._recent.items()):
            if not queries or self._closed.is_set():
                continue
            try:
                recall = self._recall(key, queries.popleft())
            except UnknownItem:
                self.drop(*key)
            except ServiceError as error:
                log.warning("recall not measured", extra={"cause": type(error).__name__})
            else:
                if recall is not None:
                    self._recalls[key].append(recall)

    def _recall(self, key: Key, query_D: Floats) -> float | None:
        """Share of the exact best that an approximate search finds; None = nothing is stored."""
        ranking = self._ranking(*key, query_D, ScanFilter())
        exact = ranking.exact(RECALL_AT)
        if len(exact.scores_K) == 0:
            return None
        found = ranking(RECALL_AT)
        hits = int(np.count_nonzero(found.scores_K >= exact.scores_K[-1] - 1e-6))
        return min(hits, len(exact.scores_K)) / len(exact.scores_K)


def _recent_queries() -> deque[Floats]:
    return deque(maxlen=RECENT_QUERIES)


def _recalls() -> deque[float]:
    return deque(maxlen=RECALL_SAMPLES)


def _require_iterative_scans(connection: Connection) -> None:
    # A setting that the library does not know is a warning and stays without effect.
    select(connection, _VERSION)
    row = first(connection, "SHOW hnsw.iterative_scan")
    if row is None or row["hnsw.iterative_scan"] != "relaxed_order":
        raise CatalogFailure("the database needs pgvector 0.8 or later")
