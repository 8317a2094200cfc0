"""Which indexes SQLite uses: with a million scans, a walk through all of them takes seconds."""

import pytest

from service.catalog.filter_records import ScanFilter

pytestmark = pytest.mark.sqlite


@pytest.fixture
def plan(catalog):
    """The steps of every query of a call that read scans."""

    def explain(call):
        statements: list[str] = []
        with catalog._database.read() as connection:
            connection.set_trace_callback(statements.append)
        call()  # the same connection, which is idle
        with catalog._database.read() as connection:
            connection.set_trace_callback(None)
            steps = [
                row["detail"]
                for statement in statements
                if "FROM scans" in statement or "FROM scan_records" in statement
                for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
            ]
        return [step for step in steps if "INDEX scans_" in step]

    return explain


@pytest.mark.parametrize(
    "conditions",
    [
        {"labels": {"view": ("A", "B")}},
        {"label_presence": {"view": True}},
        {"labels": {"view": ("A",), "side": ("left",)}, "label_presence": {"grade": False}},
        {"all_of": (ScanFilter(labels={"view": ("A",)}), ScanFilter(label_presence={"x": False}))},
    ],
)
def test_scans_with_a_label_are_found_without_reading_a_scan(catalog, ours, plan, conditions):
    where = ScanFilter(**conditions)
    steps = plan(lambda: catalog.row_ids_where(ours, "lungs", where))
    assert steps
    assert all("COVERING INDEX scans_by_labels" in step for step in steps), steps


def test_pages_of_scans_with_a_label_are_read_in_their_order(catalog, ours, plan):
    where = ScanFilter(labels={"view": ("A",)})
    steps = plan(lambda: catalog.list_scans(ours, "lungs", where=where, limit=5))
    assert any("scans_of_collection" in step and "rowid>?" in step for step in steps), steps


def test_facets_count_labels_in_their_index(catalog, ours, plan):
    with_task = plan(lambda: catalog.facets(ours, "lungs", where=ScanFilter(), labels=("view",)))
    without = plan(lambda: catalog.facets(ours, "lungs", where=ScanFilter(), labels=()))
    assert [step for step in with_task if step not in without] == [
        "SEARCH scans USING COVERING INDEX scans_by_labels (workspace_id=? AND collection_id=?)"
    ]


@pytest.mark.parametrize("name", ["subject", "study"])
def test_facets_of_a_patient_or_study_read_its_scans_only(catalog, ours, add, plan, name):
    add(1, **{f"{name}_id": "p1"}, labels={"view": "A"})
    where = ScanFilter(**{f"{name}_ids": ("p1",)})
    steps = plan(lambda: catalog.facets(ours, "lungs", where=where, attributes=("age",)))
    assert steps
    assert all(f"scans_of_{name} (workspace_id=? AND {name}_id=?)" in step for step in steps), steps
