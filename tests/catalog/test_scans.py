"""Storing, changing and deleting scans in the catalog."""

import re

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import ScanImage, ScanPatch, StoredScan
from service.catalog.sqlite.sql_filter import condition, of_collection
from service.errors import (
    EncoderMismatch,
    InputError,
    InvalidCursor,
    NameTaken,
    PreconditionFailed,
    UnknownItem,
)
from tests.catalog.vectors import all_vectors

ODD = "日本 \"'.$[0]\\ é 😀"
EVERYTHING = ScanFilter()


def walk(catalog, workspace_id, limit, where=EVERYTHING, between_pages=lambda page: None):
    after, scans = None, []
    while True:
        page = catalog.list_scans(workspace_id, "lungs", where=where, limit=limit, after=after)
        scans += page.items
        between_pages(page)
        if page.next_after is None:
            return scans
        after = page.next_after


def test_every_field_of_a_scan_comes_back(catalog, ours, new_scan):
    new = new_scan(
        1,
        scan_id=ODD,
        image=ScanImage("ab" * 32, "cine", "dicom", 1024, 768, "cd" * 32),
        subject_id=ODD,
        study_id="S/1",
        labels={ODD: ODD, "b": "2"},
        attributes={ODD: ODD, "i": 3, "f": 0.1, "t": True, "n": None, "big": 2**63 - 1},
    )
    (answer,) = catalog.add_scans(ours, "lungs", [new], encoder_id="enc_1")
    scan = catalog.get_scan(ours, "lungs", ODD)
    assert answer == StoredScan(scan, created=True)
    assert (scan.image, scan.labels, scan.attributes) == (new.image, new.labels, new.attributes)
    assert scan.attributes["t"] is True
    assert (scan.scan_id, scan.subject_id, scan.study_id) == (ODD, ODD, "S/1")
    assert (scan.collection, scan.encoder_id, scan.version) == ("lungs", "enc_1", 1)
    assert scan.created_at == scan.updated_at


def test_vectors_and_thumbnails_come_back_bit_for_bit(catalog, ours, new_scan, add):
    ids = [add(n) for n in range(5)]
    row_ids_N, embeddings_ND = all_vectors(catalog, ours, "lungs")
    assert (row_ids_N.dtype, embeddings_ND.dtype) == (np.int64, np.float32)
    assert row_ids_N.tolist() == [catalog.get_scan(ours, "lungs", i).row_id for i in ids]
    np.testing.assert_array_equal(embeddings_ND, [new_scan(n).embedding_D for n in range(5)])
    assert catalog.thumbnail(ours, "lungs", ids[3]) == new_scan(3).thumbnail_jpeg


def test_a_strided_embedding_is_stored_by_its_numbers(catalog, ours, new_scan):
    strided_D = np.arange(16, dtype=np.float32)[::2]
    catalog.add_scans(ours, "lungs", [new_scan(1, embedding_D=strided_D)], encoder_id="enc_1")
    np.testing.assert_array_equal(all_vectors(catalog, ours, "lungs")[1], [strided_D])


def test_embeddings_follow_the_order_asked_for(catalog, ours, new_scan, add):
    ids = [add(n) for n in range(4)]
    asked = [ids[2], ids[0], ids[2]]
    embeddings_ND = catalog.embeddings(ours, "lungs", asked)
    np.testing.assert_array_equal(embeddings_ND, [new_scan(n).embedding_D for n in (2, 0, 2)])


def test_embeddings_of_nothing_have_the_collections_width(catalog, ours):
    assert catalog.embeddings(ours, "lungs", []).shape == (0, 8)


def test_one_missing_scan_refuses_all_embeddings(catalog, ours, add):
    with pytest.raises(UnknownItem, match="1 of 2"):
        catalog.embeddings(ours, "lungs", [add(1), "scn_none"])


def test_a_scan_without_an_id_gets_one(add):
    assert re.fullmatch(r"scn_[0-9a-f]{20}", add(1))


def test_known_bytes_return_the_stored_scan_unchanged(catalog, ours, new_scan, add):
    add(1, scan_id="first", labels={"view": "A"})
    again = new_scan(1, scan_id="second", labels={"view": "B"})
    (answer,) = catalog.add_scans(ours, "lungs", [again], encoder_id="enc_1")
    assert answer.scan == catalog.get_scan(ours, "lungs", "first")
    assert answer.created is False
    assert answer.scan.labels == {"view": "A"}


def test_the_same_bytes_twice_in_one_call_are_one_scan(catalog, ours, new_scan):
    twice = [new_scan(1), new_scan(2), new_scan(1)]
    first, other, second = catalog.add_scans(ours, "lungs", twice, encoder_id="enc_1")
    assert [first.created, other.created, second.created] == [True, True, False]
    assert first.scan == second.scan


def test_the_same_bytes_in_two_collections_are_two_scans(catalog, ours, add):
    catalog.create_collection(ours, "hearts", encoder_id="enc_1", dim=8)
    assert add(1) != add(1, collection="hearts")


def test_a_taken_scan_id_is_refused_in_its_place_only(catalog, ours, new_scan, add):
    add(1, scan_id="a")
    scans = [new_scan(2, scan_id="b"), new_scan(3, scan_id="a"), new_scan(4, scan_id="b")]
    stored, *refused = catalog.add_scans(ours, "lungs", scans, encoder_id="enc_1")
    assert stored.created
    assert [type(answer) for answer in refused] == [NameTaken, NameTaken]
    assert catalog.get_collection(ours, "lungs").scans == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"embedding_D": np.zeros(9, np.float32)},
        {"embedding_D": np.zeros(8, np.float64)},
        {"embedding_D": np.zeros((1, 8), np.float32)},
        {"embedding_D": np.full(8, np.nan, np.float32)},
        {"labels": {"view": 3}},
        {"labels": {"nul\0": "a"}},
        {"labels": {"a": "\ud800"}},
        {"attributes": {"a": float("nan")}},
        {"attributes": {"a": 2**63}},
        {"attributes": {"a": [1]}},
        {"subject_id": "nul\0"},
        {"scan_id": "\udfff"},
    ],
)
def test_a_scan_that_cannot_be_stored_is_an_input_error_in_its_place(
    catalog, ours, new_scan, fields
):
    scans = [new_scan(1), new_scan(2, **fields), new_scan(3)]
    answers = catalog.add_scans(ours, "lungs", scans, encoder_id="enc_1")
    assert [type(answer) for answer in answers] == [StoredScan, InputError, StoredScan]
    assert catalog.get_collection(ours, "lungs").scans == 2


def test_scans_of_another_encoder_are_refused(catalog, ours, new_scan):
    with pytest.raises(EncoderMismatch, match="enc_1, got enc_2"):
        catalog.add_scans(ours, "lungs", [new_scan(1)], encoder_id="enc_2")


def test_scans_for_no_collection_are_refused(catalog, ours, new_scan):
    with pytest.raises(UnknownItem):
        catalog.add_scans(ours, "none", [new_scan(1)], encoder_id="enc_1")


def test_known_files_are_found_by_their_digest(catalog, ours, new_scan, add):
    known = {new_scan(n).image.sha256: add(n) for n in range(3)}
    found = catalog.find_known(ours, "lungs", [*known, "0" * 64])
    assert {scan.image.sha256: scan.scan_id for scan in found} == known


def test_more_digests_than_a_statement_has_variables_are_looked_up(catalog, ours, new_scan, add):
    scan_id = add(1)
    many = [f"{n:064x}" for n in range(40_000)] + [new_scan(1).image.sha256]
    assert [scan.scan_id for scan in catalog.find_known(ours, "lungs", many)] == [scan_id]


def test_rows_that_exist_are_returned_by_row(catalog, ours, add):
    scans = [catalog.get_scan(ours, "lungs", add(n)) for n in range(3)]
    wanted = np.array([scans[2].row_id, 10**9, scans[0].row_id])
    found = catalog.get_scans_by_row(ours, "lungs", wanted)
    assert found == {scans[0].row_id: scans[0], scans[2].row_id: scans[2]}


def test_a_row_number_is_never_used_again(catalog, ours, add):
    last, _ = catalog.erase_scan(ours, "lungs", add(1))
    assert catalog.get_scan(ours, "lungs", add(1)).row_id > last.row_id


@pytest.mark.parametrize("limit", [1, 3, 10, 11])
def test_paging_shows_each_scan_once_in_the_order_of_storing(catalog, ours, add, limit):
    ids = [add(n) for n in range(10)]
    assert [scan.scan_id for scan in walk(catalog, ours, limit)] == ids


def test_paging_skips_nothing_while_rows_are_deleted(catalog, ours, add):
    ids = [add(n) for n in range(10)]

    def delete_what_was_shown(page):
        for scan in page.items:
            catalog.erase_scan(ours, "lungs", scan.scan_id)

    shown = walk(catalog, ours, 3, between_pages=delete_what_was_shown)
    assert [scan.scan_id for scan in shown] == ids


def test_paging_through_a_filter_shows_what_passes_once(catalog, ours, add):
    ids = [add(n, labels={"odd": "yes" if n % 2 else "no"}) for n in range(10)]
    shown = walk(catalog, ours, 2, where=ScanFilter(labels={"odd": ("yes",)}))
    assert [scan.scan_id for scan in shown] == ids[1::2]


@pytest.mark.parametrize("after", ["", "x", "-1", "1.0", " 1", "²", "٣", "9" * 19, "9" * 5000])
def test_a_cursor_that_is_no_row_id_is_invalid(catalog, ours, after):
    with pytest.raises(InvalidCursor):
        catalog.list_scans(ours, "lungs", where=EVERYTHING, limit=1, after=after)


def test_a_patch_sets_and_removes_entries_and_bumps_the_version(catalog, ours, add):
    scan_id = add(
        1,
        subject_id="p1",
        study_id="s1",
        labels={"view": "A", "old": "x"},
        attributes={"age": 3, "null": None, "old": 1},
    )
    patch = ScanPatch(
        labels={"view": "B", "old": None, "absent": None},
        attributes={"age": 4, "old": None, "new": True},
        study_id=None,
        subject_id="ignored",
        set_fields=frozenset({"study_id"}),
    )
    patched = catalog.patch_scan(ours, "lungs", scan_id, patch, if_version=1)
    assert patched == catalog.get_scan(ours, "lungs", scan_id)
    assert patched.labels == {"view": "B"}
    assert patched.attributes == {"age": 4, "null": None, "new": True}
    assert (patched.subject_id, patched.study_id, patched.version) == ("p1", None, 2)


@pytest.mark.parametrize(
    "patch",
    [
        ScanPatch(set_fields=frozenset({"sha256"})),
        ScanPatch(labels={"a": "nul\0"}),
        ScanPatch(attributes={"a": float("inf")}),
        ScanPatch(subject_id="\ud800", set_fields=frozenset({"subject_id"})),
    ],
)
def test_a_patch_that_cannot_be_stored_changes_nothing(catalog, ours, add, patch):
    before = catalog.get_scan(ours, "lungs", add(1))
    with pytest.raises(InputError):
        catalog.patch_scan(ours, "lungs", before.scan_id, patch)
    assert catalog.get_scan(ours, "lungs", before.scan_id) == before


def test_an_outdated_version_is_neither_patched_nor_deleted(catalog, ours, add):
    scan_id = add(1)
    current = catalog.patch_scan(ours, "lungs", scan_id, ScanPatch(labels={"a": "b"}))
    with pytest.raises(PreconditionFailed, match="expected version 1, the current one is 2"):
        catalog.patch_scan(ours, "lungs", scan_id, ScanPatch(), if_version=1)
    with pytest.raises(PreconditionFailed):
        catalog.erase_scan(ours, "lungs", scan_id, if_version=1)
    assert catalog.get_scan(ours, "lungs", scan_id) == current


def test_a_deleted_scan_is_returned_and_gone_everywhere(catalog, ours, new_scan, add):
    scan = catalog.get_scan(ours, "lungs", add(1))
    assert catalog.erase_scan(ours, "lungs", scan.scan_id, if_version=1)[0] == scan
    assert catalog.get_scans_by_row(ours, "lungs", [scan.row_id]) == {}
    assert catalog.find_known(ours, "lungs", [scan.image.sha256]) == ()
    assert all_vectors(catalog, ours, "lungs")[0].size == 0
    with pytest.raises(UnknownItem):
        catalog.thumbnail(ours, "lungs", scan.scan_id)


def test_others_cannot_read_our_scans(catalog, ours, theirs, new_scan, add):
    scan = catalog.get_scan(ours, "lungs", add(1, scan_id="x", subject_id="p1"))
    assert catalog.get_scans_by_row(theirs, "lungs", [scan.row_id]) == {}
    assert catalog.find_known(theirs, "lungs", [scan.image.sha256]) == ()
    assert catalog.list_scans(theirs, "lungs", where=EVERYTHING, limit=9).items == ()
    assert catalog.row_ids_where(theirs, "lungs", EVERYTHING).size == 0
    assert all_vectors(catalog, theirs, "lungs")[0].size == 0
    for read in (
        lambda: catalog.get_scan(theirs, "lungs", "x"),
        lambda: catalog.thumbnail(theirs, "lungs", "x"),
        lambda: catalog.embeddings(theirs, "lungs", ["x"]),
    ):
        with pytest.raises(UnknownItem):
            read()


def test_others_cannot_change_our_scans(catalog, ours, theirs, add):
    scan = catalog.get_scan(ours, "lungs", add(1, scan_id="x", subject_id="p1"))
    for change in (
        lambda: catalog.patch_scan(theirs, "lungs", "x", ScanPatch(labels={"a": "b"})),
        lambda: catalog.erase_scan(theirs, "lungs", "x"),
        lambda: catalog.erase_subject(theirs, "p1"),
    ):
        with pytest.raises(UnknownItem):
            change()
    assert catalog.get_scan(ours, "lungs", "x") == scan


def test_others_may_store_the_same_bytes_and_id(catalog, ours, theirs, add):
    add(1, scan_id="x")
    add(1, workspace_id=theirs, scan_id="x")
    catalog.erase_scan(theirs, "lungs", "x")
    assert catalog.get_scan(ours, "lungs", "x").scan_id == "x"


def test_reading_scans_of_no_collection_is_an_unknown_item(catalog, ours):
    for read in (
        lambda: catalog.get_scan(ours, "none", "x"),
        lambda: catalog.list_scans(ours, "none", where=EVERYTHING, limit=1),
        lambda: catalog.row_ids_where(ours, "none", EVERYTHING),
        lambda: catalog.content_hashes(ours, "none"),
        lambda: catalog.embeddings(ours, "none", []),
        lambda: catalog.thumbnail(ours, "none", "x"),
    ):
        with pytest.raises(UnknownItem):
            read()


@pytest.mark.sqlite
@pytest.mark.parametrize("field", ["subject_ids", "study_ids"])
def test_the_few_scans_of_a_patient_or_study_are_found_by_their_own_index(catalog, field):
    """By that of the collection a million rows would be read for each search and each page."""
    where = ScanFilter(**{field: ("p1",)})
    passes, variables = condition(where)
    for is_page, columns in ((False, ("w", 1)), (True, ("w", 1, 0))):
        scope = of_collection(where, is_page=is_page)
        sql = f"EXPLAIN QUERY PLAN SELECT row_id FROM scan_records WHERE {scope} AND {passes}"
        sql += " ORDER BY row_id LIMIT 5"
        with catalog._database.read() as connection:
            steps = [row["detail"] for row in connection.execute(sql, (*columns, *variables))]
        assert any(f"scans_of_{field.removesuffix('_ids')}" in step for step in steps), steps
