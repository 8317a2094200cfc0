"""The policy of a workspace: what no client can store, whichever way it tries."""

from pathlib import Path

import pytest

from service.access.policy_store import PolicyStore
from service.access.pseudonyms import read_pseudonyms, write_key
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import PolicyRefused, PseudonymKeyMissing


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    write_key(folder / "default.key")
    return folder


@pytest.fixture
def catalog(tmp_path):
    catalog = open_catalog(tmp_path / "data")
    yield catalog
    catalog.close()


def store_of(catalog, keys: Path | None) -> PolicyStore:
    return PolicyStore(catalog, key_limits={}, workspace_limits={}, pseudonym_keys=keys)


PSEUDONYMS = {"intake": {"pseudonyms": True}}


def test_pseudonyms_need_a_key_before_they_are_demanded(catalog, tmp_path):
    ours = catalog.ensure_workspace("default").workspace_id
    for keys in (None, tmp_path):
        with pytest.raises(PolicyRefused):
            store_of(catalog, keys).replace(ours, PSEUDONYMS, if_version=None)
    assert catalog.policy(ours).version == 0


def test_an_id_has_the_pseudonym_that_the_command_line_gives_it(catalog, keys):
    ours = catalog.ensure_workspace("default").workspace_id
    policy = store_of(catalog, keys).replace(ours, PSEUDONYMS, if_version=None)
    made = read_pseudonyms(keys / "default.key")
    ids = policy.rules.pseudonyms
    assert ids is not None
    assert ids.subject("4711") == made.subject("4711")
    assert ids.study("1.2.3") == made.study("1.2.3")
    assert ids.subject(ids.subject("4711")) == ids.subject("4711")
    foreign = "p-000000-" + 32 * "0"
    assert ids.subject(foreign) not in (foreign, ids.subject("4711"))


def test_without_its_key_a_workspace_takes_no_ids(catalog, keys):
    ours = catalog.ensure_workspace("default").workspace_id
    store_of(catalog, keys).replace(ours, PSEUDONYMS, if_version=None)
    (keys / "default.key").unlink()
    fresh = store_of(catalog, keys).current(ours)
    assert fresh.rules.pseudonyms is not None
    with pytest.raises(PseudonymKeyMissing):
        fresh.rules.pseudonyms.subject("4711")
    write_key(keys / "default.key")  # another key: another pseudonym for every patient
    with pytest.raises(PseudonymKeyMissing):
        fresh.rules.pseudonyms.subject("4711")


def test_another_process_sees_a_changed_policy_at_once(catalog, keys):
    ours = catalog.ensure_workspace("default").workspace_id
    here, there = store_of(catalog, keys), store_of(catalog, keys)
    assert there.current(ours).limits == {}
    here.replace(ours, {"limits": {"scans": 5}}, if_version=0)
    assert there.current(ours).limits == {"scans": 5}
    here.grant(ours, {"scans": 3})
    assert there.current(ours).limits == {"scans": 3}
