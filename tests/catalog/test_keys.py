"""Workspaces, keys and saved answers in the catalog."""

import re

import pytest

from service.access.keys import rotate_key
from service.catalog.access_records import KeyGrant, SavedAnswer
from service.errors import Conflict, InputError, UnknownItem

ANSWER = SavedAnswer("d1", 201, b'{"name": "\xc3\xa9"}\x00\xff', {"Location": "/v1/é"})


def test_a_workspace_is_made_once_and_then_found(catalog):
    first = catalog.ensure_workspace("Klinik Süd")
    assert catalog.ensure_workspace("Klinik Süd") == first
    assert re.fullmatch(r"ws_[0-9a-f]{20}", first.workspace_id)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first.created_at)


def test_a_workspace_is_found_by_its_name_and_not_made(catalog, ours):
    made = catalog.ensure_workspace("Klinik Süd")
    assert catalog.find_workspace("Klinik Süd") == made
    before = catalog.list_workspaces()
    assert catalog.find_workspace("klinik süd") is None
    assert catalog.list_workspaces() == before


def test_at_the_door_a_workspace_has_the_version_of_its_policy(catalog):
    made = catalog.ensure_workspace("Klinik Süd")
    assert catalog.workspace_at_door("Klinik Süd") == (made, 0)
    catalog.set_policy(made.workspace_id, document={"limits": {}}, if_version=0)
    assert catalog.workspace_at_door("Klinik Süd") == (made, 1)
    assert catalog.workspace_at_door("another") is None


def test_workspaces_are_listed_oldest_first(catalog):
    made = tuple(catalog.ensure_workspace(name) for name in ("b", "c", "a"))
    assert catalog.list_workspaces() == made


def test_a_key_is_found_by_its_hash(catalog, ours):
    key = catalog.create_key(ours, "probe", "hash-1")
    assert catalog.find_key("hash-1") == key
    assert re.fullmatch(r"key_[0-9a-f]{20}", key.key_id)
    assert (key.workspace_id, key.name, key.revoked_at) == (ours, "probe", None)


def test_an_unknown_hash_finds_no_key(catalog, ours):
    catalog.create_key(ours, "probe", "hash-1")
    assert catalog.find_key("hash-2") is None


def test_a_revoked_key_is_not_found_and_still_listed(catalog, ours):
    kept = catalog.create_key(ours, "kept", "hash-1")
    revoked = catalog.revoke_key(ours, catalog.create_key(ours, "lost", "hash-2").key_id)
    assert revoked.revoked_at is not None
    assert catalog.find_key("hash-2") is None
    assert catalog.list_keys(ours) == (kept, revoked)


def test_revoking_twice_keeps_the_first_time(catalog, ours):
    key = catalog.create_key(ours, "probe", "hash-1")
    first = catalog.revoke_key(ours, key.key_id)
    assert catalog.revoke_key(ours, key.key_id) == first


def test_a_key_for_no_workspace_is_refused(catalog):
    with pytest.raises(UnknownItem):
        catalog.create_key("ws_none", "probe", "hash-1")


def test_the_same_hash_is_not_stored_for_two_keys(catalog, ours, theirs):
    first = catalog.create_key(ours, "probe", "hash-1")
    with pytest.raises(Conflict):
        catalog.create_key(theirs, "probe", "hash-1")
    assert catalog.find_key("hash-1") == first


def test_keys_of_others_are_neither_listed_nor_revoked(catalog, ours, theirs):
    key = catalog.create_key(ours, "probe", "hash-1")
    assert catalog.list_keys(theirs) == ()
    with pytest.raises(UnknownItem):
        catalog.revoke_key(theirs, key.key_id)
    assert catalog.find_key("hash-1") == key


def test_a_saved_answer_comes_back_whole(catalog, ours):
    catalog.save_answer(ours, "idem", ANSWER, keep_s=60)
    assert catalog.find_answer(ours, "idem") == ANSWER


def test_the_first_answer_under_a_key_stays(catalog, ours):
    catalog.save_answer(ours, "idem", ANSWER, keep_s=60)
    catalog.save_answer(ours, "idem", SavedAnswer("d2", 500, b""), keep_s=60)
    assert catalog.find_answer(ours, "idem") == ANSWER


def test_an_expired_answer_is_gone_and_its_key_is_free(catalog, ours):
    catalog.save_answer(ours, "idem", ANSWER, keep_s=0)
    assert catalog.find_answer(ours, "idem") is None
    second = SavedAnswer("d2", 200, b"")
    catalog.save_answer(ours, "idem", second, keep_s=60)
    assert catalog.find_answer(ours, "idem") == second


def test_workspaces_do_not_share_answers(catalog, ours, theirs):
    catalog.save_answer(ours, "idem", ANSWER, keep_s=60)
    assert catalog.find_answer(theirs, "idem") is None
    catalog.save_answer(theirs, "idem", SavedAnswer("d2", 200, b""), keep_s=60)
    assert catalog.find_answer(ours, "idem") == ANSWER


def test_an_answer_for_no_workspace_is_refused(catalog):
    with pytest.raises(UnknownItem):
        catalog.save_answer("ws_none", "idem", ANSWER, keep_s=60)


def test_text_that_is_not_unicode_is_an_input_error(catalog):
    with pytest.raises(InputError):
        catalog.ensure_workspace("\ud800")


def test_a_number_beyond_64_bits_is_an_input_error(catalog, ours):
    with pytest.raises(InputError):
        catalog.save_answer(ours, "idem", SavedAnswer("d", 2**70, b""), keep_s=60)
    assert catalog.find_answer(ours, "idem") is None


def test_names_and_keys_with_a_nul_are_stored_by_no_engine(catalog, ours):
    for store in (
        lambda: catalog.ensure_workspace("nul\0"),
        lambda: catalog.create_key(ours, "nul\0", "hash"),
        lambda: catalog.save_answer(ours, "nul\0", ANSWER, keep_s=60),
        lambda: catalog.claim_answer(ours, "nul\0", "d", owner="a", lease_s=60),
    ):
        with pytest.raises(InputError, match="without NUL"):
            store()
    assert len(catalog.list_workspaces()) == 1


def test_a_key_has_every_right_unless_it_is_told_otherwise(catalog, ours):
    assert catalog.create_key(ours, "probe", "hash-1").grant == KeyGrant(("admin",))
    grant = KeyGrant(("reader",), ("scan.write", "predict"), "2999-01-01T00:00:00.000000Z")
    catalog.create_key(ours, "other", "hash-2", grant)
    assert catalog.find_key("hash-2").grant == grant


def test_an_expired_key_is_not_found_and_still_listed(catalog, ours):
    over = KeyGrant(("reader",), expires_at="2001-01-01T00:00:00.000000Z")
    key = catalog.create_key(ours, "probe", "hash-1", over)
    assert catalog.find_key("hash-1") is None
    assert catalog.list_keys(ours) == (key,)


def test_a_rotation_makes_a_key_of_the_same_rights_and_ends_the_old_one(catalog, ours):
    old = catalog.create_key(ours, "probe", "hash-1", KeyGrant(("reader",)))
    until = "2999-01-01T00:00:00.000000Z"
    new = catalog.rotate_key(ours, old.key_id, "hash-2", old_until=until)
    assert (new.name, new.grant) == (old.name, old.grant)
    assert catalog.find_key("hash-2") == new
    replaced = catalog.find_key("hash-1")
    assert (replaced.grant.expires_at, replaced.replaced_by) == (until, new.key_id)
    with pytest.raises(Conflict):
        catalog.rotate_key(ours, old.key_id, "hash-3", old_until=until)
    assert len(catalog.list_keys(ours)) == 2


def test_a_rotation_gives_the_successor_the_limits_of_the_policy(catalog, ours):
    old = catalog.create_key(ours, "probe", "hash-1", KeyGrant(("reader",)))
    own = {"images_per_minute": 10.0}
    catalog.set_policy(ours, document={"limits": {"scans": 9.0}, "keys": {old.key_id: own}})
    new, _ = rotate_key(catalog, ours, old.key_id, overlap_s=60)
    document = catalog.policy(ours).document
    assert document["keys"] == {old.key_id: own, new.key_id: own}
    assert document["limits"] == {"scans": 9.0}
    before = catalog.policy(ours)
    plain = catalog.create_key(ours, "other", "hash-2", KeyGrant(("reader",)))
    rotate_key(catalog, ours, plain.key_id, overlap_s=60)
    assert catalog.policy(ours) == before


def test_a_rotation_lengthens_the_life_of_no_key(catalog, ours):
    end, later = "2998-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"
    old = catalog.create_key(ours, "probe", "hash-1", KeyGrant(("reader",), expires_at=end))
    new = catalog.rotate_key(ours, old.key_id, "hash-2", old_until=later)
    assert (catalog.find_key("hash-1").grant.expires_at, new.grant.expires_at) == (end, end)


def test_the_successor_of_a_key_may_get_an_expiry_of_its_own(catalog, ours):
    end, later = "2998-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"
    old = catalog.create_key(ours, "probe", "hash-1", KeyGrant(("reader",), expires_at=end))
    new = catalog.rotate_key(ours, old.key_id, "hash-2", old_until=end, expires_at=later)
    assert (catalog.find_key("hash-1").grant.expires_at, new.grant.expires_at) == (end, later)


def test_a_key_keeps_its_limits_and_its_successor_has_them(catalog, ours):
    limits = {"collections": ("ward", "study-*"), "classifiers": ()}
    old = catalog.create_key(ours, "probe", "hash-1", KeyGrant(("reader",), **limits))
    new = catalog.rotate_key(ours, old.key_id, "hash-2", old_until="2999-01-01T00:00:00.000000Z")
    for key in (catalog.find_key("hash-1"), new, catalog.find_key("hash-2")):
        assert (key.grant.collections, key.grant.classifiers) == (("ward", "study-*"), ())


def test_keys_that_are_over_or_of_others_are_not_rotated(catalog, ours, theirs):
    over = KeyGrant(("reader",), expires_at="2001-01-01T00:00:00.000000Z")
    expired = catalog.create_key(ours, "expired", "hash-1", over)
    revoked = catalog.revoke_key(ours, catalog.create_key(ours, "lost", "hash-2").key_id)
    kept = catalog.create_key(ours, "kept", "hash-3")
    until = "2999-01-01T00:00:00.000000Z"
    for key in (expired, revoked):
        with pytest.raises(Conflict):
            catalog.rotate_key(ours, key.key_id, "hash-4", old_until=until)
    with pytest.raises(UnknownItem):
        catalog.rotate_key(theirs, kept.key_id, "hash-4", old_until=until)
    with pytest.raises(Conflict):  # the secret is that of another key
        catalog.rotate_key(ours, kept.key_id, "hash-1", old_until=until)
    assert catalog.find_key("hash-3") == kept


def test_the_last_use_of_keys_is_stored_and_never_goes_back(catalog, ours):
    key = catalog.create_key(ours, "probe", "hash-1")
    earlier, later = "2030-01-01T00:00:00.000000Z", "2030-01-02T00:00:00.000000Z"
    catalog.note_key_uses({key.key_id: later, "key_gone": later})
    catalog.note_key_uses({key.key_id: earlier})
    assert catalog.find_key("hash-1").last_used_at == later
