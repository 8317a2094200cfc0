"""Workspaces that are suspended, resumed and deleted with everything in them."""

import pytest

from service.catalog.access_records import SavedAnswer, WorkspaceContents
from service.catalog.erasure_ledger import ErasureLedger
from service.catalog.sqlite.backup import back_up, follow, restore
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import Conflict, LeaseLost, NameTaken, UnknownItem, WorkspaceSuspended
from tests.catalog.test_stored_classifiers import new_version


def claim(catalog, worker="w"):
    return catalog.claim_operation(worker, lease_s=60, kinds=["fit"])


@pytest.fixture
def full(catalog, ours, add):
    """Our workspace with one of everything."""
    add(1, subject_id="patient-of-ours")
    catalog.create_key(ours, "probe", "hash-1")
    catalog.create_classifier(ours, "finding", new_version())
    catalog.save_answer(ours, "idem", SavedAnswer("d", 200, b"said"), keep_s=60)
    catalog.create_operation(ours, "fit", {"of": "ours"})
    return ours


def test_a_name_is_given_to_one_workspace(catalog):
    made = catalog.create_workspace("ward-7")
    assert (made.status, catalog.ensure_workspace("ward-7")) == ("active", made)
    with pytest.raises(NameTaken):
        catalog.create_workspace("ward-7")


def test_a_suspended_workspace_refuses_its_keys_and_keeps_its_data(catalog, full, theirs):
    catalog.create_key(theirs, "probe", "hash-2")
    for _ in range(2):  # doing it twice is allowed
        assert catalog.set_workspace_status(full, "suspended").status == "suspended"
    with pytest.raises(WorkspaceSuspended):
        catalog.find_key("hash-1")
    assert catalog.find_key("hash-2") is not None
    assert catalog.find_key("hash-none") is None
    assert catalog.get_collection(full, "lungs").scans == 1
    assert catalog.set_workspace_status(full, "active").status == "active"
    assert catalog.find_key("hash-1") is not None


def test_operations_of_a_suspended_workspace_wait(catalog, ours, theirs):
    running = catalog.create_operation(ours, "fit", {})
    assert claim(catalog).operation_id == running.operation_id
    waiting = catalog.create_operation(ours, "fit", {})
    catalog.set_workspace_status(ours, "suspended")
    with pytest.raises(LeaseLost):  # the worker stops, and gives the operation back
        catalog.renew_operation(ours, running.operation_id, "w", lease_s=60)
    catalog.release_operation(ours, running.operation_id, "w")
    assert claim(catalog) is None
    other = catalog.create_operation(theirs, "fit", {})
    assert claim(catalog).operation_id == other.operation_id
    catalog.set_workspace_status(ours, "active")
    claimed = {claim(catalog, worker).operation_id for worker in ("x", "y")}
    assert claimed == {running.operation_id, waiting.operation_id}


def test_the_keys_of_a_workspace_that_is_being_deleted_are_unknown_for_ever(catalog, full):
    catalog.set_workspace_status(full, "deleting")
    assert catalog.find_key("hash-1") is None
    assert claim(catalog) is None
    for status in ("active", "suspended"):
        with pytest.raises(Conflict):
            catalog.set_workspace_status(full, status)
    assert catalog.find_key("hash-1") is None


def test_the_contents_of_a_workspace_are_counted(catalog, full, theirs):
    assert catalog.workspace_contents(full) == WorkspaceContents(1, 1, 1, 1, 1)
    assert catalog.workspace_contents(theirs) == WorkspaceContents(1, 0, 0, 0, 0)


def test_nothing_of_a_deleted_workspace_is_left(catalog, place, full, theirs, add):
    add(2, theirs, subject_id="patient-of-theirs")
    catalog.create_key(theirs, "probe", "hash-2")
    catalog.set_workspace_status(full, "deleting")
    assert catalog.remove_workspace(full) is None  # there is no folder of backups
    assert not place.holds("patient-of-ours")
    for table in ("collections", "scans", "classifiers", "operations", "answers", "keys"):
        assert place.sql(f"SELECT count(*) FROM {table} WHERE workspace_id = ?", full) == [(0,)]
    rows = place.sql("SELECT kind FROM erasures WHERE workspace_id = ?", full)
    assert rows == [("workspace",)]
    assert [workspace.workspace_id for workspace in catalog.list_workspaces()] == [theirs]
    assert catalog.get_collection(theirs, "lungs").scans == 1
    assert catalog.find_key("hash-2") is not None
    for call in (
        catalog.remove_workspace,
        catalog.workspace_contents,
        lambda owner: catalog.set_workspace_status(owner, "active"),
        lambda owner: catalog.create_operation(owner, "fit", {}),
        lambda owner: catalog.create_key(owner, "late", "hash-3"),
    ):
        with pytest.raises(UnknownItem):
            call(full)


def test_the_name_of_a_deleted_workspace_is_free(catalog, full):
    catalog.set_workspace_status(full, "deleting")
    catalog.remove_workspace(full)
    assert catalog.create_workspace("ours").workspace_id != full


def test_an_unknown_workspace_is_not_suspended(catalog):
    with pytest.raises(UnknownItem):
        catalog.set_workspace_status("ws_none", "suspended")


@pytest.mark.sqlite
def test_no_backup_brings_a_deleted_workspace_back(catalog, place, full, theirs, add, tmp_path):
    add(2, theirs, subject_id="patient-of-theirs")
    backups = tmp_path / "backups"
    older = back_up(catalog.file, backups)
    catalog.set_workspace_status(full, "deleting")
    catalog.remove_workspace(full)
    catalog.close()
    with_ledger = open_catalog(place.folder, backup_dir=backups)
    assert with_ledger.settle_erasures()
    with_ledger.close()
    kinds = [erasure.kind for erasure in ErasureLedger(backups).read()]
    assert kinds == ["workspace"]

    # A backup follows at the next cycle; one that did not is corrected when it is restored.
    restored = tmp_path / "restored" / "catalog.sqlite"
    restored.parent.mkdir()
    restore(older, restored)
    restore(older, catalog.file)
    for folder in (restored.parent, place.folder):
        again = open_catalog(folder)
        assert [workspace.name for workspace in again.list_workspaces()] == ["theirs"]
        assert again.get_collection(theirs, "lungs").scans == 1
        again.close()
        assert b"patient-of-ours" not in (folder / "catalog.sqlite").read_bytes()
    assert follow(older, ErasureLedger(backups).read())
    data = (older / "catalog.sqlite").read_bytes()
    assert b"patient-of-theirs" in data
    assert b"patient-of-ours" not in data


@pytest.mark.postgres
def test_a_restored_database_loses_a_deleted_workspace_again(
    postgres_server, new_scan, tmp_path
) -> None:
    from postgres_process import SERVICE_ROLE

    from service.catalog.postgres.postgres_catalog import open_postgres

    url = postgres_server.url(postgres_server.create_database(), role=SERVICE_ROLE)
    backups = tmp_path / "backups"
    backups.mkdir()
    catalog = open_postgres(url, backup_dir=backups)
    owner = catalog.ensure_workspace("ours").workspace_id
    catalog.set_workspace_status(owner, "deleting")
    assert catalog.remove_workspace(owner) is True
    ledger = ErasureLedger(backups).read()
    assert catalog.replay_erasures(ledger).foreign == len(ledger) == 1
    with catalog.database.directory("write") as connection:  # as a restored dump has it
        enter = (
            "INSERT INTO directory (workspace_id, name, shard, created_at) VALUES (%s, %s, '', '')"
        )
        connection.execute(enter, (owner, "ours"))
        connection.execute("INSERT INTO workspaces (workspace_id) VALUES (%s)", (owner,))
    catalog.create_collection(owner, "lungs", encoder_id="enc_1", dim=8)
    catalog.add_scans(owner, "lungs", [new_scan(1)], encoder_id="enc_1")
    found = catalog.replay_erasures(ledger, dry_run=True)
    assert (found.workspaces, found.scans, len(catalog.list_workspaces())) == (1, 1, 1)
    assert catalog.replay_erasures(ledger).workspaces == 1
    assert catalog.list_workspaces() == ()
    catalog.close()
