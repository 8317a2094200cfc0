"""Where the audit log of a catalog is."""

from pathlib import Path

from service.catalog.audit.audit_records import AuditStore
from service.catalog.audit.sqlite_audit import AUDIT_FILE, SqliteAudit
from service.catalog.interface import Catalog
from service.errors import AuditFailure


def store_of(catalog: Catalog) -> AuditStore:
    """The log beside a catalog in a file, or in the database of the catalog.

    Raises:
        AuditFailure: it cannot be opened, or the engine has none.
    """
    if catalog.file is not None:
        return SqliteAudit(catalog.file.parent / AUDIT_FILE)
    # psycopg is an extra; without it there is no such catalog.
    from service.catalog.audit.postgres_audit import PostgresAudit
    from service.catalog.postgres.postgres_catalog import PostgresCatalog

    if not isinstance(catalog, PostgresCatalog):
        raise AuditFailure("this catalog has no place for an audit log")
    return PostgresAudit(catalog.database)


def archive_in(folder: Path) -> SqliteAudit:
    """The copy of an audit log in a folder of backups. Raises AuditFailure."""
    return SqliteAudit(folder / AUDIT_FILE, is_archive=True)
