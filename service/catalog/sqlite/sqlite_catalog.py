"""The catalog in one SQLite file: durable, thread safe, nothing to install.

``SqliteCatalog`` combines the parts of this room; ``database`` owns the connections, ``schema``
the tables.
"""

from pathlib import Path

from service.catalog.interface import Catalog
from service.catalog.sqlite.array_reads import SqliteArrays
from service.catalog.sqlite.classifier_table import SqliteClassifiers
from service.catalog.sqlite.collection_table import SqliteCollections
from service.catalog.sqlite.database import Database
from service.catalog.sqlite.erasure import SqliteErasure
from service.catalog.sqlite.facets import SqliteFacets
from service.catalog.sqlite.operation_table import SqliteOperations
from service.catalog.sqlite.reembedding import SqliteReembeddings
from service.catalog.sqlite.scan_reads import SqliteScanReads
from service.catalog.sqlite.scan_writes import SqliteScanWrites
from service.catalog.sqlite.version_examples import SqliteVersionExamples
from service.catalog.sqlite.workspace_table import SqliteWorkspaces
from service.errors import CatalogFailure

FILE_NAME = "catalog.sqlite"


class SqliteCatalog(
    SqliteWorkspaces,
    SqliteCollections,
    SqliteFacets,
    SqliteScanWrites,
    SqliteScanReads,
    SqliteArrays,
    SqliteErasure,
    SqliteReembeddings,
    SqliteOperations,
    SqliteClassifiers,
    SqliteVersionExamples,
    Catalog,
):
    """The whole Catalog over one Database; open it with ``open_catalog``.

    Every method also raises CatalogFailure when SQLite fails or the catalog is closed, and
    InputError for text that is not valid Unicode.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        self._database.close()

    def check(self) -> None:
        self._database.check()


def open_catalog(folder: Path) -> SqliteCatalog:
    """Open ``catalog.sqlite`` in the folder, creating both if necessary.

    Raises:
        CatalogFailure: the folder cannot be created, or the file is damaged, not a catalog, or of
            a schema that this program cannot read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogFailure("the catalog's folder cannot be created") from error
    return SqliteCatalog(Database(folder.resolve() / FILE_NAME))
