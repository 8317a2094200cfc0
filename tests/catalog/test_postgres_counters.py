"""What a collection counts in PostgreSQL: its scans, and the changes of its frames."""

import pytest

from service.catalog.postgres.postgres_database import DIRECTORY, PostgresDatabase
from service.catalog.postgres.postgres_rows import delete_scans, first, lock_workspace

pytestmark = pytest.mark.postgres
OWNER = "ws_a"


@pytest.fixture
def database(postgres_url):
    database = PostgresDatabase(postgres_url)
    with database.everything(DIRECTORY, "write") as connection:
        connection.execute("INSERT INTO workspaces (workspace_id) VALUES (%s)", (OWNER,))
        for name in ("a", "b"):
            connection.execute(
                "INSERT INTO collections (workspace_id, name, encoder_id, dim, description, "
                "created_at, version, keep_images, intake, scans) "
                "VALUES (%s, %s, 'e', 3, '', '', 1, false, '{}', 3)",
                (OWNER, name),
            )
        connection.execute(
            "INSERT INTO scans (row_id, workspace_id, collection_id, scan_id, sha256, kind, "
            "format, width_px, height_px, content_sha256, frames, frames_used, analysis, labels, "
            "attributes, created_at, updated_at, version) "
            "SELECT 10 * c.collection_id + n, %s, c.collection_id, n::text, n::text, '', '', 1, 1, "
            "n::text, 1, 1, '{}', '{}', '{}', '', '', 1 "
            "FROM collections AS c, generate_series(1, 3) AS n",
            (OWNER,),
        )
        connection.execute(
            "INSERT INTO scan_frames (row_id, workspace_id, collection_id, place, copies, vector) "
            "SELECT row_id, workspace_id, collection_id, 0, 1, '[1,2,3]' FROM scans "
            "WHERE scan_id = '1'"
        )
    yield database
    database.close()


def counts(connection, name):
    query = "SELECT scans, frames_stamp FROM collections WHERE name = %s"
    return tuple(first(connection, query, name).values())


def test_deleted_scans_are_counted_out_of_each_collection(database):
    with database.write(OWNER) as connection:
        lock_workspace(connection, OWNER)
        assert delete_scans(connection, [11, 12, 22, 99]) == 3
        assert counts(connection, "a") == (1, 1)
        assert counts(connection, "b") == (2, 0), "no frame of it went"
        assert delete_scans(connection, [11, 99]) == 0
        assert counts(connection, "a") == (1, 1)
