"""Where scans lie on the map of their collection, and what takes a place away."""

from dataclasses import replace

import numpy as np
import pytest

from service.errors import Conflict, UnknownItem
from tests.catalog.conftest import ENCODER


def store(catalog, workspace_id, ids, *, shift=0.0, encoder_id=ENCODER) -> int:
    points = np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2) + np.float32(shift)
    kept = np.full(len(ids), 0.5, np.float32)
    return catalog.store_layout(workspace_id, "lungs", encoder_id, ids, points, kept)


def test_a_layout_is_read_as_it_was_stored_and_replaced_as_a_whole(catalog, ours, theirs, add):
    ids = [add(n) for n in range(3)]
    assert store(catalog, ours, ids[::-1]) == 3
    found = catalog.get_layout(ours, "lungs")
    assert list(found.scan_ids) == ids
    assert found.points_N2.tolist() == [[4.0, 5.0], [2.0, 3.0], [0.0, 1.0]]
    assert store(catalog, ours, [*ids[:1], "gone"], shift=9.0) == 1
    assert catalog.get_layout(ours, "lungs").points_N2.tolist() == [[9.0, 10.0]]
    state = catalog.layout_state(ours, "lungs")
    assert (state.placed, state.scans, state.kept) == (1, 3, pytest.approx(0.5))
    with pytest.raises(UnknownItem):
        catalog.get_layout(theirs, "lungs")


def test_a_scan_that_is_erased_loses_its_place(catalog, ours, add):
    ids = [add(n, subject_id=f"patient-{n}") for n in range(3)]
    store(catalog, ours, ids)
    catalog.erase_subject(ours, "patient-1")
    catalog.erase_scan(ours, "lungs", ids[2])
    assert list(catalog.get_layout(ours, "lungs").scan_ids) == ids[:1]
    assert catalog.layout_state(ours, "lungs").placed == 1


def test_a_collection_without_a_layout_has_none(catalog, ours, add):
    add(0)
    for read in (catalog.get_layout, catalog.layout_state):
        with pytest.raises(UnknownItem):
            read(ours, "lungs")
    with pytest.raises(UnknownItem):
        store(catalog, "ws_none", [])


def test_a_layout_belongs_to_the_encoder_of_its_collection(catalog, ours, add, edit):
    ids = [add(0)]
    with pytest.raises(Conflict):
        store(catalog, ours, ids, encoder_id="enc_2")
    store(catalog, ours, ids)
    edit("UPDATE collections SET encoder_id = 'enc_2'")
    with pytest.raises(UnknownItem):
        catalog.layout_state(ours, "lungs")


def test_machines_are_those_that_files_name(catalog, ours, add, new_scan):
    devices = ({"manufacturer": "Maker", "model": "One"}, None, {"manufacturer": "", "model": ""})
    for n, device in enumerate(devices):
        image = replace(new_scan(n).image, analysis={"device": device})
        add(n, scan_id=f"scan-{n}", image=image)
    assert catalog.machines(ours, "lungs") == {"scan-0": "Maker One"}
