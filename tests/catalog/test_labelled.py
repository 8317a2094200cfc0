"""Labelled vectors of many scans at once."""

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.errors import TooManyItems, UnknownItem

LABELLED = ScanFilter(label_presence={"view": True})


def test_columns_tell_what_the_scans_tell(catalog, ours, add):
    add(1, scan_id="a", labels={"view": "A"}, subject_id="p1")
    add(2, scan_id="bare")
    add(3, scan_id="c", labels={"view": "C", "side": "left"}, study_id="s3")
    found = catalog.labelled(ours, "lungs", where=LABELLED, most=9)
    scans = [catalog.get_scan(ours, "lungs", scan_id) for scan_id in ("a", "c")]
    assert found.scan_ids == ["a", "c"]
    assert found.labels == [scan.labels for scan in scans]
    assert found.sha256s == [scan.image.sha256 for scan in scans]
    assert found.subject_ids == ["p1", None]
    assert found.study_ids == [None, "s3"]
    np.testing.assert_array_equal(
        found.embeddings_ND, catalog.embeddings(ours, "lungs", ["a", "c"])
    )


def test_what_passes_is_counted_and_not_what_is_stored(catalog, ours, add):
    for n in range(4):
        add(n, labels={"view": "A"} if n < 2 else {})
    assert len(catalog.labelled(ours, "lungs", where=LABELLED, most=2).scan_ids) == 2
    with pytest.raises(TooManyItems, match="at most 1 scans in one request, got 2"):
        catalog.labelled(ours, "lungs", where=LABELLED, most=1)


def test_nothing_is_told_of_other_workspaces(catalog, ours, theirs, add):
    add(1, labels={"view": "A"})
    assert catalog.labelled(theirs, "lungs", where=LABELLED, most=9).scan_ids == []
    with pytest.raises(UnknownItem):
        catalog.labelled(ours, "none", where=LABELLED, most=9)
