"""What a key allows: a matrix of roles and routes from the running service, and its limits."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.access.keys import create_key, hash_key, new_token, rotate_key
from service.access.scopes import METRICS_READ, ROLES, SCOPES
from service.app import catalog_of, create_app
from service.catalog.access_records import KeyGrant
from service.catalog.ids import timestamp
from service.catalog.interface import Catalog
from service.cli.demo import SAMPLES
from service.server import LocalService, local_service
from service.settings import Settings
from tests.service.expected import BUNDLE

PAGE = Path(__file__).parents[2] / "docs" / "access.md"
PARTS = ("collection", "name", "scan_id", "subject_id", "study_id", "operation_id", "key_id")
NAMES = dict.fromkeys((*PARTS, "workspace"), "none")


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, new_catalog: Callable[[], dict[str, Any]]
) -> Settings:
    data_dir = tmp_path_factory.mktemp("roles")
    return Settings(data_dir=data_dir, bundle_dir=BUNDLE, drain_s=0, **new_catalog())


@pytest.fixture(scope="module")
def catalog(settings: Settings) -> Iterator[Catalog]:
    catalog = catalog_of(settings)
    yield catalog
    catalog.close()


@pytest.fixture(scope="module")
def local(catalog: Catalog, settings: Settings) -> Iterator[LocalService]:
    with local_service(settings, catalog=catalog) as running:
        yield running


def http_of(local: LocalService, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=local.url, headers=headers, trust_env=False)


@cache  # building the document takes a second
def operations() -> list[tuple[str, str, tuple[str, ...] | None]]:
    """(method, path, scopes) of every route; None = it asks for no key."""
    return [
        (
            method.upper(),
            path,
            tuple(*operation["security"][0].values()) if "security" in operation else None,
        )
        for path, methods in create_app(Settings()).openapi()["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_gets_403_exactly_where_the_document_says(local, catalog, role) -> None:
    _, key = create_key(catalog, role, "default", KeyGrant((role,)))
    with http_of(local, key) as http:
        for method, path, scopes in operations():
            answer = http.request(method, path.format(**NAMES, version="1"))
            missing = [scope for scope in scopes or () if scope not in ROLES[role]]
            where = f"{role}: {method} {path}: {answer.status_code} {answer.text[:200]}"
            if missing:
                assert answer.status_code == 403, where
                assert (answer.json()["code"], answer.json()["scope"]) == (
                    "missing_scope",
                    missing[0],
                )
            else:
                assert answer.status_code not in (401, 403), where


def test_every_route_under_v1_names_a_scope_and_every_scope_has_a_route() -> None:
    asked: set[str] = set()
    for method, path, scopes in operations():
        assert (scopes is not None) == path.startswith("/v1/"), f"{method} {path}"
        assert scopes != () or (method, path) == ("GET", "/v1/me")
        asked |= set(scopes or ())
    assert asked == set(SCOPES) - {METRICS_READ}  # of /metrics, where the settings say so


def test_a_device_that_only_predicts_can_do_nothing_else(local, catalog) -> None:
    _, key = create_key(catalog, "device", "default", KeyGrant(scopes=("predict",)))
    with http_of(local, key) as http:
        for method, path, scopes in operations():
            status = http.request(method, path.format(**NAMES, version="1")).status_code
            assert (status == 403) == (scopes not in (None, (), ("predict",))), f"{method} {path}"


def test_a_key_reads_who_it_is_and_what_it_may_do(local, catalog) -> None:
    until = timestamp(datetime.now(UTC) + timedelta(days=1))
    grant = KeyGrant(("auditor",), ("predict",), until, ("study7-*",), None)
    record, key = create_key(catalog, "desk 3", "north", grant)
    with http_of(local, key) as http:
        assert http.get("/v1/me").json() == {
            "kind": "key",
            "key_id": record.key_id,
            "name": "desk 3",
            "workspace": "north",
            "roles": ["auditor"],
            "scopes": sorted({*ROLES["auditor"], "predict"}),
            "expires_at": until,
            "collections": ["study7-*"],
            "classifiers": None,
        }


@pytest.mark.parametrize(
    ("method", "path", "options", "scope"),
    [
        (
            "POST",
            "/v1/classifiers/none/refit",
            {"json": {"publish": True}},
            "classifier.publish",
        ),
        (
            "POST",
            "/v1/classifiers/none/versions/1/thresholds",
            {"json": {"thresholds": [{"label": "a", "sensitivity": 0.9}], "publish": True}},
            "classifier.publish",
        ),
        ("DELETE", "/v1/subjects/none", {"params": {"refit": True}}, "classifier.publish"),
    ],
)
def test_what_publishes_needs_the_scope_to_publish(
    local, catalog, method, path, options: dict[str, Any], scope
) -> None:
    grant = KeyGrant(scopes=("classifier.write", "subject.erase"))
    _, key = create_key(catalog, "writer", "default", grant)
    with http_of(local, key) as http:
        refused = http.request(method, path, **options)
        assert (refused.status_code, refused.json().get("scope")) == (403, scope), refused.text
        options.pop("params", None)
        if "json" in options:
            options["json"]["publish"] = False
        assert http.request(method, path, **options).status_code in (200, 404)


def test_who_may_not_read_scans_learns_nothing_of_them_by_other_scopes(local, catalog) -> None:
    _, owner = create_key(catalog, "owner", "default")
    grant = KeyGrant(scopes=("classifier.evaluate", "scan.label"))
    _, key = create_key(catalog, "no reader", "default", grant)
    scenes = [folder for folder in sorted(SAMPLES.iterdir()) if folder.is_dir()][:2]
    files = [(s.name, file) for s in scenes for file in sorted(s.glob("*.png"))[:2]]
    with http_of(local, owner) as http:
        http.post("/v1/collections", json={"name": "ward"})
        metadata = [{"scan_id": f"s{n}", "labels": {"t": s}} for n, (s, _) in enumerate(files)]
        parts = [("files", (file.name, file.read_bytes(), "image/png")) for _, file in files]
        made = http.post(
            "/v1/collections/ward/scans", files=parts, data={"metadata": json.dumps(metadata)}
        )
        assert made.status_code == 200, made.text
        fit = {"name": "k", "collection": "ward", "task": "t"}
        assert http.post("/v1/classifiers", json=fit).status_code == 201
    image = base64.b64encode(files[0][1].read_bytes()).decode()
    upload = {"image": image, "label": scenes[0].name}
    stored: list[dict[str, Any]] = [
        {"collection": "ward", "task": "t", "filter": {"subject_id": "p0"}},
        {"collection": "ward", "examples": [upload, {"scan_id": "s0", "label": scenes[0].name}]},
    ]
    with http_of(local, key) as http:
        answers = [http.post("/v1/classifiers/k/evaluate", json=body) for body in stored]
        answers.append(http.patch("/v1/collections/ward/scans/s0", json={}))
        for answer in answers:
            assert (answer.status_code, answer.json().get("scope")) == (403, "scan.read")
            assert "counts" not in answer.text
        body = {"examples": [upload], "allow_known": True}
        evaluated = http.post("/v1/classifiers/k/evaluate", json=body)
        assert evaluated.status_code == 200, evaluated.text


def test_a_missing_scope_is_found_before_what_is_wrong_with_the_body(local, catalog) -> None:
    _, key = create_key(catalog, "reader", "default", KeyGrant(("reader",)))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    with http_of(local, key) as http:
        answer = http.post("/v1/collections", content=b"{", headers=headers, params={"typo": 1})
    assert answer.json()["code"] == "missing_scope"


def test_an_expired_key_is_unknown(local, catalog) -> None:
    owner_id = catalog.ensure_workspace("default").workspace_id
    statuses = []
    for until in (datetime.now(UTC) + timedelta(days=1), datetime.now(UTC) - timedelta(days=1)):
        key = new_token()  # one that has expired cannot be made past the catalog
        grant = KeyGrant(("reader",), expires_at=timestamp(until))
        catalog.create_key(owner_id, "short", hash_key(key), grant)
        with http_of(local, key) as http:
            statuses.append(http.get("/v1/encoder").status_code)
    assert statuses == [200, 401]


def test_both_keys_of_a_rotation_open_until_the_old_one_expires(local, catalog) -> None:
    record, old = create_key(catalog, "rotated", "default", KeyGrant(("reader",)))
    successor, new = rotate_key(catalog, record.workspace_id, record.key_id, overlap_s=3600)
    assert (successor.name, successor.grant) == ("rotated", record.grant)
    for key in (old, new):
        with http_of(local, key) as http:
            assert http.get("/v1/encoder").status_code == 200
            assert http.post("/v1/collections", json={"name": "x"}).status_code == 403
    again, newest = rotate_key(catalog, record.workspace_id, successor.key_id, overlap_s=0)
    for key, status in ((old, 200), (new, 401), (newest, 200)):
        with http_of(local, key) as http:
            assert http.get("/v1/encoder").status_code == status
    catalog.revoke_key(record.workspace_id, again.key_id)
    with http_of(local, newest) as http:
        assert http.get("/v1/encoder").status_code == 401


def test_the_last_use_of_a_key_is_stored_when_the_service_says_so(local, catalog) -> None:
    record, key = create_key(catalog, "used", "default")
    with http_of(local, key) as http:
        http.get("/v1/encoder")
    local.running().keys.store_uses()
    (stored,) = [k for k in catalog.list_keys(record.workspace_id) if k.key_id == record.key_id]
    assert stored.last_used_at is not None
    assert stored.last_used_at > record.created_at


def test_the_page_has_the_table_of_roles() -> None:
    lines = [f"| scope | what it allows | {' | '.join(ROLES)} |"]
    for scope, says in SCOPES.items():
        marks = " | ".join("x" if scope in ROLES[role] else " " for role in ROLES)
        lines.append(f"| `{scope}` | {says} | {marks} |")
    text = PAGE.read_text()
    assert [line for line in lines if line not in text.splitlines()] == []


def named(scopes: tuple[str, ...]) -> str:
    return ", ".join(f"`{scope}`" for scope in scopes) or "any valid key"


def test_the_page_has_the_scope_of_every_route() -> None:
    lines = [
        f"| `{method} {path}` | {'none' if scopes is None else named(scopes)} |"
        for method, path, scopes in operations()
    ]
    text = PAGE.read_text()
    assert [line for line in lines if line not in text.splitlines()] == []
