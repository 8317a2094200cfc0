"""Collections that move to another encoder, in the catalog."""

import numpy as np
import pytest

from service.catalog.records import NewScan
from service.catalog.sqlite.reembedding import EXCHANGE_AT_ONCE
from service.errors import Conflict, EncoderMismatch, ImagesNotKept, InputError, UnknownItem
from tests.catalog.vectors import all_vectors

NEW, NEW_DIM = "enc_2", 4


@pytest.fixture
def kept(catalog, ours, new_scan):
    """A collection of six scans with images; their ids."""
    catalog.create_collection(ours, "kept", encoder_id="enc_1", dim=8, keep_images=True)
    scans: list[NewScan] = [
        new_scan(n, scan_id=f"s{n}", subject_id=f"p{n}", image_png=b"png %d" % n) for n in range(6)
    ]
    catalog.add_scans(ours, "kept", scans, encoder_id="enc_1")
    return [scan.scan_id for scan in scans]


def embed(catalog, ours, limit=100):
    """Give the next scans a second vector that follows from their images."""
    todo = catalog.images_to_embed(ours, "kept", limit=limit)
    rows = [row_id for row_id, _ in todo]
    vectors = [np.full(NEW_DIM, int(png.split()[1]), np.float32) for _, png in todo]
    if rows:
        catalog.stage_vectors(ours, "kept", rows, np.stack(vectors))
    return rows


def begin(catalog, ours):
    return catalog.begin_reembedding(ours, "kept", encoder_id=NEW, dim=NEW_DIM)


def test_a_move_switches_all_vectors_at_once_and_back_until_it_is_confirmed(catalog, ours, kept):
    rows_N, before_ND = all_vectors(catalog, ours, "kept")
    assert begin(catalog, ours).embedded == 0
    assert len(embed(catalog, ours, limit=4)) == 4
    assert begin(catalog, ours).embedded == 4, "it goes on where it was"
    assert catalog.get_collection(ours, "kept").encoder_id == "enc_1"
    np.testing.assert_array_equal(all_vectors(catalog, ours, "kept")[1], before_ND)
    embed(catalog, ours)
    switched = catalog.switch_reembedding(ours, "kept")
    assert (switched.state, switched.from_encoder_id) == ("switched", "enc_1")
    assert (switched.to_encoder_id, switched.to_dim) == (NEW, NEW_DIM)
    found = catalog.get_collection(ours, "kept")
    assert (found.encoder_id, found.dim) == (NEW, NEW_DIM)
    again_N, after_ND = all_vectors(catalog, ours, "kept")
    np.testing.assert_array_equal(again_N, rows_N)
    np.testing.assert_array_equal(after_ND[:, 0], np.arange(6))
    assert catalog.switch_reembedding(ours, "kept").state == "embedding"
    np.testing.assert_array_equal(all_vectors(catalog, ours, "kept")[1], before_ND)
    catalog.switch_reembedding(ours, "kept")
    catalog.end_reembedding(ours, "kept")
    np.testing.assert_array_equal(all_vectors(catalog, ours, "kept")[1], after_ND)
    for call in (catalog.get_reembedding, catalog.switch_reembedding, catalog.end_reembedding):
        with pytest.raises(UnknownItem, match="not being re-embedded"):
            call(ours, "kept")


def test_a_move_is_not_switched_before_every_scan_has_its_vector(catalog, ours, kept):
    begin(catalog, ours)
    embed(catalog, ours, limit=5)
    with pytest.raises(Conflict, match="1 scans have no vector"):
        catalog.switch_reembedding(ours, "kept")


def test_what_is_erased_during_a_move_has_no_second_vector_either(catalog, ours, kept):
    begin(catalog, ours)
    todo = catalog.images_to_embed(ours, "kept", limit=100)
    embed(catalog, ours, limit=2)
    catalog.erase_subject(ours, "p0")
    catalog.erase_subject(ours, "p5")
    rows = [row_id for row_id, _ in todo]
    catalog.stage_vectors(ours, "kept", rows, np.ones((6, NEW_DIM), np.float32))
    assert catalog.get_reembedding(ours, "kept").embedded == 4
    catalog.switch_reembedding(ours, "kept")
    assert len(all_vectors(catalog, ours, "kept")[0]) == 4


def test_a_switch_is_not_taken_back_over_scans_that_came_later(catalog, ours, kept, new_scan):
    begin(catalog, ours)
    embed(catalog, ours)
    catalog.switch_reembedding(ours, "kept")
    late = new_scan(9, scan_id="late", embedding_D=np.ones(NEW_DIM, np.float32))
    with pytest.raises(EncoderMismatch):
        catalog.add_scans(ours, "kept", [late], encoder_id="enc_1")
    catalog.add_scans(ours, "kept", [late], encoder_id=NEW)
    with pytest.raises(Conflict, match="1 scans have no vector"):
        catalog.switch_reembedding(ours, "kept")


def test_a_collection_without_kept_images_says_what_to_do(catalog, ours, add):
    add(1), add(2)
    with pytest.raises(ImagesNotKept, match="of 2 of the collection's scans: upload the files"):
        catalog.begin_reembedding(ours, "lungs", encoder_id=NEW, dim=NEW_DIM)


def test_a_move_to_where_it_is_or_over_an_unconfirmed_one_is_a_conflict(catalog, ours, kept):
    with pytest.raises(Conflict, match="already"):
        catalog.begin_reembedding(ours, "kept", encoder_id="enc_1", dim=8)
    begin(catalog, ours)
    embed(catalog, ours)
    catalog.switch_reembedding(ours, "kept")
    with pytest.raises(Conflict, match="confirm or take back"):
        catalog.begin_reembedding(ours, "kept", encoder_id="enc_3", dim=8)


def test_another_goal_starts_anew(catalog, ours, kept):
    begin(catalog, ours)
    embed(catalog, ours)
    assert catalog.begin_reembedding(ours, "kept", encoder_id="enc_3", dim=5).embedded == 0


def test_vectors_of_another_width_are_refused(catalog, ours, kept):
    begin(catalog, ours)
    with pytest.raises(InputError, match=r"shape \(4,\)"):
        catalog.stage_vectors(ours, "kept", [1], np.ones((1, 8), np.float32))


def test_a_switch_of_more_than_is_exchanged_at_once_exchanges_each_vector_once(
    catalog, ours, new_scan
):
    count = EXCHANGE_AT_ONCE + 7
    catalog.create_collection(ours, "kept", encoder_id="enc_1", dim=8, keep_images=True)
    scans = [new_scan(n, scan_id=f"s{n}", image_png=b"png %d" % n) for n in range(count)]
    catalog.add_scans(ours, "kept", scans, encoder_id="enc_1")
    before_ND = all_vectors(catalog, ours, "kept")[1]
    begin(catalog, ours)
    embed(catalog, ours, limit=count)
    catalog.switch_reembedding(ours, "kept")
    np.testing.assert_array_equal(all_vectors(catalog, ours, "kept")[1][:, 0], np.arange(count))
    catalog.switch_reembedding(ours, "kept")
    np.testing.assert_array_equal(all_vectors(catalog, ours, "kept")[1], before_ND)
