"""Deleting all rows of a workspace from one database, in many transactions."""

from collections.abc import Callable
from typing import TypeAlias

from psycopg import sql

from service.catalog.postgres.postgres_database import Connection, PostgresDatabase
from service.catalog.postgres.postgres_rows import owe_vacuum
from service.catalog.postgres.shards.table_rows import KEYS

OnStep: TypeAlias = Callable[[str, int], None]  # what was done, and of how many more rows
DELETE_AT_ONCE = 500


def delete_rows(database: PostgresDatabase, shard: str, workspace_id: str, on_step: OnStep) -> None:
    """Delete the rows of a copy that nobody uses, children first, in many transactions."""
    for name in reversed(KEYS):
        while True:
            with database.everything(shard, "write") as connection:
                deleted = _delete_some(connection, name, workspace_id)
            on_step("deleted", deleted)
            if deleted < DELETE_AT_ONCE:
                break
    with database.everything(shard, "write") as connection:
        owe_vacuum(connection)  # which takes the bytes out of the files


def _delete_some(connection: Connection, name: str, workspace_id: str) -> int:
    some = sql.SQL(
        "DELETE FROM {table} WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM {table} WHERE workspace_id = %s LIMIT %s))"
    ).format(table=sql.Identifier(name))
    return connection.execute(some, (workspace_id, DELETE_AT_ONCE)).rowcount
