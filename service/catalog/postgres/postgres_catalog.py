"""The catalog in PostgreSQL, which any number of replicas of the service share.

``PostgresCatalog`` combines the parts of this room; ``postgres_database`` owns the connections,
``postgres_tables`` the tables.
"""

from collections.abc import Mapping
from itertools import count
from pathlib import Path

from service.catalog.copying.postgres_copying import PostgresCopies
from service.catalog.erasure_ledger import ErasureLedger
from service.catalog.given_ids.postgres_given_ids import PostgresGivenIds
from service.catalog.interface import Catalog
from service.catalog.layouts.postgres_layouts import PostgresLayouts
from service.catalog.monitoring.postgres_monitoring import PostgresMonitoring
from service.catalog.policies.postgres_policies import PostgresPolicies
from service.catalog.postgres.erasure.postgres_erasure import PostgresErasure
from service.catalog.postgres.erasure.postgres_replay import PostgresReplay
from service.catalog.postgres.erasure.postgres_retention import PostgresRetention
from service.catalog.postgres.erasure.postgres_vacuum import ErasureVacuum
from service.catalog.postgres.postgres_arrays import PostgresArrays
from service.catalog.postgres.postgres_classifiers import PostgresClassifiers
from service.catalog.postgres.postgres_collections import PostgresCollections
from service.catalog.postgres.postgres_database import MAX_CONNECTIONS, PostgresDatabase
from service.catalog.postgres.postgres_facets import PostgresFacets
from service.catalog.postgres.postgres_reembedding import PostgresReembeddings
from service.catalog.postgres.postgres_scan_reads import PostgresScanReads
from service.catalog.postgres.postgres_scan_writes import PostgresScanWrites
from service.catalog.postgres.postgres_version_examples import PostgresVersionExamples
from service.catalog.postgres.replicas.postgres_news import PostgresNews
from service.catalog.postgres.replicas.postgres_operations import PostgresOperations
from service.catalog.postgres.replicas.postgres_workspaces import PostgresWorkspaces
from service.catalog.redaction import Redact, drop_scores
from service.catalog.signing.postgres_signing import PostgresSigning
from service.catalog.streams.postgres_streams import PostgresStreams


class PostgresCatalog(
    PostgresWorkspaces,
    PostgresPolicies,
    PostgresGivenIds,
    PostgresErasure,
    PostgresReplay,
    PostgresRetention,
    PostgresReembeddings,
    PostgresClassifiers,
    PostgresVersionExamples,
    PostgresCollections,
    PostgresFacets,
    PostgresScanWrites,
    PostgresScanReads,
    PostgresArrays,
    PostgresOperations,
    PostgresMonitoring,
    PostgresSigning,
    PostgresLayouts,
    PostgresStreams,
    PostgresCopies,
    Catalog,
):
    """The whole Catalog over the databases of one PostgresDatabase.

    Every method also raises CatalogFailure when PostgreSQL fails or the catalog is closed,
    WorkspaceMoving while the workspace may not be written, and InputError for text that is not
    valid Unicode.
    """

    def __init__(
        self, database: PostgresDatabase, ledger: ErasureLedger | None, redact: Redact
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._redact = redact
        self._news = PostgresNews(database)
        self._vacuum = ErasureVacuum(database)
        self._rounds = count()

    @property
    def database(self) -> PostgresDatabase:
        """For the search over the same databases, and for commands of operators."""
        return self._database

    @property
    def file(self) -> Path | None:
        return None

    def close(self) -> None:
        self._vacuum.close()
        self._database.close()
        self._news.close()

    def check(self) -> None:
        self._database.check()


def open_postgres(
    url: str,
    *,
    shards: Mapping[str, str] | None = None,
    max_connections: int = MAX_CONNECTIONS,
    backup_dir: Path | None = None,
    redact: Redact = drop_scores,
) -> PostgresCatalog:
    """Open the catalog of a directory and its shards, which ``migrate`` created.

    Args:
        url: of the database with the directory of all workspaces.
        shards: name -> url of further databases.
        max_connections: of this process to each database.
        backup_dir: erasures are written there as well.
        redact: removes the out-of-fold scores of erased examples from those of a version.

    Raises:
        CatalogFailure: a database is not reachable, or has no catalog or one of another schema.
    """
    database = PostgresDatabase(url, shards, max_connections=max_connections)
    ledger = None if backup_dir is None else ErasureLedger(backup_dir)
    return PostgresCatalog(database, ledger, redact)
