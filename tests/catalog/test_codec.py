"""One codec: records to columns and back, records from JSON, and the tables they stand in."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest

from service.catalog.access_records import KeyRecord, SavedAnswer, Workspace
from service.catalog.codec import columns, from_columns, from_json, to_columns
from service.catalog.operation_records import Operation
from service.catalog.records import (
    ClassifierVersion,
    ClipFrame,
    Collection,
    NewVersion,
    Scan,
    ScanImage,
)
from service.catalog.sqlite.rows import decode
from service.errors import CatalogFailure, InputError

# One process owns the file, and has the queue; the version of a policy is joined to its keys.
IN_MEMORY = {"for_service", "policy_version"}


@dataclass(frozen=True)
class Inner:
    name: str
    weight: float | None = None


@dataclass(frozen=True)
class Outer:
    inner: Inner
    state: Literal["on", "off"]
    words: tuple[str, ...]
    extra: Mapping[str, Any]
    many: Mapping[str, Inner]
    note: Mapping[str, int] | None = None
    flag: bool = False
    count: int = 0


WHOLE = Outer(Inner("é", 0.5), "on", ("a", "b"), {"x": [1, None]}, {"k": Inner("i")}, None, True)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("table", "record"),
    [
        ("workspaces", Workspace),
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
def test_every_field_of_a_record_is_a_column_of_its_table(catalog, table, record):
    kinds = {"TEXT": {str, dict, list}, "INTEGER": {int, bool}, "REAL": {float}, "BLOB": {bytes}}
    with catalog._database.read() as connection:
        rows = connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,))
        declared = {row["name"]: kinds.get(row["type"], {int}) for row in rows}
    for column in columns(record):
        if column.name not in IN_MEMORY:
            assert column.kind in declared[column.name], column.name


def test_a_record_in_a_record_gives_its_columns_to_the_same_row():
    row = to_columns(WHOLE)
    assert row["name"] == "é"
    assert json.loads(row["words"]) == ["a", "b"]
    assert row["note"] is None
    assert from_columns(Outer, row, many=WHOLE.many) == WHOLE


def test_json_comes_back_as_the_record_it_was():
    assert from_json(Outer, json.loads(json.dumps(asdict(WHOLE)))) == WHOLE


@pytest.mark.parametrize(
    "change",
    [
        {"inner": {"name": 1}},
        {"inner": {"name": "a", "weight": "1"}},
        {"inner": {"name": "a", "weight": True}},
        {"inner": []},
        {"state": "ajar"},
        {"words": "ab"},
        {"words": [1]},
        {"extra": []},
        {"many": {"k": {}}},
        {"note": {"a": 1.5}},
        {"flag": 2},
        {"flag": "true"},
        {"count": True},
        {"surplus": 1},
    ],
)
def test_json_of_another_shape_is_refused_without_quoting_it(change):
    document = json.loads(json.dumps(asdict(WHOLE))) | change
    with pytest.raises(ValueError, match=r"expected|unknown|missing") as refused:
        from_json(Outer, document)
    assert "ajar" not in str(refused.value)


def test_missing_fields_and_what_is_no_object_are_refused():
    for document in ({}, {"state": "on"}, [], None):
        with pytest.raises(ValueError, match=r"missing|expected an object"):
            from_json(Outer, document)


def test_whole_numbers_stand_for_floats_and_0_and_1_for_booleans():
    row = to_columns(WHOLE) | {"weight": 2, "flag": 0}
    record = from_columns(Outer, row, many={})
    assert (record.inner.weight, type(record.inner.weight), record.flag) == (2.0, float, False)


@pytest.mark.parametrize(
    ("column", "value"), [("width_px", "x"), ("sha256", None), ("analysis", "["), ("kind", b"x")]
)
def test_a_damaged_column_is_a_catalog_failure_that_quotes_nothing(column, value):
    image = ScanImage("a", "frame", "png", 1, 1, "SECRET")
    with pytest.raises(CatalogFailure) as failure:
        decode(ScanImage, to_columns(image) | {column: value})
    assert "SECRET" not in str(failure.value)


@pytest.mark.parametrize(
    "value", [{"a": {1}}, {"a": float("nan")}, {"a": object()}, {"a": "\ud800"}]
)
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(InputError):
        to_columns(ScanImage("a", "frame", "png", 1, 1, "b", analysis=value))


def test_sqlite_rows_are_read_by_name():
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    row = connection.execute("SELECT 'n' AS name, 1 AS weight").fetchone()
    assert from_columns(Inner, row) == Inner("n", 1.0)
    connection.close()
