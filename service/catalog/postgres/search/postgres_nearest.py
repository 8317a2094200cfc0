"""The nearest rows of one collection, inside one transaction.

Candidates are found by half-precision vectors; their scores are cosines of the float32 vectors.
An exact search asks for more candidates than hits. The rounding of both vectors moves a score by at
most ``max_error`` (``half_error``). So when the worst candidate is more than that below the last
hit, no other row can be a hit. Otherwise it asks for every row within that distance.

Shape suffixes: N rows, K hits, D embedding width, U values that differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, cast

import numpy as np
import numpy.typing as npt
from pgvector import HalfVector, Vector
from psycopg import sql
from psycopg.rows import tuple_row

from service.arrays import Floats, unit_rows
from service.catalog.postgres.postgres_database import Connection
from service.catalog.vector_search import NearestRows
from service.errors import InputError

COPIES_IN_NODE = 10  # HNSW_HEAPTIDS of pgvector
EF_SEARCH, LARGE_EF_SEARCH, MAX_EF_SEARCH = 150, 600, 1000  # pgvector allows 1000
LARGE_ROWS = 250_000  # larger graphs need a wider search for the same recall
SLACK = 16  # candidates beyond k; a second statement is rare with so many
_HALF_UNIT = 2.0**-11  # of half precision: the largest relative error of a rounding
_HALF_TINY = 2.0**-25  # the largest error of numbers below 2**-14
_FLOAT_UNIT = 2.0**-24  # of float32


@dataclass(frozen=True, slots=True)
class Part:
    """A partition; rows above ``last_row_id`` are not in it."""

    number: int
    last_row_id: int
    rows: int
    has_tail: bool


@dataclass(frozen=True, slots=True)
class HalfQuery:
    """One query in both precisions."""

    vector: Vector
    half: HalfVector
    max_error: float


@dataclass(frozen=True, slots=True)
class Fragment:
    """Text of a statement and the values of its placeholders, in their order."""

    text: sql.SQL | sql.Composed
    values: tuple[Any, ...] = ()

    def filled(self, **fragments: "Fragment") -> "Fragment":
        """With ``{name}`` replaced; the names must stand in the order of the text."""
        texts = {name: fragment.text for name, fragment in fragments.items()}
        template = cast(sql.SQL, self.text)
        values = [value for fragment in fragments.values() for value in fragment.values]
        return Fragment(template.format(**texts), tuple(values))


@dataclass(frozen=True, slots=True)
class Scored:
    """Candidates, best first; of equal scores the older row first.

    Attributes:
        halves_N: cosines of the half-precision vectors, float64.
        scores_N: float32.
    """

    row_ids_N: npt.NDArray[np.int64]
    halves_N: npt.NDArray[np.float64]
    scores_N: Floats

    @classmethod
    def nothing(cls) -> "Scored":
        """No candidates."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.float32))

    @property
    def are_copies(self) -> bool:
        """Whether most rows have more copies among the rows than a node of the graph holds."""
        _, counts_U = np.unique(self.halves_N, return_counts=True)
        return 2 * int(counts_U[counts_U > COPIES_IN_NODE].sum()) > len(self.halves_N)

    def first(self, k: int) -> NearestRows:
        """The k best."""
        return NearestRows(self.row_ids_N[:k], self.scores_N[:k])


def constant(text: str, *values: Any) -> Fragment:
    """As ``fragment``, for a text that another module has put together from constants."""
    return Fragment(sql.SQL(text), values)


def fragment(text: LiteralString, *values: Any) -> Fragment:
    """A constant text with ``%s`` or ``%b`` for each value."""
    return Fragment(sql.SQL(text), values)


def query_of(query_D: Floats, dim: int) -> HalfQuery:
    """Raises InputError: another width, zero or not finite."""
    if query_D.shape != (dim,):
        raise InputError(f"expected a query of {dim} numbers, got shape {query_D.shape}")
    unit_D = unit_rows(query_D[None])[0]
    return HalfQuery(Vector(unit_D), HalfVector(unit_D.astype(np.float16)), half_error(unit_D))


def half_error(unit_D: Floats) -> float:
    """How far a half-precision score may lie from the float32 score of the same unit row.

    With the row u, the query q and their roundings u' and q':
    ``|u'q' - uq| <= |u' - u| |q'| + |u| |q' - q|`` (Cauchy-Schwarz). ``|q' - q|`` is known, and
    ``|u' - u|`` is at most 2**-11, plus 2**-25 for each number that is too small for that. A sum of
    D products in float32 adds at most D * 2**-24 to each of the two scores, and so do the squared
    lengths in the cosine.
    """
    dim = len(unit_D)
    exact_D = unit_D.astype(np.float64)
    half_D = unit_D.astype(np.float16).astype(np.float64)
    of_row = _HALF_UNIT + _HALF_TINY * np.sqrt(dim)
    of_query = float(np.linalg.norm(half_D - exact_D))
    of_sums = 4 * (dim + 4) * _FLOAT_UNIT
    return float(of_row * np.linalg.norm(half_D) + of_query + of_sums) * 1.01


@dataclass(slots=True)
class NearestSearch:
    """Searches of one collection in one transaction."""

    connection: Connection
    collection_id: int
    query: HalfQuery

    # exact ------------------------------------------------------------------------------------

    def exact(self, k: int, *, where: Fragment | None = None, after: int = 0) -> Scored:
        """The k best of the rows with ids above ``after`` that pass ``where``."""
        if where is None:
            return self._exact(k, fragment(""), self._halves(after))
        head = fragment(_PASSING).filled(passing=self._passing(where, after))
        return self._exact(k, head, self._halves_of(fragment("passing")))

    def exact_of(self, k: int, row_ids: Sequence[int]) -> Scored:
        """The k best of the rows that have one of the ids."""
        # One pass over the index finds a list; a join would descend it for each id.
        halves = fragment(
            "SELECT row_id, half <#> {half} AS d FROM scan_vectors "
            "WHERE row_id = ANY ({row_ids}) AND collection_id = {collection} AND half IS NOT NULL"
        ).filled(
            half=fragment("%b", self.query.half),
            row_ids=fragment("%b::bigint[]", sorted(row_ids)),
            collection=fragment("%s", self.collection_id),
        )
        return self._exact(k, fragment(""), halves)

    def _exact(self, k: int, head: Fragment, halves: Fragment) -> Scored:
        found = self._scored(head, halves, k + SLACK)
        if len(found.row_ids_N) < k + SLACK:
            return found
        least = float(found.scores_N[k - 1]) - self.query.max_error
        if float(found.halves_N.min()) < least:
            return found
        within = fragment("SELECT row_id, d FROM ({halves}) AS h WHERE d <= {bound}").filled(
            halves=halves, bound=fragment("%s", -least)
        )
        return self._scored(head, within, None)

    # approximate ------------------------------------------------------------------------------

    def near(self, part: Part, count: int, *, k: int, where: Fragment | None = None) -> Scored:
        """The k best of about ``count`` nearest rows of a partition that pass ``where``."""
        nearest = fragment(
            "SELECT row_id, half <#> {half} AS d FROM {table} ORDER BY d LIMIT {count}"
        ).filled(
            half=fragment("%b", self.query.half),
            table=Fragment(sql.Composed([sql.Identifier(f"search_halves_{part.number}")])),
            count=fragment("%s", count),
        )
        head = fragment("near AS MATERIALIZED ({nearest}),").filled(nearest=nearest)
        if where is None:
            return self._scored(head, fragment("SELECT row_id, d FROM near"), k)
        # OFFSET 0 keeps the planner from looking up all rows that pass, to join them.
        passing = fragment(
            "SELECT row_id, d FROM near WHERE EXISTS (SELECT 1 FROM filtered_scans AS s "
            "WHERE s.row_id = near.row_id AND collection_id = {collection} AND {where} OFFSET 0)"
        ).filled(collection=fragment("%s", self.collection_id), where=where)
        return self._scored(head, passing, k)

    def passing(self, where: Fragment, count: int) -> list[int]:
        """Ids of rows that pass, not more than ``count``."""
        statement = fragment("SELECT array_agg(row_id) FROM ({passing} LIMIT {count}) AS p").filled(
            passing=self._passing(where, 0), count=fragment("%s", count)
        )
        ((row_ids,),) = self._rows(statement)
        return row_ids or []

    # statements -------------------------------------------------------------------------------

    def _halves(self, after: int) -> Fragment:
        return fragment(
            "SELECT row_id, half <#> {half} AS d FROM scan_vectors "
            "WHERE collection_id = {collection} AND row_id > {after} AND half IS NOT NULL"
        ).filled(
            half=fragment("%b", self.query.half),
            collection=fragment("%s", self.collection_id),
            after=fragment("%s", after),
        )

    def _halves_of(self, row_ids: Fragment) -> Fragment:
        return fragment(
            "SELECT row_id, half <#> {half} AS d FROM {row_ids} JOIN scan_vectors USING (row_id) "
            "WHERE collection_id = {collection} AND half IS NOT NULL"
        ).filled(
            half=fragment("%b", self.query.half),
            row_ids=row_ids,
            collection=fragment("%s", self.collection_id),
        )

    def _passing(self, where: Fragment, after: int) -> Fragment:
        return fragment(
            "SELECT row_id FROM filtered_scans "
            "WHERE collection_id = {collection} AND row_id > {after} AND {where}"
        ).filled(
            collection=fragment("%s", self.collection_id),
            after=fragment("%s", after),
            where=where,
        )

    def _scored(self, head: Fragment, halves: Fragment, limit: int | None) -> Scored:
        statement = fragment(_SCORED).filled(
            head=head,
            halves=halves,
            limit=fragment("%s", limit),  # NULL = no limit
            vector=fragment("%b", self.query.vector),
        )
        rows = self._rows(statement)
        row_ids_N = np.array([row[0] for row in rows], np.int64)
        halves_N = -np.array([row[1] for row in rows], np.float64)
        scores_N = np.clip(np.array([row[2] for row in rows], np.float32), -1, 1)
        order_N = np.lexsort((row_ids_N, -scores_N))
        return Scored(row_ids_N[order_N], halves_N[order_N], scores_N[order_N])

    def _rows(self, statement: Fragment) -> list[tuple[Any, ...]]:
        # Planned anew each time: a plan for any collection would suit none of them.
        with self.connection.cursor(binary=True, row_factory=tuple_row) as cursor:
            return cursor.execute(statement.text, statement.values, prepare=False).fetchall()


# MATERIALIZED keeps the planner from choosing another order of the steps.
_PASSING: LiteralString = "passing AS MATERIALIZED ({passing}),"
_SCORED: LiteralString = """
    WITH {head} candidates AS MATERIALIZED (
        {halves} ORDER BY d LIMIT {limit}
    )
    SELECT c.row_id, c.d, 1 - (v.vector <=> {vector}) AS score
    FROM candidates AS c JOIN scan_vectors AS v USING (row_id)
"""


def ef_search_of(rows: int, count: int) -> int:
    """How wide to search a graph of so many rows for ``count`` of them."""
    least = EF_SEARCH if rows <= LARGE_ROWS else LARGE_EF_SEARCH
    return min(MAX_EF_SEARCH, max(least, 2 * count))


def use_graph(connection: Connection, ef_search: int) -> None:
    """Settings of the transaction for the nearest rows by a graph."""
    # Without iterative scans an index answers ef_search rows at most, and fewer when some
    # were deleted.
    connection.execute(
        "SELECT set_config('hnsw.ef_search', %s, true), "
        "set_config('hnsw.iterative_scan', 'relaxed_order', true), "
        # For some hundred rows the planner would compare all vectors and sort.
        "set_config('enable_sort', 'off', true)",
        (str(ef_search),),
    )


def best_of(parts: Sequence[Scored], k: int) -> NearestRows:
    """The k best of several answers without a common row."""
    row_ids_N = np.concatenate([part.row_ids_N for part in parts])
    scores_N = np.concatenate([part.scores_N for part in parts])
    order_K = np.lexsort((row_ids_N, -scores_N))[:k]
    return NearestRows(row_ids_N[order_K], scores_N[order_K])
