"""The start script of the database container, over the programs of the Python package."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.postgres
SCRIPT = Path(__file__).parents[2] / "docker" / "postgres" / "start.sh"
OWNER, SERVICE = "it's 100% owner", "plain"


@pytest.fixture
def folder() -> Iterator[Path]:
    """The secrets, and the remains of a first start that was killed.

    The path is short and open to the system user of PostgreSQL.
    """
    from postgres_process import SYSTEM_USER, PostgresProcess

    folder = Path(tempfile.mkdtemp(prefix="sp-start-"))
    folder.chmod(0o755)
    PostgresProcess(folder / "unused")._prepare()  # lets the system user run the programs
    (folder / "owner_password").write_text(OWNER)
    (folder / "service_password").write_text(SERVICE)
    (folder / "cluster.new").mkdir()
    (folder / "cluster.new" / "PG_VERSION").write_text("17\n")
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, SYSTEM_USER)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def started(folder: Path) -> Iterator[None]:
    from postgres_process import POSTGRES_BIN_PATH, SYSTEM_USER

    environment = os.environ | {
        "PATH": f"{POSTGRES_BIN_PATH}:{os.environ['PATH']}",
        "PGDATA": str(folder / "cluster"),
        "PGHOST": str(folder),
        "SECRETS": str(folder),
    }
    process = subprocess.Popen(
        ["sh", str(SCRIPT), "-clisten_addresses=", "-cshared_buffers=32MB"],
        env=environment,
        user=SYSTEM_USER if os.geteuid() == 0 else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "ready to accept connections" in line:
                break
        else:
            raise AssertionError("".join(lines))
        yield
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_the_owner_migrates_and_the_service_uses_the_tables_it_does_not_own(folder: Path) -> None:
    import psycopg

    from service.catalog.postgres.postgres_schema import migrate

    with started(folder):
        assert not (folder / "cluster.new").exists(), "what a kill left is begun anew"
    rules = folder / "cluster" / "pg_hba.conf"
    assert rules.read_text().endswith("host all all all scram-sha-256\n")
    # The container lets the system's user in by the socket, and others with a password by TCP.
    rules.write_text("local all all scram-sha-256\n")
    with started(folder):
        owner = psycopg.conninfo.make_conninfo(
            host=str(folder), dbname="sonoprobe", user="sonoprobe_owner", password=OWNER
        )
        assert migrate(owner, service_role="sonoprobe_service") is True
        service = psycopg.conninfo.make_conninfo(owner, user="sonoprobe_service", password=SERVICE)
        with psycopg.connect(service) as connection:
            assert connection.execute("SELECT count(*) FROM catalog_schema").fetchone() == (1,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DROP TABLE scans")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(service, password="wrong")
