"""Workspaces that operators of the service create, suspend and delete over HTTP."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.access.keys import create_key, hash_key
from service.app import catalog_of
from service.catalog.access_records import KeyGrant
from service.catalog.interface import Catalog
from service.errors import InputError
from service.jobs.job_requests import BackupRequest, LayoutRequest, PseudonymizeRequest
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE


@dataclass(frozen=True)
class Operated:
    """A service, a key of its operators, and its data folder."""

    local: LocalService
    catalog: Catalog
    operator: Client
    data_dir: Path

    def client(self, secret: str) -> Client:
        return Client(self.local.url, key=secret)


@pytest.fixture(scope="module")
def operated(
    tmp_path_factory: pytest.TempPathFactory, new_catalog: Callable[[], dict[str, Any]]
) -> Iterator[Operated]:
    data_dir = tmp_path_factory.mktemp("workspaces")
    settings = Settings(data_dir=data_dir, bundle_dir=BUNDLE, drain_s=0, **new_catalog())
    catalog = catalog_of(settings)
    full = KeyGrant(("admin",), ("service.admin",))
    _, chief = create_key(catalog, "chief", "default", full)
    with (
        local_service(settings, catalog=catalog) as local,
        Client(local.url, key=chief) as operator,
    ):
        yield Operated(local, catalog, operator, data_dir)
    catalog.close()


def files_in(folder: Path) -> list[Path]:
    """All files but those that keep the noted erasure: of the catalog and of the audit log."""
    noted = ("catalog.sqlite", "audit")
    return [f for f in folder.rglob("*") if f.is_file() and not f.name.startswith(noted)]


def refusal(call: Callable[..., Any], *given: Any) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        call(*given)
    return caught.value.status, caught.value.code


def test_a_new_workspace_has_a_key_of_its_administrator(operated) -> None:
    made = operated.operator.create_workspace("ward-1")
    assert (made["workspace"]["name"], made["workspace"]["status"]) == ("ward-1", "active")
    with operated.client(made["secret"]) as admin:
        admin.create_collection("liver")
        assert [key["name"] for key in admin.list_keys()] == ["first administrator"]
        for call in (admin.list_workspaces, lambda: iter([admin.create_workspace("more")])):
            assert refusal(lambda call=call: list(call())) == (403, "missing_scope")
    names = [workspace["name"] for workspace in operated.operator.list_workspaces()]
    assert names == ["default", "ward-1"]
    assert refusal(operated.operator.create_workspace, "ward-1") == (409, "name_taken")
    detail = operated.operator.workspace("ward-1")
    assert (detail["collections"], detail["keys"], detail["scans"]) == (1, 1, 0)


def test_a_suspended_workspace_answers_403_until_it_is_resumed(operated) -> None:
    made = operated.operator.create_workspace("ward-2")
    with operated.client(made["secret"]) as admin:
        admin.create_collection("liver")
        assert operated.operator.suspend_workspace("ward-2")["status"] == "suspended"
        assert refusal(admin.collection, "liver") == (403, "workspace_suspended")
        assert operated.operator.resume_workspace("ward-2")["status"] == "active"
        assert admin.collection("liver")["name"] == "liver"


def test_a_deleted_workspace_is_gone_with_a_receipt(operated, frames) -> None:
    made = operated.operator.create_workspace("ward-3")
    with operated.client(made["secret"]) as admin:
        admin.create_collection("liver")
        said = [{"labels": {"t": ("a", "b")[i % 2]}, "subject_id": f"p{i}"} for i in range(4)]
        admin.add_scans("liver", frames["cyst"][:4], said)
        admin.fit({"name": "finding", "collection": "liver", "task": "t"})
        assert admin.search_image("liver", frames["cyst"][0])["items"]
        operation = operated.operator.delete_workspace("ward-3")
        assert refusal(admin.collection, "liver") == (401, "unauthenticated")
        assert operation["kind"] == "delete_workspace"
        receipt = operated.operator.wait(operation["operation_id"])["result"]
        assert receipt == {
            "workspace": "ward-3",
            "workspace_id": made["workspace"]["workspace_id"],
            "collections": 1,
            "scans": 4,
            "classifiers": 1,
            "keys": 1,
            "operations": 0,
            "backups_know": None,
        }
        assert refusal(admin.collection, "liver") == (401, "unauthenticated")
    assert refusal(operated.operator.workspace, "ward-3") == (404, "unknown_item")
    owner = made["workspace"]["workspace_id"]
    gallery = operated.local.running().gallery
    assert [c for c in gallery.all_statistics() if owner in str(c)] == []
    assert not any(owner.encode() in file.read_bytes() for file in files_in(operated.data_dir))
    # The name is free, and nothing of before comes back with it.
    again = operated.operator.create_workspace("ward-3")
    with operated.client(again["secret"]) as admin:
        assert list(admin.collections()) == []


def test_work_for_the_whole_service_is_shown_and_cancelled_by_its_operators_alone(operated) -> None:
    catalog, operator = operated.catalog, operated.operator
    operator.create_workspace("ward-9")
    home = operated.local.running().default_workspace_id
    deletion = operator.delete_workspace("ward-9")["operation_id"]
    begin = operated.local.running().operations.begin
    scheduled = begin(home, BackupRequest(), for_service=True).operation_id
    renaming = begin(home, PseudonymizeRequest()).operation_id
    own = begin(home, LayoutRequest("none")).operation_id
    everything = {deletion, scheduled, renaming, own}
    for role, shown in (
        ("reader", {own}),
        ("curator", {own}),
        ("operator", {own}),
        ("admin", {own, renaming}),
    ):
        _, secret = create_key(catalog, role, "default", KeyGrant((role,)))
        with operated.client(secret) as client:
            listed = {operation["operation_id"] for operation in client.operations()}
            assert listed & everything == shown
            for hidden in everything - shown:
                assert refusal(client.operation, hidden) == (404, "unknown_item")
                if role != "reader":
                    assert refusal(client.cancel, hidden) == (404, "unknown_item")
    assert {o["operation_id"] for o in operator.operations()} >= everything
    assert operator.wait(deletion)["result"]["workspace"] == "ward-9"
    assert operator.operation(scheduled)["kind"] == "backup"


def test_the_default_workspace_is_neither_suspended_nor_deleted(operated) -> None:
    for call in (operated.operator.suspend_workspace, operated.operator.delete_workspace):
        assert refusal(call, "default") == (409, "conflict")
    assert refusal(operated.operator.suspend_workspace, "none") == (404, "unknown_item")


def test_only_the_command_line_makes_operators_of_the_service(operated) -> None:
    def create() -> Any:
        return operated.operator.create_key("second", scopes=["service.admin"])

    assert refusal(create) == (403, "missing_scope")
    with pytest.raises(InputError):
        create_key(operated.catalog, "x", "ward-1", KeyGrant(scopes=("service.admin",)))
    # A key that got the scope in another way has it in the default workspace only.
    owner = operated.catalog.ensure_workspace("ward-1").workspace_id
    grant = KeyGrant(scopes=("service.admin",))
    operated.catalog.create_key(owner, "odd", hash_key("sp_odd"), grant)
    with operated.client("sp_odd") as odd:
        assert refusal(lambda: list(odd.list_workspaces())) == (403, "missing_scope")
