"""What every process that uses a catalog must see alike: stamps, counters, work done once."""

import numpy as np
import pytest

from service.catalog.records import ClipFrame, NewVersion, ScanPatch


def cine(*places):
    vector = np.full(8, 0.5, np.float32)
    return tuple(ClipFrame(place, None, 1, vector) for place in places)


def test_a_stamp_changes_with_every_frame_that_comes_or_goes(catalog, ours, theirs, add):
    stamps = [catalog.frames_stamp(ours, "lungs")]
    add(1)  # a still has no frames
    assert catalog.frames_stamp(ours, "lungs") == stamps[0]
    add(2, frames=cine(0, 4), subject_id="P-1")
    stamps.append(catalog.frames_stamp(ours, "lungs"))
    catalog.erase_subject(ours, "P-1")
    untouched = catalog.frames_stamp(theirs, "lungs")
    add(3, frames=cine(1, 5))
    stamps.append(catalog.frames_stamp(ours, "lungs"))
    assert len(set(stamps)) == 3
    assert catalog.frames_stamp(ours, "lungs") == stamps[-1]
    assert catalog.frames_stamp(theirs, "lungs") == untouched


def test_a_classifier_tells_how_often_something_of_its_workspace_was_deleted(
    catalog, ours, theirs, add
):
    version = NewVersion("enc_1", ("a", "b"), b"{}", {})
    first = catalog.create_classifier(ours, "triage", version)
    assert first.forgettings == catalog.forgettings(ours) == 0
    add(1, subject_id="P-1", labels={"task": "a"})
    catalog.erase_subject(ours, "P-1")
    scan_id = add(2, labels={"task": "a"})
    catalog.patch_scan(ours, "lungs", scan_id, ScanPatch(labels={"task": None}))
    add(3, theirs, subject_id="P-1")
    catalog.erase_subject(theirs, "P-1")
    (listed,) = catalog.list_classifiers(ours, limit=1).items
    added, _ = catalog.add_version(ours, "triage", version)
    published = catalog.publish_version(ours, "triage", 2)
    read = catalog.get_classifier(ours, "triage")
    counts = {each.forgettings for each in (listed, added, published, read)}
    assert counts == {catalog.forgettings(ours)} == {2}
    assert catalog.forgettings(theirs) == 1


def test_work_that_somebody_does_is_not_done_by_another(catalog):
    with catalog.once("retention") as first, catalog.once("retention") as second:
        assert (first, second) == (True, False)
    with catalog.once("retention") as again:
        assert again


def test_who_was_refused_does_not_end_the_work_of_the_other(catalog):
    with catalog.once("retention") as first:
        with catalog.once("retention") as second:
            pass
        with catalog.once("retention") as third:
            pass
    assert (first, second, third) == (True, False, False)


def test_works_of_different_names_are_done_at_the_same_time(catalog):
    with catalog.once("retention") as first, catalog.once("other") as second:
        assert (first, second) == (True, True)


def test_work_that_fails_can_be_done_again(catalog):
    with pytest.raises(ZeroDivisionError), catalog.once("retention"):
        raise ZeroDivisionError
    with catalog.once("retention") as again:
        assert again
