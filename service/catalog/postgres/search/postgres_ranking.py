"""The nearest rows of one collection for a growing k: which searches answer, and in which order.

No answer is short: whatever finds too few rows is followed by a search that finds more, and at last
by an exact one.

- No partition, or few rows: exact.
- A filter that few rows pass: their ids from the indexes of the filter, then exact among them.
- Otherwise the nearest rows of the partition that pass, and with them the later rows exactly.

Many copies of one vector are linked to each other in the graph and to little else. A search that
meets them may end among them although other rows are nearer. So an answer of the partition does not
count if most of it are copies, or if it has fewer rows than the partition could give.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from service.catalog.filter_records import ScanFilter
from service.catalog.postgres.postgres_database import Connection, PostgresDatabase
from service.catalog.postgres.postgres_filter import condition
from service.catalog.postgres.postgres_rows import require_row
from service.catalog.postgres.search.postgres_nearest import (
    EF_SEARCH,
    SLACK,
    Fragment,
    HalfQuery,
    NearestSearch,
    Part,
    Scored,
    best_of,
    constant,
    ef_search_of,
    use_graph,
)
from service.catalog.vector_search import NearestRows, require_same_encoder
from service.errors import CatalogFailure, InputError

FEW = 2000  # rows that pass: looked up before anything else, because it is quick
MAX_FEW = 20_000  # looked up when the partition gives too few: quicker than more of it
# Rows of the partition that are searched for k that pass. With four times k, the last hit is far
# from the end of what the index finds, where it misses most.
NEAR_PER_HIT, PASSING_PER_HIT, WIDER = 10, 4, 8
MAX_NEAR = 10_000  # beyond, an exact search is as fast
ATTEMPTS = 3  # when the partition is exchanged between two statements

_SEARCHED = """
    SELECT c.collection_id, c.encoder_id, c.scans, p.number, p.last_row_id, p.rows, EXISTS (
        SELECT 1 FROM scan_vectors AS v
        WHERE v.collection_id = c.collection_id AND v.row_id > p.last_row_id
    ) AS has_tail
    FROM collections AS c
    LEFT JOIN search_parts AS p ON p.collection_id = c.collection_id AND p.state = 'ready'
    WHERE c.workspace_id = %s AND c.name = %s
"""


class _PartitionGone(Exception):
    """Another replica dropped it after this transaction had read its number."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to search, and up to how many rows exactly."""

    database: PostgresDatabase
    workspace_id: str
    collection: str
    encoder_id: str
    exact_rows: int


class PostgresRanking:
    """``VectorSearch.ranking``; ``is_exact`` tells it of the last answer."""

    def __init__(self, place: Place, query: HalfQuery, where: ScanFilter) -> None:
        self._place = place
        self._query = query
        self._where = None if where.is_empty else _fragment(where)
        self.is_unfiltered = where.is_empty
        self._row_ids: list[int] | None = None  # that pass, once they are known to be few
        self.is_exact = True

    def __call__(self, k: int) -> NearestRows:
        """The k nearest. Raises UnknownItem, EncoderMismatch, InputError."""
        if k < 1:
            raise InputError(f"expected k of at least 1, got {k}")
        for _attempt in range(ATTEMPTS):
            try:
                with self._place.database.read(self._place.workspace_id) as connection:
                    return self._nearest(connection, k)
            except _PartitionGone:
                continue
        raise CatalogFailure("the partition of the collection is exchanged too often")

    def exact(self, k: int) -> NearestRows:
        """The k nearest without an index, for a comparison."""
        with self._place.database.read(self._place.workspace_id) as connection:
            search, _ = self._search(connection)
            return search.exact(k, where=self._where).first(k)

    def _search(self, connection: Connection) -> tuple[NearestSearch, Part | None]:
        place = self._place
        missing = "no such collection in this workspace"
        row = require_row(connection, missing, _SEARCHED, place.workspace_id, place.collection)
        require_same_encoder(row["encoder_id"], place.encoder_id)
        part = None
        if row["number"] is not None and row["scans"] > place.exact_rows:
            part = Part(row["number"], row["last_row_id"], row["rows"], row["has_tail"])
        return NearestSearch(connection, row["collection_id"], self._query), part

    def _nearest(self, connection: Connection, k: int) -> NearestRows:
        search, part = self._search(connection)
        self.is_exact = True
        if part is None:
            return search.exact(k, where=self._where).first(k)
        try:
            if self._where is None:
                return self._unfiltered(search, part, k)
            return self._filtered(search, part, k, self._where)
        except psycopg.errors.UndefinedTable as error:
            raise _PartitionGone from error

    def _unfiltered(self, search: NearestSearch, part: Part, k: int) -> NearestRows:
        tail = self._tail(search, part, k)
        for count in _counts(part, k + SLACK):
            use_graph(search.connection, ef_search_of(part.rows, count))
            near = search.near(part, count, k=count)
            if len(near.row_ids_N) == count and not near.are_copies:
                self.is_exact = False
                return best_of([near, tail], k)
        return search.exact(k).first(k)

    def _filtered(self, search: NearestSearch, part: Part, k: int, where: Fragment) -> NearestRows:
        few = min(FEW, self._place.exact_rows)
        if self._are_few(search, where, few):
            return search.exact_of(k, self._row_ids or ()).first(k)
        wanted = PASSING_PER_HIT * k
        tail = self._tail(search, part, k)
        for count in _counts(part, max(EF_SEARCH, NEAR_PER_HIT * k)):
            use_graph(search.connection, ef_search_of(part.rows, count))
            near = search.near(part, count, k=wanted, where=where)
            if len(near.row_ids_N) >= wanted and not near.are_copies:
                self.is_exact = False
                return best_of([near, tail], k)
            if self._are_few(search, where, MAX_FEW):
                return search.exact_of(k, self._row_ids or ()).first(k)
            wanted = k
        return search.exact(k, where=where).first(k)

    def _are_few(self, search: NearestSearch, where: Fragment, limit: int) -> bool:
        if self._row_ids is None:
            row_ids = search.passing(where, limit + 1)
            self._row_ids = row_ids if len(row_ids) <= limit else None
        return self._row_ids is not None

    def _tail(self, search: NearestSearch, part: Part, k: int) -> Scored:
        if not part.has_tail:
            return Scored.nothing()
        return search.exact(k, where=self._where, after=part.last_row_id)


def _fragment(where: ScanFilter) -> Fragment:
    text, values = condition(where)
    return constant(f"({text})", *values)


def _counts(part: Part, count: int) -> Iterator[int]:
    """How many rows of the partition to search: first, and when too few of them count."""
    for rows in (count, WIDER * count):
        if rows <= min(MAX_NEAR, part.rows // 2):
            yield rows
