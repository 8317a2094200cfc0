"""New catalogs for services of benchmarks and the demo: their settings, and a key."""

import contextlib
from pathlib import Path

from postgres_process import SERVICE_ROLE, PostgresProcess

from service.access.keys import DEFAULT_WORKSPACE, create_key
from service.catalog.sqlite.sqlite_catalog import open_catalog

Settings = dict[str, str]


def new_sqlite_catalog(data_dir: Path) -> tuple[Settings, str]:
    """The settings of a service over a new file, and a key."""
    with contextlib.closing(open_catalog(data_dir)) as catalog:
        return {"DATA_DIR": str(data_dir)}, create_key(catalog, "bench", DEFAULT_WORKSPACE)[1]


def new_postgres_catalog(server: PostgresProcess) -> tuple[Settings, str]:
    """The settings of services over a new database, whose tables they do not own, and a key."""
    from service.catalog.postgres.postgres_catalog import open_postgres
    from service.catalog.postgres.postgres_schema import migrate

    name = server.create_database()
    migrate(server.url(name), service_role=SERVICE_ROLE)
    url = server.url(name, role=SERVICE_ROLE)
    with contextlib.closing(open_postgres(url)) as catalog:
        return {"CATALOG": url}, create_key(catalog, "bench", DEFAULT_WORKSPACE)[1]
