"""Creating the tables of a catalog in PostgreSQL, and checking their version."""

from typing import Any

import psycopg
from psycopg import sql

from service.catalog.audit.audit_tables import AUDIT_GUARDED, AUDIT_TABLES
from service.catalog.layouts.layout_tables import POSTGRES_LAYOUT_TABLES
from service.catalog.monitoring.monitoring_tables import POSTGRES_MONITORING_TABLES
from service.catalog.policies.postgres_policy_tables import KEY_STORAGE_TABLES, POLICY_TABLES
from service.catalog.postgres.postgres_guards import GUARD, GUARDED, UNFORCED
from service.catalog.postgres.postgres_tables import SCHEMA_VERSION, TABLES
from service.catalog.postgres.search.postgres_search_functions import (
    CALLED,
    GRANT_TO_ROLE,
    REVOKE_FROM_ALL,
    SEARCH_FUNCTIONS,
    SEARCH_TABLES,
)
from service.catalog.signing.signing_tables import POSTGRES_SIGNING_TABLES
from service.catalog.streams.stream_tables import POSTGRES_STREAM_TABLES
from service.errors import CatalogFailure

LOCK = 0x536F6E6F  # of whoever changes the schema: "Sono"

# A table may come later than the role: default privileges reach it as well.
_GRANT = """
    GRANT USAGE ON SCHEMA public TO {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
    REVOKE INSERT, UPDATE, DELETE ON catalog_schema, shards, search_parts FROM {role};
    REVOKE UPDATE, DELETE ON audit_entries FROM {role};
    GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {role};
    ALTER DEFAULT PRIVILEGES IN SCHEMA public
        GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}
"""

# So that the service can vacuum what it erased. Older servers let only the owner of a table.
_GRANT_UPKEEP = """
    GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO {role};
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT MAINTAIN ON TABLES TO {role}
"""
MAINTAIN_SINCE = 170000  # version of PostgreSQL


def migrate(url: str, *, service_role: str | None = None) -> bool:
    """Create the tables in a database; return whether there was anything to do.

    Several callers may run it at the same time: they take turns.

    Args:
        url: of a role that may create extensions and tables.
        service_role: a role that exists and may use the tables, but not change them.

    Raises:
        CatalogFailure: not reachable, not permitted, or of a newer schema.
    """
    from service.catalog.postgres.postgres_database import translated  # it imports this module

    with translated(), psycopg.connect(url, connect_timeout=10) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        version = version_of(connection)
        if version > SCHEMA_VERSION:
            raise CatalogFailure(_differs(version))
        if version == 0:
            _create(connection)
        if service_role is not None:
            grant = sql.SQL(_GRANT).format(role=sql.Identifier(service_role))
            connection.execute(grant)
            if connection.info.server_version >= MAINTAIN_SINCE:
                grant = sql.SQL(_GRANT_UPKEEP).format(role=sql.Identifier(service_role))
                connection.execute(grant)
            _permit(connection, GRANT_TO_ROLE, role=sql.Identifier(service_role))
        return version < SCHEMA_VERSION


def _create(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute("CREATE EXTENSION IF NOT EXISTS btree_gin")
    of_subjects = (*POSTGRES_SIGNING_TABLES, POLICY_TABLES, *POSTGRES_MONITORING_TABLES)
    of_subjects += (*POSTGRES_LAYOUT_TABLES, *POSTGRES_STREAM_TABLES, *KEY_STORAGE_TABLES)
    for statement in (*TABLES.split(";\n\n"), *of_subjects, *SEARCH_TABLES, *AUDIT_TABLES):
        connection.execute(statement)
    for table in (*GUARDED, *AUDIT_GUARDED):
        connection.execute(sql.SQL(GUARD).format(table=sql.Identifier(table)))
    for table in UNFORCED:
        unforced = sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY")
        connection.execute(unforced.format(sql.Identifier(table)))
    for function in SEARCH_FUNCTIONS:
        connection.execute(function)
    _permit(connection, REVOKE_FROM_ALL)
    connection.execute(
        "INSERT INTO catalog_schema (only_row, version) VALUES (1, %s)", (SCHEMA_VERSION,)
    )


def _permit(connection: psycopg.Connection[Any], statement: str, **names: sql.Identifier) -> None:
    for name, types in CALLED.items():
        filled = sql.SQL(statement).format(name=sql.Identifier(name), types=sql.SQL(types), **names)
        connection.execute(filled)


def require_schema(connection: psycopg.Connection[Any]) -> None:
    """Raises CatalogFailure: the database has no catalog, or one of another schema."""
    version = version_of(connection)
    if version == 0:
        raise CatalogFailure("the database holds no catalog: run sonoprobe migrate")
    if version != SCHEMA_VERSION:
        raise CatalogFailure(_differs(version))


def version_of(connection: psycopg.Connection[Any]) -> int:
    """The schema version of a database; 0 = it holds no catalog."""
    known = connection.execute("SELECT to_regclass('public.catalog_schema') IS NOT NULL AS known")
    (is_known,) = _first(known)
    if not is_known:
        return 0
    (version,) = _first(connection.execute("SELECT max(version) AS version FROM catalog_schema"))
    return int(version)


def _first(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    return tuple(row.values()) if isinstance(row, dict) else tuple(row or (None,))


def _differs(version: int) -> str:
    return (
        f"the catalog has schema {version}, this program reads schema {SCHEMA_VERSION}: "
        "run the sonoprobe migrate of the newer of both"
    )
