"""What every process that uses a catalog must see alike: stamps, counters, work done once."""

import numpy as np

from service.catalog.records import ClipFrame


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
