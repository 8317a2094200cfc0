"""Creating the tables of all databases of a catalog, and making shards of them."""

from collections.abc import Mapping
from contextlib import ExitStack

import psycopg

from service.catalog.postgres.postgres_database import DIRECTORY, translated
from service.catalog.postgres.postgres_schema import migrate
from service.catalog.postgres.shards.row_numbers import number_shards

LOCK_TIMEOUT = "-c lock_timeout=60s"  # two addresses of one database would wait for each other


def migrate_all(
    url: str, shards: Mapping[str, str], *, service_role: str | None = None
) -> dict[str, bool]:
    """Whether there was anything to do, by the name of the database ('' = the directory).

    Args:
        url, shards: addresses of a role that owns the tables, or may create them.
        service_role: a role that exists and may use the tables, but not change them.

    Raises:
        CatalogFailure: a database is not reachable, of a newer schema, or of another catalog; or
            the role may not do this.
    """
    urls = {DIRECTORY: url, **shards}
    done = {name: migrate(of, service_role=service_role) for name, of in urls.items()}
    with translated(), ExitStack() as stack:
        connections = {
            name: stack.enter_context(psycopg.connect(of, connect_timeout=10, options=LOCK_TIMEOUT))
            for name, of in urls.items()
        }
        numbered = number_shards(connections)
        for connection in reversed(connections.values()):  # the directory last
            connection.commit()
    return {name: is_new or numbered for name, is_new in done.items()}
