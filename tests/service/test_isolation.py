"""A key of one workspace never sees anything of another, by any route of the contract."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.access.keys import create_key
from service.api.shapes.access.signing_key_shapes import PUBLIC_KEY
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

SECRETS = ("ward", "scan-1", "subject-1", "study-1", "finding", "benign", "triage", "about-ward")
OPEN = {"/health/live", "/health/ready", "/metrics"}


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory, frames) -> Iterator[tuple[Client, Client]]:
    """The owner of a collection and a classifier, and a stranger on the same service."""
    data_dir = tmp_path_factory.mktemp("two")
    catalog = open_catalog(data_dir)
    settings = Settings(data_dir=data_dir, bundle_dir=BUNDLE, drain_s=0)
    _, strange_key = create_key(catalog, "stranger", "other")
    with (
        local_service(settings, catalog=catalog) as local,
        Client(local.url, key=local.key) as owner,
        Client(local.url, key=strange_key) as stranger,
    ):
        owner.create_collection("ward", description="about-ward")
        said = [
            {
                "scan_id": f"scan-{i}",
                "subject_id": f"subject-{i}",
                "study_id": f"study-{i}",
                "labels": {"finding": ("benign", "malignant")[i % 2]},
            }
            for i in range(4)
        ]
        owner.add_scans("ward", frames["cyst"][:4], said, idempotency_key="shared-key")
        owner.fit({"name": "triage", "collection": "ward", "task": "finding"})
        refused = {"name": "triage", "collection": "ward", "task": "finding"}
        owner.wait(owner.fit(refused, respond_async=True)["operation_id"])
        yield owner, stranger
    catalog.close()


def requests_of(frames: dict[str, list[bytes]]) -> dict[tuple[str, str], dict[str, Any]]:
    """For each route with a body, one that names what the owner has."""
    files = {"files": [("files", ("a", frames["cyst"][0]))]}
    ward = "/v1/collections/{collection}"
    version = "/v1/classifiers/{name}/versions/{version}"
    return {
        ("POST", "/v1/embeddings"): files,
        ("POST", "/v1/keys"): {"json": {"name": "own", "roles": ["reader"]}},
        ("POST", "/v1/keys/{key_id}/rotate"): {"json": {}},
        ("POST", "/v1/signing-keys"): {"json": {"name": "own", "public_key": PUBLIC_KEY}},
        ("POST", "/v1/collections"): {"json": {"name": "strangers-own"}},
        ("POST", f"{ward}/scans"): files | {"headers": {"Idempotency-Key": "shared-key"}},
        ("POST", f"{ward}/scans/copy"): {"json": {"to": "mine", "scan_ids": ["scan-1"]}},
        ("POST", f"{ward}/search"): {"json": {"scan_id": "scan-1"}},
        ("POST", "/v1/search"): {"json": {"collections": ["ward"], "scan_id": "scan-1"}},
        ("PATCH", f"{ward}/scans/{{scan_id}}"): {"json": {"labels": {"finding": "x"}}},
        ("POST", "/v1/classifiers"): {
            "json": {"name": "mine", "collection": "ward", "task": "finding"}
        },
        ("POST", f"{version}/examples"): {
            "json": {"collection": "ward", "examples": [{"scan_id": "scan-1", "label": "x"}]}
        },
        ("POST", "/v1/classifiers/{name}/evaluate"): {
            "json": {"collection": "ward", "task": "finding"}
        },
        ("GET", f"{version}/compare"): {"params": {"with": "latest"}},
        ("GET", "/v1/classifiers/{name}/review"): {
            "params": {"kind": "next", "collection": "ward", "task": "finding"}
        },
        ("GET", f"{ward}/next"): {"params": {"task": "finding"}},
        ("POST", f"{ward}/labels/rename"): {
            "json": {"task": "finding", "from": "benign", "to": "x"}
        },
        ("POST", "/v1/classifiers/{name}/refit"): {"json": {}},
        ("POST", "/v1/classifiers/{name}/outcomes"): {
            "json": {
                "outcomes": [
                    {
                        "prediction_id": "prd_1",
                        "version": 1,
                        "probabilities": {"benign": 1.0},
                        "abstained": False,
                        "actual": ["benign"],
                    }
                ]
            }
        },
        ("PUT", "/v1/policy"): {"json": {}},
        ("POST", f"{ward}/facets"): {"json": {}},
        ("POST", f"{ward}/map"): {"json": {}},
        ("POST", f"{ward}/export"): {"json": {"to": "x"}},
        ("POST", f"{ward}/import"): {"json": {"from": "x"}},
        ("DELETE", f"{ward}/reembed"): {"params": {"keep": "new"}},
        ("DELETE", "/v1/subjects"): {"params": {"subject_id": "subject-1"}},
        ("DELETE", "/v1/studies"): {"params": {"study_id": "study-1"}},
        ("GET", "/v1/subjects"): {"params": {"subject_id": "subject-1"}},
        ("PATCH", ward): {"json": {"description": "mine"}},
        ("POST", f"{ward}/agreement"): {"json": {"task": "finding", "other_task": "finding"}},
        ("POST", "/v1/classifiers/import"): {"json": {"name": "mine", "classifier": {}}},
        ("POST", f"{version}/thresholds"): {"json": {"thresholds": []}},
        ("GET", f"{version}/thresholds"): {"params": {"threshold": 0.5}},
        ("PATCH", "/v1/classifiers/{name}"): {"json": {"published_version": 1}},
        ("POST", "/v1/classifiers/{name}/predict"): {
            "json": {"collection": "ward", "scan_ids": ["scan-1"]}
        },
    }


def test_a_strangers_key_gets_404_or_nothing_on_every_route(houses, frames) -> None:
    owner, stranger = houses
    document = owner.request("GET", "/openapi.json").json()
    bodies = requests_of(frames)
    (operation_id,) = [operation["operation_id"] for operation in owner.operations()]
    names = {
        "collection": "ward",
        "name": "triage",
        "scan_id": "scan-1",
        "subject_id": "subject-1",
        "study_id": "study-1",
        "operation_id": operation_id,
        "version": "1",
        "key_id": next(owner.list_keys())["key_id"],
        "workspace": "default",
    }
    for path, methods in document["paths"].items():
        for method in methods:
            options = bodies.get((method.upper(), path), {})
            answer = stranger._http.request(method.upper(), path.format(**names), **options)
            where = f"{method} {path}: {answer.status_code} {answer.text[:200]}"
            if path.startswith("/v1/workspaces"):  # for operators of the service only
                assert answer.status_code == 403, where
            elif (
                "{" in path
                or method == "delete"
                or path == "/v1/subjects"
                or (method == "post" and path in ("/v1/classifiers", "/v1/search"))
            ):
                assert answer.status_code == 404, where
            elif path.endswith("/classifiers/import"):
                assert answer.json()["code"] == "invalid_artifact", where
            elif path.endswith("/policy/pseudonyms"):  # the stranger's own policy makes none
                assert answer.json()["code"] == "conflict", where
            else:
                assert answer.status_code < 400, where
            if path not in OPEN:
                assert not [secret for secret in SECRETS if f'"{secret}"' in answer.text], where
    assert owner.collection("ward")["scans"] == 4
    assert owner.scan("ward", "scan-1")["labels"] == {"finding": "malignant"}
    assert owner.classifier("triage")["name"] == "triage"


def test_every_route_but_health_and_metrics_asks_for_a_key(houses) -> None:
    owner, _ = houses
    document = owner.request("GET", "/openapi.json").json()
    with httpx.Client(base_url=owner._http.base_url, trust_env=False) as http:
        for path, methods in document["paths"].items():
            for method in methods:
                answer = http.request(method.upper(), path.replace("{", "").replace("}", ""))
                assert answer.status_code == (200 if path in OPEN else 401), f"{method} {path}"


def test_equal_names_in_two_workspaces_are_two_things(houses, frames) -> None:
    owner, stranger = houses
    stranger.create_collection("ward")
    said = [{"scan_id": "scan-1", "subject_id": "subject-1"}]
    answer = stranger.add_scans("ward", frames["mass"][:1], said, idempotency_key="shared-key")
    assert answer["items"][0]["created"]
    hits = stranger.search_image("ward", frames["cyst"][1], {"k": 50})["items"]
    assert [hit["scan"]["scan_id"] for hit in hits] == ["scan-1"]
    assert json.dumps(stranger.erase_subject("subject-1")) == json.dumps(
        {
            "scans": [{"collection": "ward", "scan_id": "scan-1"}],
            "classifiers": [],
            "uploads": 0,
            "copies": [],
            "backups_know": None,
        }
    )
    assert owner.scan("ward", "scan-1")["subject_id"] == "subject-1"
    stranger.delete_collection("ward")
    assert owner.collection("ward")["scans"] == 4
