"""Whether the graph of a partition leads to the nearest rows.

A graph is built in random order. With thousands of copies of one vector among the rows it can come
out so that a search reaches only a part of them, and its answers look like any others. So rows of
the partition are asked for before it is used, by the graph and without it.

Shape suffixes: N rows.
"""

import numpy as np
from pgvector import HalfVector
from psycopg import sql

from service.arrays import Doubles
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_rows import select
from service.catalog.postgres.search.postgres_nearest import use_graph

QUERIES, HITS = 40, 10
_EQUAL = 1e-6  # scores of copies may differ in the last digit

# By the row ids, because sorting all rows by a random number would read all vectors.
_SAMPLE = sql.SQL(
    """
    SELECT DISTINCT ON (half) half FROM (
        SELECT (SELECT min(row_id) FROM {table} WHERE row_id >= place) AS row_id FROM (
            SELECT least + (most - least) * random() AS place FROM generate_series(1, %s), (
                SELECT min(row_id) AS least, max(row_id) AS most FROM {table}
            ) AS ends
        ) AS places
    ) AS chosen JOIN {table} USING (row_id)
    """
)
_NEAREST = sql.SQL("SELECT half <#> %b AS d FROM {table} ORDER BY d LIMIT %s")
_BY_ROWS = (
    "SELECT set_config('enable_sort', 'on', true), set_config('enable_indexscan', 'off', true)"
)


def _distances(
    connection: Connection, query: HalfVector, named: dict[str, sql.Identifier]
) -> Doubles:
    rows = connection.execute(_NEAREST.format(**named), (query, HITS)).fetchall()
    return np.array([row["d"] for row in rows], np.float64)


def graph_recall(connection: Connection, table: str, ef_search: int) -> float:
    """Share of the nearest ``HITS`` rows of sampled rows that the graph finds.

    Args:
        connection: in a transaction; its settings for searches change.
        table: of a partition; 1.0 where it is empty.
    """
    named = {"table": sql.Identifier(table)}
    sample = connection.execute(_SAMPLE.format(**named), (QUERIES,), binary=True).fetchall()
    queries = [row["half"] for row in sample]
    use_graph(connection, ef_search)
    found = [_distances(connection, query, named) for query in queries]
    select(connection, _BY_ROWS)
    nearest = [_distances(connection, query, named) for query in queries]
    hits = [
        np.count_nonzero(found_N <= nearest_N[-1] + _EQUAL) / len(nearest_N)
        for found_N, nearest_N in zip(found, nearest, strict=True)
    ]
    return float(np.mean(hits)) if hits else 1.0
