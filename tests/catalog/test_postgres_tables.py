"""The tables of the catalog in PostgreSQL hold what records declare, and keep workspaces apart."""

import psycopg
import pytest

from service.catalog.access_records import KeyRecord, SavedAnswer, Workspace
from service.catalog.codec import columns
from service.catalog.operation_records import Operation
from service.catalog.postgres.postgres_tables import UNFORCED
from service.catalog.records import (
    ClassifierVersion,
    ClipFrame,
    Collection,
    NewVersion,
    Scan,
)

pytestmark = pytest.mark.postgres
KINDS = {
    "text": {str, dict, list},
    "bigint": {int},
    "integer": {int},
    "boolean": {bool},
    "double precision": {float},
    "bytea": {bytes},
}
# Asked for before the workspace is known, or to learn where it lives.
DIRECTORY = {"directory", "keys", "workspaces"}
WITHOUT_WORKSPACE = {  # nobody's data
    "catalog_schema",
    "retention_clock",
    "vacuums_owed",
    "shards",
    "arrivals",
    "operation_turns",
}


@pytest.mark.parametrize(
    ("table", "record"),
    [
        ("directory", Workspace),
        ("keys", KeyRecord),
        ("answers", SavedAnswer),
        ("collection_records", Collection),
        ("scan_records", Scan),
        ("scan_frames", ClipFrame),
        ("classifier_versions", NewVersion),
        ("classifier_versions", ClassifierVersion),
        ("operations", Operation),
    ],
)
def test_every_field_of_a_record_is_a_column_of_its_table(postgres_database, table, record):
    select = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = ?"
    declared = {name: KINDS.get(kind, set()) for name, kind in postgres_database.sql(select, table)}
    if record is KeyRecord:  # read from two tables in one statement
        versions = dict(postgres_database.sql(select, "workspace_policies"))
        declared["policy_version"] = KINDS[versions["version"]]
    for column in columns(record):
        assert column.kind in declared[column.name], column.name


def test_text_compares_in_code_point_order_everywhere(postgres_database):
    select = """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'
    """
    assert postgres_database.sql(select) == []


def test_every_table_of_a_workspace_is_guarded_by_row_level_security(postgres_database):
    select = """
        SELECT t.relname, t.relrowsecurity, t.relforcerowsecurity, EXISTS (
            SELECT 1 FROM information_schema.columns
            WHERE table_name = t.relname AND column_name = 'workspace_id'
        ) FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace
        WHERE n.nspname = 'public' AND t.relkind IN ('r', 'p')
    """
    rows = postgres_database.sql(select)
    assert len(rows) >= 20
    assert {name for name, *_, has_workspace in rows if not has_workspace} <= WITHOUT_WORKSPACE
    guarded = [row for row in rows if row[-1] and row[0] not in DIRECTORY]
    assert [name for name, is_enabled, *_ in guarded if not is_enabled] == []
    unforced = {name for name, _, is_forced, _ in guarded if not is_forced}
    assert unforced <= set(UNFORCED), "the owner reads these for a view that has its own condition"


def test_a_role_that_names_no_workspace_sees_no_scan_through_any_view(postgres_database, new_scan):
    catalog = postgres_database.open()
    ours = catalog.ensure_workspace("ours").workspace_id
    catalog.create_collection(ours, "lungs", encoder_id="enc_1", dim=8)
    catalog.add_scans(ours, "lungs", [new_scan(1)], encoder_id="enc_1")
    catalog.close()
    with psycopg.connect(postgres_database.address) as connection:
        for relation in ("scans", "scan_records", "filtered_scans", "scan_vectors", "collections"):
            count = f"SELECT count(*) FROM {relation}"
            assert connection.execute(count.encode()).fetchone() == (0,), relation
            connection.execute("SELECT set_config('app.workspace', %s, true)", (ours,))
            assert connection.execute(count.encode()).fetchone() == (1,), relation
            connection.rollback()
    postgres_database.empty()
