"""How patients, studies and scans stand in the audit log, and what is found by their ids."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.access.pseudonyms import write_key
from service.api.audit_trail import is_quiet
from service.catalog.audit.sqlite_audit import AUDIT_FILE
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE, refused

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text("utf-8"))
PATIENT, STUDY, SCAN = "4711042", "880123", "20231107"  # digits alone, as in many hospitals


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("named")


@pytest.fixture(scope="module")
def audited(data_dir: Path) -> Iterator[LocalService]:
    settings = Settings(data_dir=data_dir, bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def owner(audited: LocalService, frames: dict[str, list[bytes]]) -> Iterator[Client]:
    """An administrator of a service with six scans of three patients, one of them PATIENT."""
    with Client(audited.url, key=audited.key) as client:
        client.create_collection("ward")
        metadata: list[dict[str, Any]] = [
            {"scan_id": f"s{n}", "subject_id": f"p{n % 2}", "labels": {"t": "ab"[n % 2]}}
            for n in range(5)
        ]
        metadata.append({"scan_id": SCAN, "subject_id": PATIENT, "study_id": STUDY})
        client.add_scans("ward", [*frames["cyst"][:3], *frames["a_lines"][:3]], metadata)
        client.fit({"name": "k", "collection": "ward", "task": "t"})
        yield client


def found(client: Client, name: str) -> list[tuple[str, str]]:
    """What the log tells of a name: actions and their outcomes, oldest first."""
    entries = [(entry["action"], entry["outcome"]) for entry in client.audit(name=name)]
    return entries[::-1]


def test_an_id_of_digits_alone_is_not_in_the_log(owner: Client, data_dir: Path) -> None:
    owner.subject(PATIENT)
    owner.scan("ward", SCAN)
    for call in (owner.collection, owner.delete_collection, owner.operation):
        with pytest.raises(ApiError):
            call(PATIENT)
    assert {"add_scans", "read_subject_of_query"} <= {action for action, _ in found(owner, PATIENT)}
    assert "get_scan" in {action for action, _ in found(owner, SCAN)}
    content = b"".join(file.read_bytes() for file in data_dir.glob(f"{AUDIT_FILE}*"))
    for secret in (PATIENT, STUDY, SCAN):
        assert secret.encode() not in content


def test_an_id_of_the_service_is_plain_only_where_it_belongs(owner: Client) -> None:
    generated = "key_0123456789abcdef0123"
    with pytest.raises(ApiError):
        owner.revoke_key(generated)
    with pytest.raises(ApiError):
        owner.classifier(generated)
    with pytest.raises(ApiError):
        owner.version("k", "999")
    latest = {entry["action"]: entry.get("names") for entry in reversed(list(owner.audit()))}
    assert latest["revoke_key"] == {"key": [generated]}
    assert latest["get_classifier"]["classifier"][0].startswith("d_")
    assert latest["get_version"]["version"] == ["999"]


def request(client: Client, method: str, path: str, **options: Any) -> None:
    client.request(method, f"/v1{path}", **options)


def test_what_names_a_patient_in_its_body_or_filter_is_found(owner: Client) -> None:
    only = {"not": {"or": [{"subject_id": ["patient-B"]}]}}
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/search", {"collections": ["ward"], "scan_id": "s1", "filter": only}),
        ("POST", "/collections/ward/search", {"scan_id": "s1", "filter": only}),
        ("POST", "/collections/ward/facets", {"filter": only, "labels": ["t"]}),
        ("POST", "/collections/ward/map", {"filter": only}),
        ("POST", "/classifiers", {"name": "f", "collection": "ward", "task": "t", "filter": only}),
    ]
    for method, path, body in asked:
        request(owner, method, path, json=body)
    request(owner, "GET", "/collections/ward/scans", params={"filter": json.dumps(only)})
    assert {action for action, outcome in found(owner, "patient-B") if outcome == "ok"} == {
        "search",
        "search_collection",
        "count_scans",
        "map_collection",
        "create_classifier",
        "list_scans",
    }


def test_a_scan_that_changes_its_patient_is_found_by_both(owner: Client) -> None:
    owner.patch_scan("ward", "s4", {"subject_id": "patient-C", "study_id": "study-C"})
    for name in ("p0", "patient-C", "study-C", "s4"):
        assert ("patch_scan", "ok") in found(owner, name), name
    owner.patch_scan("ward", "s4", {"labels": {"t": "b"}})
    assert found(owner, "patient-C").count(("patch_scan", "ok")) == 2


def test_what_is_done_with_the_scan_of_a_patient_is_found_by_the_patient(owner: Client) -> None:
    owner.create_collection("other")
    owner.patch_scan("ward", "s3", {"subject_id": "patient-D"})
    owner.scan("ward", "s3")
    request(owner, "POST", "/collections/ward/scans/copy", json={"to": "other", "scan_ids": ["s3"]})
    request(
        owner, "POST", "/classifiers/k/predict", json={"collection": "ward", "scan_ids": ["s3"]}
    )
    owner.thumbnail("ward", "s3")
    owner.delete_scan("other", "s3")
    done = [action for action, outcome in found(owner, "patient-D") if outcome == "ok"]
    read = ["get_scan", "copy_scans", "predict_items", "get_thumbnail"]
    assert done == ["patch_scan", *read, "delete_scan"]


def test_an_example_that_was_uploaded_of_a_patient_is_found(
    owner: Client, frames: dict[str, list[bytes]]
) -> None:
    image = base64.b64encode(frames["mass"][0]).decode()
    example = {"image": image, "label": "a", "subject_id": "patient-E", "study_id": "study-E"}
    stored = {"scan_id": "s2", "label": "b"}
    body = {"collection": "ward", "examples": [example, stored]}
    request(owner, "POST", "/classifiers/k/versions/latest/examples", json=body)
    for name in ("patient-E", "study-E", "s2"):
        assert ("change_examples", "ok") in found(owner, name), name


def test_under_pseudonyms_the_id_and_its_pseudonym_find_the_same(
    tmp_path: Path, frames: dict[str, list[bytes]]
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    write_key(keys / "default.key")
    settings = Settings(
        data_dir=tmp_path / "data", bundle_dir=BUNDLE, drain_s=0, pseudonym_key_dir=keys
    )
    with local_service(settings) as running, Client(running.url, key=running.key) as client:
        client.create_collection("ward")
        client.add_scans("ward", frames["mass"][:1], [{"subject_id": PATIENT}])
        client.replace_policy({"intake": {"pseudonyms": True}})
        added = client.add_scans("ward", frames["cyst"][:1], [{"subject_id": PATIENT}])
        pseudonym = added["items"][0]["scan"]["subject_id"]
        client.subject(PATIENT)
        client.subject(pseudonym)
        list(client.scans("ward", subject_id=PATIENT))
        client.erase_subject(PATIENT)
        since = found(client, pseudonym)
        assert [action for action, outcome in since if outcome == "ok"] == [
            "add_scans",
            "read_subject_of_query",
            "read_subject_of_query",
            "list_scans",
            "erase_subject",
        ]
        before = [("add_scans", "ok")]  # the policy: nothing leads from the pseudonym to the id
        assert found(client, PATIENT) == before + since
        (entry, *_) = client.audit(action="list_scans")
        assert len(entry["names"]["subject"]) == 1
        content = b"".join(f.read_bytes() for f in settings.data_dir.glob(f"{AUDIT_FILE}*"))
        assert PATIENT.encode() not in content
        (keys / "default.key").rename(keys / "lost.key")
    with local_service(settings) as running, Client(running.url, key=running.key) as client:
        with refused("pseudonym_key_missing", 503):
            client.subject(PATIENT)
        with refused("pseudonym_key_missing", 503):
            found(client, PATIENT)
        list(client.audit())  # on disk behind those of which nobody waits
        failed = client.audit(action="read_subject_of_query", outcome="failed")
        assert [entry["code"] for entry in failed] == ["pseudonym_key_missing"]


def test_reading_what_lists_scans_has_an_entry(audited: LocalService, owner: Client) -> None:
    made = owner.create_key("looks", roles=["auditor"])
    with Client(audited.url, key=made["secret"]) as auditor:
        for what in ("", "/examples", "/confusion"):
            request(auditor, "GET", f"/classifiers/k/versions/1{what}")
    entries = list(owner.audit(author=made["key"]["key_id"]))
    assert [entry["action"] for entry in entries] == ["get_confusion", "list_examples"]
    assert entries[0]["names"] == {"classifier": ["k"], "version": ["1"]}


def test_no_reading_without_an_entry_shows_a_scan() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    def names_in(schema: Any, seen: frozenset[str]) -> set[str]:
        """The members of a JSON schema and of all that it refers to."""
        if isinstance(schema, list):
            return set().union(*(names_in(part, seen) for part in schema))
        if not isinstance(schema, dict):
            return set()
        found = set(schema.get("properties", ()))
        target = schema.get("$ref", "").rpartition("/")[2]
        if target and target not in seen:
            found |= names_in(schemas[target], seen | {target})
        return found.union(*(names_in(part, seen) for part in schema.values()))

    telling = {
        operation["operationId"]
        for methods in DOCUMENT["paths"].values()
        for method, operation in methods.items()
        if "security" in operation
        and is_quiet(method.upper(), operation["operationId"], *operation["security"][0].values())
        and names_in(operation["responses"]["200"], frozenset()) & {"scan_id", "group", "sha256"}
    }
    assert telling == {"list_operations", "get_operation"}  # scans that a fit refused
