"""Opening the catalog that the settings name, for the service and for commands."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from service.catalog.data_folder import owned, tighten
from service.catalog.erasure_ledger import LEDGER
from service.catalog.interface import Catalog
from service.catalog.sqlite.backup import PREFIX
from service.catalog.sqlite.sqlite_catalog import FILE_NAME, open_catalog
from service.classifiers.fitting import without_scores
from service.errors import InvalidSettings
from service.settings import Settings

if TYPE_CHECKING:  # psycopg is an extra
    from service.catalog.postgres.postgres_catalog import PostgresCatalog

INDEX_FOLDER = "index"  # in the data folder; holds nothing that the catalog does not
_OF_BACKUPS = (f"{PREFIX}*", f".{PREFIX}*", f"{LEDGER}*", "audit*")
_OF_DATA = (f"{FILE_NAME}*", f".{FILE_NAME}*", INDEX_FOLDER, "in-use", "audit*")


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Lock the data folder while the block runs; replicas over PostgreSQL need no lock.

    Raises:
        FolderInUse: another service uses the folder.
        CatalogFailure: the folder cannot be created or opened.
    """
    with nullcontext() if settings.catalog is not None else owned(settings.data_dir):
        yield


def catalog_of(settings: Settings, *, is_owner: bool = False) -> Catalog:
    """The catalog of the settings, as the service and the commands open it.

    What others may read of its folders is taken from them.

    Args:
        is_owner: the caller holds the lock of the data folder.

    Raises:
        CatalogFailure, FolderInUse: as ``open_catalog`` and ``open_postgres``.
        InvalidSettings: as ``postgres_of``.
    """
    if settings.backup_dir is not None:
        tighten(settings.backup_dir, _OF_BACKUPS)
    if settings.exchange_dir is not None:
        tighten(settings.exchange_dir, ("ws_*",))
    if settings.catalog is not None:
        return postgres_of(settings)
    tighten(settings.data_dir, _OF_DATA)
    return open_catalog(
        settings.data_dir,
        is_owner=is_owner,
        backup_dir=settings.backup_dir,
        redact=without_scores,
    )


def postgres_of(settings: Settings) -> "PostgresCatalog":
    """The catalog in PostgreSQL that the settings name.

    Raises:
        CatalogFailure: as ``open_postgres``.
        InvalidSettings: they name none, an address is not valid, or the driver is not installed.
    """
    url = settings.catalog_url()
    if url is None:
        raise InvalidSettings("SONOPROBE_CATALOG: expected postgresql://..., got nothing")
    with with_driver():
        from service.catalog.postgres.postgres_catalog import open_postgres
    return open_postgres(
        url,
        shards=settings.shard_urls(),
        max_connections=settings.database_connections,
        backup_dir=settings.backup_dir,
        redact=without_scores,
    )


@contextmanager
def with_driver() -> Iterator[None]:
    """Raises InvalidSettings: the block imports the driver of PostgreSQL, which is missing."""
    try:
        yield
    except ImportError as error:
        raise InvalidSettings(
            "a catalog in PostgreSQL needs its driver: pip install 'sonoprobe[postgres]'"
        ) from error
