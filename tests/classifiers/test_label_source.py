"""What has to change so that a version has the labels of its source."""

from service.catalog.filter_records import ScanFilter
from service.classifiers.label_source import LabelSource, merged
from service.classifiers.requests import ExampleSelection, FitRequest, RefitFromSource


def test_newer_changed_and_removed_labels_are_told_apart() -> None:
    seen = {"a": "x", "b": "x", "c": "y"}
    merge = merged(seen, seen, {"a": "x", "b": "y", "d": "y"})
    assert (merge.newer, dict(merge.changed), merge.removed) == (("d",), {"b": "y"}, ("c",))


def test_a_correction_by_hand_stands_until_the_label_changes() -> None:
    seen = {"relabelled": "x", "dropped": "x"}
    ours = {"relabelled": "y"}
    assert merged(seen, ours, dict(seen)).is_empty
    merge = merged(seen, ours, {"relabelled": "z", "dropped": "y"})
    assert (merge.newer, dict(merge.changed)) == (("dropped",), {"relabelled": "z"})


def test_a_scan_that_was_named_by_hand_stays_without_a_label() -> None:
    merge = merged({}, {"named": "x"}, {})
    assert merge.is_empty


def test_a_filter_that_names_a_patient_is_not_kept() -> None:
    plain = ScanFilter(labels={"t": ("x",)})
    inner = ScanFilter(none_of=(ScanFilter(any_of=(ScanFilter(subject_ids=("p1",)),)),))
    for where, is_kept in ((plain, True), (inner, False)):
        selection = ExampleSelection("c", "t", where=where, filter={"written": "as it was"})
        source = LabelSource.of(selection)
        assert source.has_labels is is_kept
        assert ("p1" in str(source.to_json()), source.filter is None) == (False, not is_kept)


def test_requests_of_jobs_come_back_as_they_were() -> None:
    selection = ExampleSelection("c", "t", where=ScanFilter(has_subject=True), filter={"a": [1]})
    for request in (FitRequest("n", selection), RefitFromSource("n", "3", selection, publish=True)):
        assert type(request).from_json(request.to_json()) == request
