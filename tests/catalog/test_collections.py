"""Collections in the catalog."""

import pytest

from service.errors import InputError, NameTaken, PreconditionFailed, UnknownItem
from tests.catalog.vectors import all_vectors


def walk(catalog, workspace_id, limit):
    after, names = None, []
    while True:
        page = catalog.list_collections(workspace_id, limit=limit, after=after)
        names += [item.name for item in page.items]
        if page.next_after is None:
            return names
        after = page.next_after


def test_a_collection_comes_back_as_it_was_made(catalog, ours):
    made = catalog.create_collection(ours, 'a"b.é', encoder_id="enc_9", dim=5, description="Ω\n")
    assert catalog.get_collection(ours, 'a"b.é') == made
    assert (made.encoder_id, made.dim, made.description) == ("enc_9", 5, "Ω\n")
    assert (made.version, made.scans) == (1, 0)


def test_a_taken_name_is_refused(catalog, ours):
    with pytest.raises(NameTaken):
        catalog.create_collection(ours, "lungs", encoder_id="enc_2", dim=3)
    assert catalog.get_collection(ours, "lungs").encoder_id == "enc_1"


def test_a_collection_in_no_workspace_is_refused(catalog):
    with pytest.raises(UnknownItem):
        catalog.create_collection("ws_none", "lungs", encoder_id="enc_1", dim=3)


@pytest.mark.parametrize(("name", "dim"), [("hearts", 0), ("nul\0", 3), ("\ud800", 3)])
def test_a_collection_that_cannot_be_stored_is_an_input_error(catalog, ours, name, dim):
    with pytest.raises(InputError):
        catalog.create_collection(ours, name, encoder_id="enc_1", dim=dim)


def test_a_collection_counts_its_own_scans(catalog, ours, add):
    catalog.create_collection(ours, "hearts", encoder_id="enc_1", dim=8)
    for n in range(3):
        add(n)
    add(0, collection="hearts")
    counts = {item.name: item.scans for item in catalog.list_collections(ours, limit=9).items}
    assert counts == {"lungs": 3, "hearts": 1}


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_paging_shows_each_collection_once_in_order(catalog, ours, limit):
    for name in ("b", "é", "B", "zz", ""):
        catalog.create_collection(ours, name, encoder_id="enc_1", dim=8)
    assert walk(catalog, ours, limit) == ["", "B", "b", "lungs", "zz", "é"]


def test_a_full_last_page_has_no_successor(catalog, ours):
    assert catalog.list_collections(ours, limit=1).next_after is None


def test_an_empty_page_size_is_an_input_error(catalog, ours):
    with pytest.raises(InputError):
        catalog.list_collections(ours, limit=0)


def test_deleting_a_collection_takes_its_scans_along(catalog, ours, add):
    for n in range(3):
        add(n)
    assert catalog.delete_collection(ours, "lungs") == 3
    catalog.create_collection(ours, "lungs", encoder_id="enc_1", dim=8)
    row_ids_N, embeddings_ND = all_vectors(catalog, ours, "lungs")
    assert row_ids_N.size == 0
    assert embeddings_ND.shape == (0, 8)


def test_deleting_an_outdated_version_changes_nothing(catalog, ours, add):
    add(1)
    with pytest.raises(PreconditionFailed):
        catalog.delete_collection(ours, "lungs", if_version=2)
    assert catalog.get_collection(ours, "lungs").scans == 1


def test_deleting_the_current_version_succeeds(catalog, ours):
    assert catalog.delete_collection(ours, "lungs", if_version=1) == 0
    with pytest.raises(UnknownItem):
        catalog.get_collection(ours, "lungs")


def test_all_collections_names_the_workspace_of_each(catalog, ours, theirs, add):
    add(1)
    found = {workspace_id: item.scans for workspace_id, item in catalog.all_collections()}
    assert found == {ours: 1, theirs: 0}


def test_collections_of_others_do_not_exist(catalog, ours, theirs):
    catalog.create_collection(ours, "private", encoder_id="enc_1", dim=8)
    assert [item.name for item in catalog.list_collections(theirs, limit=9).items] == ["lungs"]
    with pytest.raises(UnknownItem):
        catalog.get_collection(theirs, "private")
    with pytest.raises(UnknownItem):
        catalog.delete_collection(theirs, "private")


def test_a_name_is_free_in_another_workspace(catalog, ours, theirs):
    catalog.create_collection(ours, "same", encoder_id="enc_1", dim=8)
    catalog.create_collection(theirs, "same", encoder_id="enc_2", dim=4)
    catalog.delete_collection(theirs, "same")
    assert catalog.get_collection(ours, "same").encoder_id == "enc_1"


@pytest.mark.sqlite
def test_reading_a_collection_does_not_count_its_scans(catalog, ours):
    """Each search reads its collection: counting a million scans takes longer than the search."""
    plan = "EXPLAIN QUERY PLAN SELECT * FROM collection_records WHERE workspace_id = ? AND name = ?"
    with catalog._database.read() as connection:
        steps = [row["detail"] for row in connection.execute(plan, (ours, "lungs"))]
    assert len(steps) == 1
    assert "collections" in steps[0] or " c " in steps[0]
