"""Row numbers that are unique over all databases of a catalog.

A workspace keeps its row numbers when it moves, because cursors, digests of erasures and search
depend on them. So no two databases may ever give the same number: each database has a number of
its own, counts in steps of ``STRIDE`` and gives only numbers that leave its own as the rest. And
whoever adds rows with numbers from elsewhere lets the database count on above them, so that newer
rows have greater numbers.

A catalog in one database counts in steps of 1, until it gets its first shard.
"""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from service.errors import CatalogFailure

STRIDE = 1000  # so many databases are possible
NUMBERED = {  # table -> its identity column
    "collections": "collection_id",
    "scans": "row_id",
    "scan_frames": "frame_id",
    "classifiers": "seq",
    "classifier_versions": "seq",
    "classifier_examples": "seq",
    "operations": "seq",
}
LISTED = {"directory": "seq", "keys": "seq"}  # in the directory alone
_LOCK = 0x53747269  # of whoever gives numbers to databases: "Stri"
_COUNTER = """
    SELECT schemaname, sequencename, start_value AS first, increment_by AS step FROM pg_sequences
    WHERE format('%%I.%%I', schemaname, sequencename)::regclass
        = pg_get_serial_sequence(%s, %s)::regclass
"""


def number_shards(connections: Mapping[str, psycopg.Connection[Any]]) -> bool:
    """Give the databases their numbers; return whether there was anything to do.

    Args:
        connections: of the owner of the tables, by the name of the shard; '' is the directory. The
            caller commits all of them.

    Raises:
        CatalogFailure: a database belongs to another directory or another name.
    """
    directory = connections[""]
    directory.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    if len(connections) == 1:
        return False
    known: dict[str, int] = dict(directory.execute("SELECT name, number FROM shards").fetchall())
    changed = False
    for name, connection in connections.items():
        _require_free(connection, name)
        if name in known:
            continue
        known[name] = 0 if name == "" else max(known.values(), default=0) + 1
        if known[name] >= STRIDE:
            raise CatalogFailure(f"a catalog can have {STRIDE} databases")
        directory.execute("INSERT INTO shards VALUES (%s, %s)", (name, known[name]))
        changed = True
    newest = {
        table: max(_counter(connection, table)[2] for connection in connections.values())
        for table in NUMBERED
    }
    for name, connection in connections.items():
        connection.execute("UPDATE catalog_schema SET shard = %s WHERE shard <> %s", (name, name))
        for table in NUMBERED:
            changed |= _stride(connection, table, known[name], newest[table])
    return changed


def count_above(connection: psycopg.Connection[Any], table: str, number: int) -> None:
    """Let a table give only numbers above this one; nobody adds rows until the commit."""
    # nextval runs under the lock of a writer, so no number is given between the two statements.
    connection.execute(
        sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(table))
    )
    first, step, newest = _counter(connection, table)
    if newest < number:
        last = number + (first - number) % step
        variables = (table, _column(table), last)
        connection.execute("SELECT setval(pg_get_serial_sequence(%s, %s), %s)", variables)


def _require_free(connection: psycopg.Connection[Any], name: str) -> None:
    ((found, workspaces),) = connection.execute(
        "SELECT shard, (SELECT count(*) FROM directory) FROM catalog_schema"
    ).fetchall()
    if found not in ("", name) or (name != "" and workspaces):
        raise CatalogFailure("a database of SONOPROBE_SHARDS belongs to another catalog")


def _stride(connection: psycopg.Connection[Any], table: str, number: int, newest: int) -> bool:
    _, step, _ = _counter(connection, table)
    if step == STRIDE:
        return False
    first = number or STRIDE
    restart = newest + 1 + (first - newest - 1) % STRIDE
    change = sql.SQL(
        "ALTER TABLE {} ALTER COLUMN {} SET INCREMENT BY {} SET START WITH {} RESTART WITH {}"
    )
    numbers = map(sql.Literal, (STRIDE, first, restart))
    names = map(sql.Identifier, (table, NUMBERED[table]))
    connection.execute(change.format(*names, *numbers))
    return True


def _column(table: str) -> str:
    return (NUMBERED | LISTED)[table]


def _counter(connection: psycopg.Connection[Any], table: str) -> tuple[int, int, int]:
    """(first, step, newest) number of a table; no number above the newest was given."""
    row = connection.execute(_COUNTER, (table, _column(table))).fetchone()
    if row is None:
        raise CatalogFailure("a table of the database does not count its rows")
    schema, sequence, first, step = _values(row)
    # The view ``pg_sequences`` knows no number of a counter that was set and not used since.
    state = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, sequence))
    ((last, is_called),) = map(_values, connection.execute(state).fetchall())
    return int(first), int(step), int(last) if is_called else int(last) - 1


def _values(row: Any) -> tuple[Any, ...]:
    return tuple(row.values()) if isinstance(row, dict) else tuple(row)
