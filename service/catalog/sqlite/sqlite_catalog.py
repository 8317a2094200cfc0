"""The catalog in one SQLite file: durable, thread safe, nothing to install.

``SqliteCatalog`` combines the parts of this room; ``database`` owns the connections, ``schema``
the tables.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.catalog.copying.sqlite_copying import SqliteCopies
from service.catalog.data_folder import make_private_folder, owned
from service.catalog.erasure_ledger import ErasureLedger
from service.catalog.given_ids.sqlite_given_ids import SqliteGivenIds
from service.catalog.ids import new_id
from service.catalog.interface import Catalog
from service.catalog.layouts.sqlite_layouts import SqliteLayouts
from service.catalog.leases import Leases
from service.catalog.lifecycle.sqlite_lifecycle import SqliteLifecycle
from service.catalog.monitoring.sqlite_monitoring import SqliteMonitoring
from service.catalog.policies.sqlite_policies import SqlitePolicies
from service.catalog.redaction import Redact, drop_scores
from service.catalog.signing.sqlite_signing import SqliteSigning
from service.catalog.sqlite.array_reads import SqliteArrays
from service.catalog.sqlite.classifier_table import SqliteClassifiers
from service.catalog.sqlite.collection_table import SqliteCollections
from service.catalog.sqlite.database import Database, needs_migration
from service.catalog.sqlite.erasure import SqliteErasure
from service.catalog.sqlite.facets import SqliteFacets
from service.catalog.sqlite.operation_table import OperationQueue, SqliteOperations
from service.catalog.sqlite.reembedding import SqliteReembeddings
from service.catalog.sqlite.retention import SqliteRetention
from service.catalog.sqlite.scan_reads import SqliteScanReads
from service.catalog.sqlite.scan_writes import SqliteScanWrites
from service.catalog.sqlite.version_examples import SqliteVersionExamples
from service.catalog.sqlite.workspace_table import SqliteWorkspaces
from service.catalog.streams.sqlite_streams import PlacesInMemory, SqliteStreams
from service.errors import CatalogFailure

FILE_NAME = "catalog.sqlite"


class SqliteCatalog(
    SqliteWorkspaces,
    SqlitePolicies,
    SqliteGivenIds,
    SqliteLifecycle,
    SqliteCollections,
    SqliteFacets,
    SqliteScanWrites,
    SqliteScanReads,
    SqliteArrays,
    SqliteErasure,
    SqliteRetention,
    SqliteReembeddings,
    SqliteOperations,
    SqliteClassifiers,
    SqliteVersionExamples,
    SqliteMonitoring,
    SqliteSigning,
    SqliteLayouts,
    SqliteStreams,
    SqliteCopies,
    Catalog,
):
    """The whole Catalog over one Database; open it with ``open_catalog``.

    Every method also raises CatalogFailure when SQLite fails or the catalog is closed, and
    InputError for text that is not valid Unicode.
    """

    def __init__(
        self,
        database: Database,
        ledger: ErasureLedger | None,
        redact: Redact,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._redact = redact
        self._answer_leases = Leases(clock)
        self._queue = OperationQueue(clock)
        self._once = Leases()
        self._streams = PlacesInMemory()

    @property
    def file(self) -> Path | None:
        return self._database.path

    @contextmanager
    def once(self, name: str) -> Iterator[bool]:
        # One process uses the file, so only its own threads can do the same work.
        block = new_id("block")
        is_mine = self._once.take(name, block, lease_s=math.inf)
        try:
            yield is_mine
        finally:
            self._once.release(name, block)

    def close(self) -> None:
        self._database.close()
        self._queue.wake()

    def check(self) -> None:
        self._database.check()


def open_catalog(
    folder: Path,
    *,
    is_owner: bool = False,
    backup_dir: Path | None = None,
    redact: Redact = drop_scores,
    clock: Callable[[], float] = time.monotonic,
) -> SqliteCatalog:
    """Open ``catalog.sqlite`` in the folder, creating both if necessary.

    A catalog of schema 1 or 2 becomes one of schema 3, which release 0.1.0 cannot open any more.

    Args:
        is_owner: the caller holds the lock of the folder (``data_folder.owned``).
        backup_dir: erasures are written there as well.
        redact: removes the out-of-fold scores of erased examples from those of a version.
        clock: monotonic seconds, of leases.

    Raises:
        CatalogFailure: the folder cannot be created, or the file is damaged, not a catalog, or of
            a schema that this program cannot read.
        FolderInUse: the catalog is of an older schema, and a service uses it.
    """
    try:
        make_private_folder(folder)
    except OSError as error:
        raise CatalogFailure("the catalog's folder cannot be created") from error
    file = folder.resolve() / FILE_NAME
    if not is_owner and needs_migration(file):
        with owned(folder):  # not under a running service of 0.1.0
            Database(file).close()
    ledger = None if backup_dir is None else ErasureLedger(backup_dir)
    return SqliteCatalog(Database(file), ledger, redact, clock)
