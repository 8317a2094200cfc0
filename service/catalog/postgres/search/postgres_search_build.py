"""Building the partitions of large collections, by one replica at a time.

Each step is a transaction of its own, so a killed replica leaves nothing that the next one cannot
remove or go on with. Nobody who reads or writes waits for a build.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import DictRow

from service.catalog.postgres.postgres_database import ENTER_ALL, Connection, PostgresDatabase
from service.catalog.postgres.postgres_rows import first, select
from service.catalog.postgres.search.postgres_graph_check import graph_recall
from service.catalog.postgres.search.postgres_nearest import ef_search_of
from service.errors import CatalogFailure, Stopping

log = logging.getLogger(__name__)
LOCK = 0x536F6E70  # of whoever builds in a database: "Sono" + 1
MAX_DIM = 4000  # of an HNSW index over half vectors
EXTEND_ROWS, SWEEP_ROWS = 100, 20_000  # of one transaction: below a second
REBUILD_SHARE = 8  # a tail of an eighth of the partition costs more to insert than a new one
ATTEMPTS = 3  # at a graph that finds the nearest rows; each is built in another random order
_DUE = """
    SELECT c.collection_id, c.scans, c.dim, p.number, p.last_row_id, p.rows, p.removed, p.swept_to
    FROM collections AS c
    LEFT JOIN search_parts AS p ON p.collection_id = c.collection_id AND p.state = 'ready'
    WHERE c.encoder_id = %s AND (c.scans > %s OR p.number IS NOT NULL)
    ORDER BY c.collection_id
"""


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """When to build, and with how much memory.

    Attributes:
        exact_rows: longest collection without a partition.
        tail_rows: rows beside a partition; more are moved into it.
        memory_mb: maintenance_work_mem of a build. A graph that fits is built much faster.
        least_recall: of a graph that may be used, see ``graph_recall``. Without copies it is 0.99.
    """

    exact_rows: int
    tail_rows: int
    memory_mb: int
    least_recall: float = 0.9


class PartitionBuilder:
    """Does what is due in the databases of one catalog. For one thread; ``cancel`` for any.

    Args:
        stopping: whether to give up.
    """

    def __init__(
        self,
        database: PostgresDatabase,
        encoder_id: str,
        limits: BuildLimits,
        *,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._encoder_id = encoder_id
        self.limits = limits
        self._stopping = stopping
        self._working: Connection | None = None
        self._poor: dict[tuple[str, int], int] = {}  # scans of collections whose graphs were poor

    def work(self, shard: str) -> int:
        """Do everything that is due, unless another replica does; return the number of steps.

        Raises:
            CatalogFailure: the database failed. Stopping: ``stopping`` or ``cancel``.
        """
        with self._turn(shard) as connection:
            if connection is None:
                return 0
            select(connection, "SELECT search_tidy()")
            done = sum(self._upkeep(connection, shard, row) for row in self._due(shard))
            if done:
                select(connection, "SELECT search_tidy()")
            return done

    def cancel(self) -> None:
        """End the statement that runs."""
        working = self._working
        if working is not None:
            with suppress(psycopg.Error):
                working.cancel_safe(timeout=5.0)

    @contextmanager
    def _turn(self, shard: str) -> Iterator[Connection | None]:
        with self._database.outside(shard) as connection:
            row = first(connection, "SELECT pg_try_advisory_lock(%s) AS mine", LOCK)
            try:
                self._working = connection
                yield connection if row is not None and row["mine"] else None
            except psycopg.errors.QueryCanceled as error:
                raise Stopping("the build was cancelled") from error
            finally:
                self._working = None

    def _due(self, shard: str) -> list[DictRow]:
        with self._database.everything(shard, "read") as connection:
            return select(connection, _DUE, self._encoder_id, self.limits.exact_rows)

    def _upkeep(self, connection: Connection, shard: str, row: DictRow) -> int:
        """Bring the partition of one collection up to date; return the number of steps."""
        part, limits = row["number"], self.limits
        if part is None:
            return self._build(connection, shard, row) if row["dim"] <= MAX_DIM else 0
        if row["scans"] < limits.exact_rows // 2:
            select(connection, "SELECT search_drop(%s)", part)
            return 1
        tail = row["scans"] - row["rows"]
        if row["removed"] > row["rows"] or tail * REBUILD_SHARE > max(
            row["rows"], limits.tail_rows * REBUILD_SHARE
        ):
            return self._build(connection, shard, row)
        steps = 0
        if tail > limits.tail_rows:
            steps += self._extend(connection, part)
        if steps or row["swept_to"] < row["last_row_id"]:
            steps += self._sweep(connection, part)
        return steps

    def _build(self, connection: Connection, shard: str, row: DictRow) -> int:
        """Put a new partition in the place of the old one, if its graph is good."""
        of_collection = (shard, row["collection_id"])
        if row["scans"] * REBUILD_SHARE < self._poor.get(of_collection, 0) * (REBUILD_SHARE + 1):
            return 0  # the same rows again
        for _attempt in range(ATTEMPTS):
            began = time.monotonic()
            part = self._call(connection, "SELECT search_begin(%s)", row["collection_id"])
            if part is None:
                return 0
            rows = self._call(connection, "SELECT search_fill(%s)", part)
            self._call(connection, "SELECT search_index(%s, %s)", part, self.limits.memory_mb)
            if self._recall(connection, part, rows) < self.limits.least_recall:
                continue
            if self._call(connection, "SELECT search_publish(%s)", part):
                self._poor.pop(of_collection, None)
                self._sweep(connection, part)
                seconds = round(time.monotonic() - began, 3)
                log.info("partition built", extra={"rows": rows, "seconds": seconds})
            return 1
        self._poor[of_collection] = row["scans"]
        log.warning(
            "no graph of a collection finds its nearest rows, so it is searched without one; "
            "thousands of copies of one picture can cause this",
            extra={"collection_id": row["collection_id"], "rows": row["scans"]},
        )
        return 1

    def _recall(self, connection: Connection, part: int, rows: int) -> float:
        self._go_on()
        # On this connection, because ``cancel`` ends the statement that runs on it.
        with connection.transaction():
            select(connection, ENTER_ALL)
            return graph_recall(connection, f"search_build_{part}", ef_search_of(rows, 0))

    def _extend(self, connection: Connection, part: int) -> int:
        began, total = time.monotonic(), 0
        while added := self._call(connection, "SELECT search_extend(%s, %s)", part, EXTEND_ROWS):
            total += added
        seconds = round(time.monotonic() - began, 3)
        log.info("partition extended", extra={"rows": total, "seconds": seconds})
        return 1

    def _sweep(self, connection: Connection, part: int) -> int:
        while self._call(connection, "SELECT search_sweep(%s, %s)", part, SWEEP_ROWS):
            pass
        return 1

    def _call(self, connection: Connection, statement: str, *variables: int) -> Any:
        self._go_on()
        row = first(connection, statement, *variables)
        if row is None:
            raise CatalogFailure("a function of the search has no answer")
        (value,) = row.values()
        return value

    def _go_on(self) -> None:
        if self._stopping():
            raise Stopping("the build is given up")
