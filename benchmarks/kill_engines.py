"""The engines whose writers ``kill_rounds`` kills: opening, settling and inspecting their data."""

import time
from pathlib import Path
from typing import Protocol

from service.catalog.interface import Catalog
from service.catalog.sqlite.inspection import inspect
from service.catalog.sqlite.sqlite_catalog import FILE_NAME, open_catalog
from service.catalog.vector_search import VectorSearch
from service.errors import CatalogFailure
from service.gallery.embedded_search import EmbeddedSearch

SETTLE_S = 30.0
# Everything that the tables say twice, and rows that lost what belongs to them.
_CHECKS = {
    "a collection counts other scans than it has": """
        SELECT count(*) FROM collections AS c WHERE c.scans <>
            (SELECT count(*) FROM scans AS s WHERE s.collection_id = c.collection_id)""",
    "a scan has no vector": """
        SELECT count(*) FROM scans AS s
        WHERE NOT EXISTS (SELECT FROM scan_vectors AS v WHERE v.row_id = s.row_id)""",
    "a vector has no scan": """
        SELECT count(*) FROM scan_vectors AS v
        WHERE NOT EXISTS (SELECT FROM scans AS s WHERE s.row_id = v.row_id)""",
}


class KilledEngine(Protocol):
    """The data that all rounds share.

    Attributes:
        call_s: about the time of a call.
    """

    call_s: float

    def open(self, encoder_id: str, dim: int) -> tuple[Catalog, VectorSearch]:
        """The catalog and its search, for this process."""

    def settle(self) -> None:
        """Return when nothing of a killed writer can be stored any more."""

    def is_busy(self, error: CatalogFailure) -> bool:
        """Whether a call was refused for now alone, as a service answers 503."""

    def findings(self) -> list[str]:
        """What an inspection finds wrong."""


class SqliteEngine:
    """One file, and the index in memory."""

    call_s = 0.004

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, encoder_id: str, dim: int) -> tuple[Catalog, VectorSearch]:
        """See ``KilledEngine``."""
        catalog = open_catalog(self._folder)
        return catalog, EmbeddedSearch(catalog, encoder_id=encoder_id, dim=dim)

    def settle(self) -> None:
        """The kernel has closed the file with its process."""

    def is_busy(self, error: CatalogFailure) -> bool:
        """See ``KilledEngine``."""
        return False

    def findings(self) -> list[str]:
        """See ``KilledEngine``."""
        return sorted(inspect(self._folder / FILE_NAME).findings)


class PostgresEngine:
    """One database; ``url`` is of the service's role, ``watch_url`` of one that sees everything."""

    call_s = 0.01

    def __init__(self, url: str, watch_url: str) -> None:
        self._url, self._watch_url = url, watch_url

    def open(self, encoder_id: str, dim: int) -> tuple[Catalog, VectorSearch]:
        """See ``KilledEngine``."""
        from service.catalog.postgres.postgres_catalog import open_postgres
        from service.catalog.postgres.search.postgres_search import PostgresSearch

        catalog = open_postgres(self._url, max_connections=4)
        return catalog, PostgresSearch(catalog.database, encoder_id=encoder_id, dim=dim)

    def settle(self) -> None:
        """The server may still commit what the writer sent before it died."""
        query = """
            SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
        deadline = time.monotonic() + SETTLE_S
        while self._ask(query):
            if time.monotonic() > deadline:
                raise RuntimeError("connections of the killed writer stay open")
            time.sleep(0.002)

    def is_busy(self, error: CatalogFailure) -> bool:
        """No connection was free in time."""
        from psycopg_pool import PoolTimeout

        return isinstance(error.__cause__, PoolTimeout)

    def findings(self) -> list[str]:
        """See ``KilledEngine``."""
        return [finding for finding, query in _CHECKS.items() if self._ask(query)]

    def _ask(self, query: str) -> int:
        import psycopg

        with psycopg.connect(self._watch_url) as connection:
            row = connection.execute(query).fetchone()  # type: ignore[call-overload]
        return int(row[0]) if row else 0
