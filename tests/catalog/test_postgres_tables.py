"""The tables of the catalog in PostgreSQL hold what records declare, and keep workspaces apart."""

import pytest

from service.catalog.access_records import KeyRecord, SavedAnswer, Workspace
from service.catalog.codec import columns
from service.catalog.operation_records import Operation
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
DIRECTORY = {"directory", "keys"}  # are asked for before the workspace is known
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
        SELECT t.relname, t.relrowsecurity AND t.relforcerowsecurity, EXISTS (
            SELECT 1 FROM information_schema.columns
            WHERE table_name = t.relname AND column_name = 'workspace_id'
        ) FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace
        WHERE n.nspname = 'public' AND t.relkind IN ('r', 'p')
    """
    rows = postgres_database.sql(select)
    assert len(rows) >= 20
    assert {name for name, _, has_workspace in rows if not has_workspace} <= WITHOUT_WORKSPACE
    unguarded = {name for name, is_guarded, has_workspace in rows if has_workspace > is_guarded}
    assert unguarded <= DIRECTORY | {"workspaces"}
