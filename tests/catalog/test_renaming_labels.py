"""A class gets another name in all scans of one collection, or in none."""

import pytest

from service.catalog.filter_records import ScanFilter
from service.errors import NameTaken, UnknownItem


def labels_of(catalog, owner, collection="lungs"):
    page = catalog.list_scans(owner, collection, where=ScanFilter(), limit=50)
    return {scan.scan_id: (dict(scan.labels), scan.version) for scan in page.items}


def test_only_the_label_of_the_task_changes_and_each_scan_gets_a_version(catalog, ours, add):
    add(1, scan_id="a", labels={"view": "A", "side": "A"})
    add(2, scan_id="b", labels={"view": "B"})
    add(3, scan_id="c", labels={"side": "A"})
    renamed = catalog.rename_label(ours, "lungs", "view", "A", 'new "name"')
    assert (renamed.renamed, renamed.merged_into) == (1, 0)
    assert labels_of(catalog, ours) == {
        "a": ({"view": 'new "name"', "side": "A"}, 2),
        "b": ({"view": "B"}, 1),
        "c": ({"side": "A"}, 1),
    }


def test_a_name_that_is_taken_needs_merge_and_a_dry_run_changes_nothing(catalog, ours, add):
    add(1, scan_id="a", labels={"view": "A"})
    add(2, scan_id="b", labels={"view": "B"})
    before = labels_of(catalog, ours)
    with pytest.raises(NameTaken):
        catalog.rename_label(ours, "lungs", "view", "A", "B")
    dry = catalog.rename_label(ours, "lungs", "view", "A", "B", merge=True, dry_run=True)
    assert (dry.renamed, dry.merged_into) == (1, 1)
    assert labels_of(catalog, ours) == before
    assert catalog.rename_label(ours, "lungs", "view", "A", "B", merge=True) == dry
    assert {labels["view"] for labels, _ in labels_of(catalog, ours).values()} == {"B"}


def test_other_workspaces_and_labels_that_nobody_has_are_left_alone(catalog, ours, theirs, add):
    add(1, scan_id="a", labels={"view": "A"})
    for owner, task, label in ((theirs, "view", "A"), (ours, "side", "A"), (ours, "view", "B")):
        with pytest.raises(UnknownItem):
            catalog.rename_label(owner, "lungs", task, label, "new")
    assert labels_of(catalog, ours) == {"a": ({"view": "A"}, 1)}


def test_labels_without_vectors_are_those_of_the_scans(catalog, ours, add):
    add(1, scan_id="a", labels={"view": "A"})
    where = ScanFilter(label_presence={"view": True})
    found = catalog.labelled(ours, "lungs", where=where, most=9, vectors=False)
    assert (found.scan_ids, found.labels) == (["a"], [{"view": "A"}])
    assert found.embeddings_ND.size == 0
