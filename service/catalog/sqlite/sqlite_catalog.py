"""The catalog in one SQLite file: durable, thread safe, nothing to install.

``SqliteCatalog`` is put together from the parts of this room; ``database`` owns the
connections, ``schema`` the tables.
"""

from pathlib import Path

from service.catalog.interface import Catalog
from service.catalog.sqlite.classifier_table import Classifiers
from service.catalog.sqlite.collection_table import Collections
from service.catalog.sqlite.database import Database
from service.catalog.sqlite.erasure import Erasures
from service.catalog.sqlite.facets import FacetReads
from service.catalog.sqlite.frame_reads import FrameReads
from service.catalog.sqlite.index_reads import RowReads
from service.catalog.sqlite.labelled_reads import LabelledReads
from service.catalog.sqlite.operation_table import OperationStore
from service.catalog.sqlite.portable_reads import Carriage
from service.catalog.sqlite.reembedding import Moves
from service.catalog.sqlite.scan_reads import ScanReads
from service.catalog.sqlite.scan_writes import ScanWrites
from service.catalog.sqlite.version_examples import VersionExamples
from service.catalog.sqlite.workspace_table import Tenants
from service.errors import CatalogFailure

FILE_NAME = "catalog.sqlite"


class SqliteCatalog(
    Tenants,
    Collections,
    ScanWrites,
    ScanReads,
    RowReads,
    FrameReads,
    LabelledReads,
    Erasures,
    FacetReads,
    Carriage,
    Moves,
    OperationStore,
    Classifiers,
    VersionExamples,
    Catalog,
):
    """The whole Catalog over one Database; open it with ``open_catalog``.

    Beyond what the interface tells, every method raises CatalogFailure when SQLite fails or the
    catalog is closed, and InputError for text that is not valid Unicode.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        """Wait for calls that run and release the file; later calls raise CatalogFailure."""
        self._database.close()

    def check(self) -> None:
        """Raise CatalogFailure unless the catalog can be read and written now."""
        self._database.check()


def open_catalog(folder: Path) -> SqliteCatalog:
    """Open ``catalog.sqlite`` in the folder, creating both if there are none.

    Raises:
        CatalogFailure: the folder cannot be made, or the file is damaged, no catalog, or of a
            newer schema than this program reads.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogFailure("the catalog's folder cannot be created") from error
    return SqliteCatalog(Database(folder.resolve() / FILE_NAME))
