"""The real PostgreSQL that tests with the marker ``postgres`` share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # psycopg is an extra
    from postgres_process import PostgresProcess


@pytest.fixture(scope="session")
def postgres_server() -> Iterator["PostgresProcess"]:
    """A real PostgreSQL; its database ``template`` has the tables of a catalog."""
    from postgres_process import SERVICE_ROLE, postgres_process

    from service.catalog.postgres.postgres_schema import migrate

    with postgres_process() as server:
        server.template = server.create_database()
        migrate(server.url(server.template), service_role=SERVICE_ROLE)
        yield server
