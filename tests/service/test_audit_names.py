"""How patients, studies and scans stand in the audit log, and what is found by their ids."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.catalog.audit.sqlite_audit import AUDIT_FILE
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

PATIENT, STUDY, SCAN = "4711042", "880123", "20231107"  # digits alone, as in many hospitals


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("named")


@pytest.fixture(scope="module")
def owner(data_dir: Path, frames: dict[str, list[bytes]]) -> Iterator[Client]:
    """An administrator of a service with six scans of three patients, one of them PATIENT."""
    settings = Settings(data_dir=data_dir, bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as running, Client(running.url, key=running.key) as client:
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
