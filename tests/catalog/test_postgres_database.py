"""Transactions over a real PostgreSQL."""

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from postgres_process import SERVICE_ROLE

from service.catalog.postgres.postgres_database import DIRECTORY, WAIT_S, PostgresDatabase
from service.catalog.postgres.postgres_schema import migrate
from service.errors import CatalogFailure, InputError, ServiceError, WorkspaceMoving

pytestmark = pytest.mark.postgres


@pytest.fixture
def database(postgres_url):
    database = PostgresDatabase(postgres_url)
    with database.everything(DIRECTORY, "write") as connection:
        for name in ("a", "b"):
            row = (f"ws_{name}", name, DIRECTORY, "2026-01-01T00:00:00.000000Z")
            connection.execute(
                "INSERT INTO directory (workspace_id, name, shard, created_at) "
                "VALUES (%s, %s, %s, %s)",
                row,
            )
            connection.execute("INSERT INTO workspaces (workspace_id) VALUES (%s)", row[:1])
    yield database
    database.close()


def insert_collection(connection, workspace_id):
    connection.execute(
        "INSERT INTO collections (workspace_id, name, encoder_id, dim, description, created_at, "
        "version, keep_images, intake) VALUES (%s, 'c', 'e', 3, '', '', 1, false, '{}')",
        (workspace_id,),
    )


def count_collections(database, workspace_id):
    with database.read(workspace_id) as connection:
        return connection.execute("SELECT count(*) AS n FROM collections").fetchone()["n"]


def test_a_transaction_sees_the_rows_of_its_workspace_alone(database):
    with database.write("ws_a") as connection:
        insert_collection(connection, "ws_a")
    assert count_collections(database, "ws_a") == 1
    assert count_collections(database, "ws_b") == 0
    with database.everything(DIRECTORY, "read") as connection:
        assert connection.execute("SELECT count(*) AS n FROM collections").fetchone()["n"] == 1


def test_a_transaction_cannot_write_into_another_workspace(database):
    with pytest.raises(CatalogFailure, match="42501"), database.write("ws_a") as connection:
        insert_collection(connection, "ws_b")
    assert count_collections(database, "ws_b") == 0


def test_an_exception_undoes_the_transaction(database):
    def insert_and_fail():
        with database.write("ws_a") as connection:
            insert_collection(connection, "ws_a")
            raise InputError("no")

    with pytest.raises(InputError):
        insert_and_fail()
    assert count_collections(database, "ws_a") == 0


def test_a_workspace_that_is_moved_can_be_read_and_not_written(database):
    with database.everything(DIRECTORY, "write") as connection:
        connection.execute("UPDATE workspaces SET state = 'read_only' WHERE workspace_id = 'ws_a'")
    assert count_collections(database, "ws_a") == 0
    with pytest.raises(WorkspaceMoving) as caught, database.write("ws_a"):
        pass
    assert caught.value.code == "workspace_moving"


def test_a_lost_database_is_an_error_and_comes_back_by_itself(postgres_server, database):
    assert count_collections(database, "ws_a") == 0
    postgres_server.stop("immediate")
    try:
        with pytest.raises(CatalogFailure):
            database.check()
    finally:
        postgres_server.start()
    for attempt in range(100):
        try:
            database.check()
            break
        except ServiceError:
            assert attempt < 99, "it never came back"
    assert count_collections(database, "ws_a") == 0


def test_a_database_without_tables_or_of_another_schema_is_refused(postgres_server, postgres_url):
    empty = postgres_server.create_database("template0")
    with pytest.raises(CatalogFailure, match="sonoprobe migrate"):
        PostgresDatabase(postgres_server.url(empty))
    assert migrate(postgres_server.url(empty), service_role=SERVICE_ROLE)
    assert not migrate(postgres_server.url(empty))
    with psycopg.connect(postgres_server.url(empty), autocommit=True) as connection:
        connection.execute("UPDATE catalog_schema SET version = version + 1")
    for role in ("postgres", SERVICE_ROLE):
        with pytest.raises(CatalogFailure, match="schema 2"):
            PostgresDatabase(postgres_server.url(empty, role=role))
    with pytest.raises(CatalogFailure, match="schema 2"):
        migrate(postgres_server.url(empty))
    postgres_server.drop_database(empty)


def test_no_message_quotes_stored_text(database):
    with pytest.raises(CatalogFailure) as caught, database.write("ws_a") as connection:
        connection.execute("SELECT 'secret of a patient'::integer")
    assert "secret" not in str(caught.value)


def test_a_server_that_hangs_is_not_ready_and_then_it_is_again(postgres_server, database):
    database.check()
    (pid, *_) = (postgres_server.folder / "data" / "postmaster.pid").read_text().split()
    with database.everything(DIRECTORY, "read") as connection:
        backends = connection.execute("SELECT pid FROM pg_stat_activity").fetchall()
    pids = [int(pid), *(row["pid"] for row in backends)]
    for stopped in pids:
        os.kill(stopped, signal.SIGSTOP)
    try:
        for _ in range(2):
            with pytest.raises(CatalogFailure, match="does not answer"):
                database.check()
    finally:
        for stopped in pids:
            os.kill(stopped, signal.SIGCONT)
    for attempt in range(100):
        try:
            database.check()
            break
        except CatalogFailure:
            assert attempt < 99, "it never came back"


def test_a_server_that_is_busy_when_a_process_starts_is_waited_for(postgres_server, postgres_url):
    """It waits longer than a request does, and a first attempt may fail."""
    (pid, *_) = (postgres_server.folder / "data" / "postmaster.pid").read_text().split()
    with ThreadPoolExecutor(1) as start:
        os.kill(int(pid), signal.SIGSTOP)
        try:
            opened = start.submit(PostgresDatabase, postgres_url)
            time.sleep(WAIT_S + 0.4)
        finally:
            os.kill(int(pid), signal.SIGCONT)
        with contextlib.closing(opened.result()) as database:
            database.check()


def test_a_role_for_which_the_walls_do_not_hold_is_warned_of(postgres_server, postgres_url, caplog):
    PostgresDatabase(postgres_url).close()
    assert "row-level security" not in caplog.text
    name = postgres_url.split("@/")[1].split("?")[0]
    PostgresDatabase(postgres_server.url(name)).close()
    assert "row-level security does not hold" in caplog.text


def test_keys_and_readiness_find_a_connection_while_work_holds_all_others(postgres_url):
    small = PostgresDatabase(postgres_url, max_connections=4)
    with contextlib.closing(small), contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(small.directory("read"))
        with pytest.raises(CatalogFailure), small.directory("read"):
            pass
        with small.door("read") as connection:
            assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
        small.check()
