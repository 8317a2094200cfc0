"""Suspending and deleting workspaces that live in another database than the directory."""

import pytest

from service.catalog.postgres.shards.table_rows import KEYS
from service.catalog.postgres.shards.workspace_move import move_workspace
from service.errors import UnknownItem, WorkspaceMoving, WorkspaceSuspended
from tests.catalog.test_workspace_moves import SHARD, catalog, fill, replica, urls  # noqa: F401

pytestmark = pytest.mark.postgres


def rows_of(catalog, owner):  # noqa: F811
    """How many rows of a workspace the databases hold, but for the noted erasure."""
    count = 0
    for shard in catalog.database.shards:
        with catalog.database.everything(shard, "read") as connection:
            for table in (*KEYS, "workspaces", "directory", "keys"):
                query = f"SELECT count(*) AS n FROM {table} WHERE workspace_id = %s"
                count += connection.execute(query, (owner,)).fetchone()["n"]
    return count


def test_a_suspension_holds_for_other_replicas_and_after_a_move(catalog, replica, fill):  # noqa: F811
    owner, other = fill(), replica()
    catalog.create_key(owner, "probe", "hash-1")
    assert other.find_key("hash-1") is not None
    catalog.set_workspace_status(owner, "suspended")
    for each in (catalog, other):
        with pytest.raises(WorkspaceSuspended):
            each.find_key("hash-1")
        assert each.claim_operation("w", lease_s=60, kinds=["fit"]) is None
    move_workspace(catalog, "ward", SHARD, on_step=lambda what, rows: None)
    assert other.claim_operation("w", lease_s=60, kinds=["fit"]) is None
    other.set_workspace_status(owner, "active")
    assert catalog.claim_operation("w", lease_s=60, kinds=["fit"]).workspace_id == owner


def test_nothing_of_a_workspace_is_left_in_any_database(catalog, replica, fill):  # noqa: F811
    kept, owner, other = fill("kept"), fill("gone", SHARD), replica()
    catalog.create_key(owner, "probe", "hash-1")
    assert other.find_key("hash-1") is not None
    before = rows_of(catalog, kept)
    assert rows_of(catalog, owner) > 0
    catalog.set_workspace_status(owner, "deleting")
    assert other.find_key("hash-1") is None
    catalog.remove_workspace(owner)
    assert rows_of(catalog, owner) == 1  # the noted erasure
    assert [e.kind for e in catalog.known_erasures() if e.workspace_id == owner] == ["workspace"]
    assert rows_of(catalog, kept) == before
    for call in (
        lambda: other.get_collection(owner, "lungs"),
        lambda: other.create_collection(owner, "new", encoder_id="e", dim=8),
    ):
        with pytest.raises(UnknownItem):
            call()


def test_a_workspace_that_is_being_moved_is_left_alone(catalog, replica, fill):  # noqa: F811
    owner, other = fill(), replica()
    refused = []

    def on_step(what, rows):
        if what == "arriving":
            for call in (
                lambda: other.set_workspace_status(owner, "suspended"),
                lambda: other.remove_workspace(owner),
            ):
                with pytest.raises(WorkspaceMoving):
                    call()
                refused.append(what)

    move_workspace(catalog, "ward", SHARD, on_step=on_step)
    assert len(refused) == 2
    assert other.set_workspace_status(owner, "suspended").status == "suspended"
