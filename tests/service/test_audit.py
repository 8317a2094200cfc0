"""The audit log over HTTP: what is recorded, by whom it is read, and what it never holds."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import rfc8785

from service.access.audit.audit_heads import HeadsFile
from service.access.audit.audit_verification import verify
from service.catalog.audit.audit_place import archive_in, store_of
from service.catalog.audit.sqlite_audit import AUDIT_FILE, open_to_read
from service.opening.catalog_opening import postgres_of
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE, refused

PATIENT, STUDY, LABEL, OWN_ID = "Meier-1961", "study-Meier", "cyst of Meier", "scan-of-Meier"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audited")


@pytest.fixture(scope="module")
def audited(data_dir: Path) -> Iterator[LocalService]:
    settings = Settings(data_dir=data_dir, bundle_dir=BUNDLE, drain_s=0, max_failed_keys=2)
    with local_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def admin(audited: LocalService, frames: dict[str, list[bytes]]) -> Iterator[Client]:
    """An administrator who has done a bit of everything."""
    with Client(audited.url, key=audited.key) as client:
        client.create_collection("ward")
        metadata = [
            {
                "scan_id": f"{OWN_ID}{n}",
                "subject_id": f"{PATIENT}{n}",
                "study_id": STUDY,
                "labels": {"t": LABEL if n % 2 else "other"},
            }
            for n in range(6)
        ]
        files = [*frames["cyst"][:3], *frames["a_lines"][:3]]
        client.add_scans("ward", files, metadata)
        client.fit({"name": "k", "collection": "ward", "task": "t"})
        client.predict("k", [files[0]])
        client.search_image("ward", files[1])
        client.erase_subject(f"{PATIENT}0")
        yield client


def entries(client: Client, **wanted: Any) -> list[dict[str, Any]]:
    return list(client.audit(**wanted))


def test_writes_predictions_searches_and_erasures_are_recorded(admin: Client) -> None:
    found = entries(admin)
    happened = [(entry["action"], entry["outcome"]) for entry in reversed(found)]
    for action in ("create_collection", "add_scans", "create_classifier", "erase_subject"):
        assert (action, "begun") in happened, happened
        assert (action, "ok") in happened
        assert happened.index((action, "begun")) < happened.index((action, "ok"))
    for action in ("predict_items", "search_collection"):
        assert (action, "ok") in happened
        assert (action, "begun") not in happened
    (prediction,) = (entry for entry in found if entry["action"] == "predict_items")
    assert prediction["names"] == {"classifier": ["k"]}
    assert prediction["status"] == 200
    assert prediction["who"]["roles"] == ["admin"]
    (key,) = list(admin.list_keys())
    assert prediction["who"] == {"kind": "key", "id": key["key_id"], "roles": ["admin"]}
    created = next(entry for entry in found if entry["action"] == "create_collection")
    assert created["names"]["collection"] == ["ward"]
    assert created["request"].startswith("req_")


def test_nothing_of_a_patient_is_in_the_file(admin: Client, data_dir: Path) -> None:
    with pytest.raises(ApiError):
        admin.collection(PATIENT)  # a name typed into the wrong place
    with pytest.raises(ApiError):
        admin.delete_collection(PATIENT)
    assert entries(admin, name=PATIENT)
    secrets = [PATIENT, STUDY, LABEL, OWN_ID]
    for file in data_dir.glob(f"{AUDIT_FILE}*"):
        content = file.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content]


def test_a_patient_is_found_by_the_digest_of_the_id(admin: Client) -> None:
    erased = {entry["action"] for entry in entries(admin, name=f"{PATIENT}0")}
    assert erased == {"add_scans", "erase_subject"}
    assert {entry["action"] for entry in entries(admin, name=f"{OWN_ID}2")} == {"add_scans"}
    assert entries(admin, name="nobody") == []


def test_filters_and_pages(admin: Client) -> None:
    everything = entries(admin)
    assert [e["seq"] for e in everything] == sorted((e["seq"] for e in everything), reverse=True)
    begun = entries(admin, outcome="begun", action="add_scans")
    assert [(e["action"], e["outcome"]) for e in begun] == [("add_scans", "begun")]
    start = begun[0]["at"]
    assert entries(admin, until=start)[0]["at"] < start <= entries(admin, since=start)[-1]["at"]
    assert entries(admin, author="key_0") == []
    page = admin.audit_page(limit=2)
    assert len(page["items"]) == 2
    more = admin.audit_page(limit=2, cursor=page["next_cursor"])
    assert more["items"][0]["seq"] == page["items"][1]["seq"] - 1
    with refused("invalid_cursor", 400):
        admin.audit_page(cursor="bm8=")


@pytest.mark.parametrize(
    "times", [{"since": "0001-01-01T00:00:00+01:00"}, {"until": "9999-12-31T23:59:59-01:00"}]
)
def test_a_time_beyond_the_calendar_is_refused(admin: Client, times: dict[str, str]) -> None:
    with refused("invalid_input", 422):
        entries(admin, **times)


def test_a_client_can_verify_the_chain_from_the_answers(admin: Client) -> None:
    import hashlib

    previous = bytes(32)
    for entry in reversed(entries(admin)):
        stated = entry.pop("sha256")
        previous = hashlib.sha256(previous + rfc8785.dumps(entry)).digest()
        assert previous.hex() == stated


def test_the_chain_is_verified_over_http_in_parts(admin: Client, audited: LocalService) -> None:
    headers = {"Authorization": f"Bearer {audited.key}"}
    with httpx.Client(base_url=audited.url, headers=headers, trust_env=False) as http:
        whole = http.get("/v1/audit/verification").json()
        assert whole["sound"], whole
        assert (whole["next_cursor"], whole["moved"], whole["findings"]) == (None, 0, [])
        assert whole["entries"] == whole["last"] > 10
        first = http.get("/v1/audit/verification", params={"limit": 7}).json()
        assert (first["sound"], first["entries"], first["last"]) == (True, 7, 7)
        rest = http.get("/v1/audit/verification", params={"cursor": first["next_cursor"]}).json()
        assert (rest["sound"], rest["next_cursor"]) == (True, None)
        assert rest["entries"] >= whole["entries"] - 7
    (latest, *_) = entries(admin, action="verify_audit_log")
    assert latest["outcome"] == "ok"


def test_refusals_are_recorded_with_their_code(admin: Client, audited: LocalService) -> None:
    made = admin.create_key("bedside", scopes=["predict"])
    with Client(audited.url, key=made["secret"]) as bedside:
        with refused("missing_scope", 403):
            bedside.erase_subject(f"{PATIENT}1")
        with refused("unknown_item", 404):
            bedside.predict("unknown", [b"x"])
    found = entries(admin, author=made["key"]["key_id"], outcome="refused")
    assert [(e["action"], e["status"], e["code"]) for e in found] == [
        ("predict_items", 404, "unknown_item"),
        ("erase_subject", 403, "missing_scope"),
    ]
    assert found[0]["names"]["classifier"] != ["unknown"]  # it may be any text


def test_reading_the_log_is_recorded_and_needs_the_scope(
    admin: Client, audited: LocalService
) -> None:
    before = len(entries(admin, action="list_audit_entries"))
    assert len(entries(admin, action="list_audit_entries")) > before
    for role, may_read in (("auditor", True), ("curator", False), ("operator", False)):
        made = admin.create_key(role, roles=[role])
        with Client(audited.url, key=made["secret"]) as client:
            if may_read:
                assert entries(client)
            else:
                with refused("missing_scope", 403):
                    entries(client)


def test_polling_leaves_no_entry(admin: Client) -> None:
    list(admin.operations())
    admin.collection("ward")
    admin.encoder()
    assert not entries(admin, action="get_collection", outcome="ok")
    assert not entries(admin, action="list_operations")


def test_unknown_keys_are_in_the_chain_of_the_service_and_summed_up(
    admin: Client, audited: LocalService, data_dir: Path
) -> None:
    with httpx.Client(headers={"Authorization": "Bearer sp_x"}, trust_env=False) as stranger:
        for _ in range(20):
            stranger.get(f"{audited.url}/v1/collections")
    entries(admin)  # on disk behind those of which nobody waits
    with closing(open_to_read(data_dir / AUDIT_FILE)) as store:
        found = [entry.fields for entry in store.read("service", after=0, limit=100)]
    unknown = [entry for entry in found if entry["who"]["kind"] == "unknown"]
    codes = {(e["action"], e["status"], e["code"]) for e in unknown}
    assert codes == {
        ("list_collections", 401, "unauthenticated"),
        ("list_collections", 429, "too_many_failed_keys"),
    }
    assert len(unknown) == 2


def test_what_no_request_does_is_recorded_and_the_heads_confirm_the_stopped_chain(
    tmp_path: Path, frames: dict[str, list[bytes]]
) -> None:
    backups = tmp_path / "backups"
    settings = Settings(
        data_dir=tmp_path / "data",
        backup_dir=backups,
        bundle_dir=BUNDLE,
        drain_s=0,
        retention_sweep_s=1,
    )
    with local_service(settings) as running, Client(running.url, key=running.key) as client:
        client.create_collection("short", retention_days=1e-5)
        client.add_scans("short", frames["cyst"][:2], [{"subject_id": PATIENT}, {}])
        deadline = time.monotonic() + 30
        while not (backed_up := list(client.audit(action="operation.backup"))):
            assert time.monotonic() < deadline, "the first backup left no entry"
            time.sleep(0.2)
        backup = backed_up[0]
        owner = running.running().default_workspace_id
        made = running.running().operations.list_operations(owner, limit=1).items
        assert backup["names"]["operation"] == [made[0].operation_id]
        assert (backup["outcome"], backup["who"]["kind"]) == ("ok", "service")
        deadline = time.monotonic() + 30
        while not (swept := list(client.audit(action="retention"))):
            assert time.monotonic() < deadline, "retention left no entry"
            time.sleep(0.2)
        assert sum(entry["facts"]["scans"] for entry in swept) == 2
        assert "sonoprobe_audit_head_age_seconds" in client.metrics()
    noted = HeadsFile(backups).read()
    with closing(open_to_read(tmp_path / "data" / AUDIT_FILE)) as store:
        results = verify(store, noted)
        assert all(result.is_sound for result in results)
        assert all(result.confirmed == result.entries for result in results)
        with closing(archive_in(backups)) as copy:
            copied = copy.read(backup["chain"], after=0, limit=1000)
            assert copied == store.read(backup["chain"], after=0, limit=len(copied))
            assert backup["seq"] <= len(copied)


@pytest.mark.postgres
def test_replicas_extend_one_chain_for_each_workspace(postgres_server: Any, tmp_path: Path) -> None:
    from postgres_process import SERVICE_ROLE

    url = postgres_server.url(postgres_server.create_database(), role=SERVICE_ROLE)
    replicas = [
        Settings(
            data_dir=tmp_path / "none",
            audit_heads_dir=tmp_path / n,
            bundle_dir=BUNDLE,
            drain_s=0,
            catalog=url,
        )
        for n in "ab"
    ]
    with (
        local_service(replicas[0]) as first,
        local_service(replicas[1]) as second,
        Client(first.url, key=first.key) as one,
        Client(second.url, key=second.key) as other,
        ThreadPoolExecutor(8) as threads,
    ):
        # FastAPI builds a route at its first request and hides a warning meanwhile, which two
        # services of one process must not do at once.
        one.create_collection("first"), other.create_collection("second")
        clients = [one, other] * 20
        list(threads.map(lambda pair: pair[1].create_collection(f"c{pair[0]}"), enumerate(clients)))
        with refused("unknown_item", 404):
            other.delete_collection(PATIENT)
        found = list(one.audit(action="create_collection"))
        assert [e["outcome"] for e in found].count("ok") == 42
        assert list(other.audit(name=PATIENT))
    with closing(postgres_of(replicas[0])) as catalog:
        noted = [head for n in "ab" for head in HeadsFile(tmp_path / n).read()]
        results = verify(store_of(catalog), noted)
    assert all(result.is_sound and result.confirmed == result.entries for result in results)
    assert not (tmp_path / "none").exists()


def test_a_prediction_has_one_entry_however_it_ends(
    admin: Client, frames: dict[str, list[bytes]]
) -> None:
    before = len(entries(admin, action="predict_items"))
    file = frames["cyst"][1]
    with refused("invalid_input", 422):
        admin.predict("k", [file], heatmap="array", heatmap_label="no such class")
    admin.predict("k", [file, b"no image"])
    admin.predict("k", [file])
    found = entries(admin, action="predict_items")
    ends = [(entry["outcome"], entry["status"]) for entry in found]
    assert ends[: len(found) - before] == [("ok", 200), ("ok", 207), ("refused", 422)]


def test_a_request_fails_when_its_entry_cannot_be_stored(
    admin: Client, data_dir: Path, frames: dict[str, list[bytes]]
) -> None:
    def predict() -> None:
        admin.predict("k", frames["cyst"][:1])

    with closing(sqlite3.connect(data_dir / AUDIT_FILE)) as file:
        file.execute(
            "CREATE TRIGGER full BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        for refused_call in (
            lambda: admin.create_collection("d"),
            predict,
            admin.audit_page,
            admin.ready,
        ):
            with refused("audit_failure", 503):
                refused_call()
        file.execute("DROP TRIGGER full")
    assert admin.ready()
    assert "d" not in [collection["name"] for collection in admin.collections()]
    last = next(iter(entries(admin, action="create_collection")))
    assert last["names"]["collection"] == ["ward"]
