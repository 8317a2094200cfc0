"""Signing keys in the catalog: one signs, retired ones verify, and private parts disappear."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.catalog.interface import Catalog
from service.errors import Conflict, UnknownItem
from tests.catalog.signing_pairs import new_key, new_pair


def test_the_first_pair_that_is_kept_is_the_one_that_signs(catalog: Catalog, ours, theirs) -> None:
    assert catalog.signing_pair(ours) is None
    pairs = [new_pair() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        kept = set(threads.map(lambda pair: catalog.keep_signing_pair(ours, pair), pairs))
    assert len(kept) == 1
    assert kept == {catalog.signing_pair(ours)}
    assert [key.key_id for key in catalog.list_signing_keys(ours)] == [kept.pop().key.key_id]
    assert catalog.signing_pair(theirs) is None


def test_a_replaced_key_stays_without_its_private_part(catalog: Catalog, ours, place) -> None:
    old, new = new_pair(), new_pair()
    catalog.keep_signing_pair(ours, old)
    assert place.holds(old.private_key)
    assert catalog.keep_signing_pair(ours, new, replace=True) == new
    assert not place.holds(old.private_key)
    retired, signs = catalog.list_signing_keys(ours)
    assert (retired.key_id, signs) == (old.key.key_id, new.key)
    assert retired.retired_at is not None


def test_of_several_replacements_at_once_one_key_signs(catalog: Catalog, ours) -> None:
    catalog.keep_signing_pair(ours, new_pair())
    with ThreadPoolExecutor(4) as threads:
        replace = [
            threads.submit(catalog.keep_signing_pair, ours, new_pair(), replace=True)
            for _ in range(4)
        ]
        answers = [future.result() for future in replace]
    assert catalog.signing_pair(ours) in answers
    keys = catalog.list_signing_keys(ours)
    assert sum(key.retired_at is None for key in keys) == 1


def test_a_trusted_key_is_of_one_workspace_and_can_be_removed(
    catalog: Catalog, ours, theirs
) -> None:
    key = new_key()
    assert catalog.trust_signing_key(ours, key) == key
    assert catalog.list_signing_keys(ours) == (key,)
    assert catalog.list_signing_keys(theirs) == ()
    with pytest.raises(Conflict):
        catalog.trust_signing_key(ours, key)
    catalog.trust_signing_key(theirs, key)
    with pytest.raises(UnknownItem):
        catalog.remove_signing_key(theirs, "sig_none")
    assert catalog.remove_signing_key(theirs, key.key_id) == key
    assert catalog.list_signing_keys(theirs) == ()
    assert catalog.list_signing_keys(ours) == (key,)


def test_the_key_that_signs_cannot_be_removed_and_a_retired_one_can(catalog: Catalog, ours) -> None:
    first = catalog.keep_signing_pair(ours, new_pair()).key
    with pytest.raises(Conflict):
        catalog.remove_signing_key(ours, first.key_id)
    second = catalog.keep_signing_pair(ours, new_pair(), replace=True).key
    assert catalog.remove_signing_key(ours, first.key_id).key_id == first.key_id
    assert catalog.list_signing_keys(ours) == (second,)


def test_no_key_is_stored_without_a_workspace(catalog: Catalog) -> None:
    with pytest.raises(UnknownItem):
        catalog.trust_signing_key("ws_none", new_key())
    with pytest.raises(UnknownItem):
        catalog.keep_signing_pair("ws_none", new_pair())
