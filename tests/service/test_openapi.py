"""The OpenAPI document is valid, complete and true, and its page needs no other machine."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import openapi_spec_validator
import pytest
from jsonschema import Draft202012Validator

from service import errors
from service.access.keys import create_key
from service.api.openapi import IMAGE_TYPES
from service.api.problems import STATUS, codes_of
from service.api.shapes.access.signing_key_shapes import PUBLIC_KEY
from service.catalog.access_records import KeyGrant
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError, outcome_of
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

Seen = list[tuple[str, str, httpx.Response]]


class Recorder(httpx.HTTPTransport):
    """Real HTTP, and a note of every request with its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Seen = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        self.seen.append((request.method, request.url.path, response))
        return response


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("o"), bundle_dir=BUNDLE, drain_s=0)
    catalog = open_catalog(settings.data_dir)
    grant = KeyGrant(("admin",), ("service.admin",))
    with local_service(settings, catalog=catalog) as running:
        yield replace(running, key=create_key(catalog, "operator", "default", grant)[1])
    catalog.close()


@pytest.fixture(scope="module")
def document(quick: LocalService) -> dict[str, Any]:
    return httpx.get(f"{quick.url}/openapi.json", trust_env=False, timeout=60).json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def every_call(client: Client, frames: dict[str, list[bytes]]) -> set[str]:
    """Use each public method once or more; return their names."""
    images = frames["cyst"][:3] + frames["stone"][:3]
    metadata = [{"scan_id": f"s{i}", "subject_id": f"p{i}"} for i in range(6)]
    client.live(), client.ready(), client.metrics(), client.encoder()
    client.embed([*images[:1], b"GIF89a"])
    client.embed(images[:1], encoding_format="base64", dtype="int8")
    clip = (BUNDLE.parent / "clips" / "h264.mp4").read_bytes()
    client.embed([clip], frames="uniform:2", pool="none")
    client.create_collection("c")
    client.add_scans("c", [*images, b"GIF89a"], [*metadata, {}])
    client.add_scans("c", [clip], [{"scan_id": "clip"}], frames="uniform:3")
    list(client.collections()), client.collection("c")
    list(client.audit(action="add_scans")), client.audit_page(limit=1)
    sha256 = client.scan("c", "s0")["image"]["sha256"]
    assert client.known("c", [sha256]) == {sha256: "s0"}
    client.patch_scan("c", "s0", {"labels": {"t": "a"}, "attributes": {"depth": 4.5}})
    list(client.scans("c")), client.thumbnail("c", "s0")
    assert client.known_scans("c", [sha256])[sha256][0]["subject_id"] == "p0"
    client.scan("c", "s0", with_vector=True, encoding_format="base64", dtype="int8")
    list(client.scans("c", with_vector=True)), client.subject("p0")
    client.request("GET", "/v1/subjects/p0")
    client.search("c", {"scan_id": "s0", "match": "frame"}), client.search_image("c", images[0])
    client.search_many(["c"], [{"scan_id": "s0"}, {"scan_id": "none"}])
    client.search_across(["c"], {"scan_id": "s0", "with_vector": True})
    client.search_images(["c"], images[:2], {"negative": ["s5"]})
    labels = ["cyst"] * 3 + ["stone"] * 3
    client.fit_images("up", images, [{"label": label} for label in labels])
    examples = [{"scan_id": f"s{i}", "label": label} for i, label in enumerate(labels)]
    client.fit({"name": "k", "collection": "c", "examples": examples})
    list(client.classifiers()), client.classifier("k")
    client.predict("k", [*images[:1], b"GIF89a"]), client.predict_scans("k", "c", ["s0"])
    client.change_examples("k", {"collection": "c", "examples": [examples[0] | {"label": "x"}]})
    added = {"examples": [{"label": "cyst"}]}
    client.change_examples("k", added, images=frames["cyst"][4:5])
    list(client.versions("k")), client.version("k", 2), list(client.version_examples("k", 3))
    wishes = [{"label": "cyst", "threshold": 0.3}, {"label": "stone", "threshold": 0.6}]
    client.set_thresholds("up", {"thresholds": wishes, "publish": True})
    client.thresholds("up", threshold=0.5), client.forecast("up", 1)
    client.confusion("up", 1, actual="cyst", limit=1)
    client.predict("up", [*images[:2], b"GIF89a"], heatmap="png", cine=True)
    client.predict("up", images[:1], heatmap="array", thresholds={"cyst": 0.9})
    answer = client.predict("up", images[:2])
    outcomes = [outcome_of(answer, item, ["cyst"], patient="p0") for item in answer["items"]]
    client.put_outcomes("up", outcomes), client.monitor("up"), client.monitor("k", 1)
    client.publish("k", 2), client.predict_scans("k", "c", ["s0"], version=1)
    client.evaluate("k", {"collection": "c", "examples": [examples[5]], "allow_known": True})
    client.review("k", "conflict", version=1), client.review("k", "suspect")
    client.compare("k", 1, 2), client.review("k", "next", collection="c", tasks=["none"])
    client.patch_scan("c", "s0", {"labels": {"r1": "a", "r2": "a"}})
    client.patch_scan("c", "s1", {"labels": {"r1": "b", "r2": "a"}})
    client.agreement("c", "r1", "r2"), client.next_scans("c", ["r1"], limit=2)
    client.fit({"name": "sourced", "collection": "c", "task": "r1"})
    client.patch_scan("c", "s2", {"labels": {"r1": "b"}}), client.classifier("sourced")
    client.refit("sourced", {"publish": True})
    client.patch_scan("c", "s3", {"labels": {"r1": "b"}})
    assert client.wait(client.refit("sourced", respond_async=True)["operation_id"])["result"]
    client.create_collection("d"), client.near_duplicates("c", patients="unknown", limit=2)
    assert client.copy_scans("c", ["s0", "none"], "d")["created"] == 1
    client.delete_collection("d")
    client.rename_label("c", "r1", "b", "d", dry_run=True), client.rename_label("c", "r1", "b", "d")
    client.import_classifier("copy", client.export("k")), client.export_onnx("k")
    client.map("c", task="t", limit=3), client.me(), client.verify_audit()
    client.wait(client.lay_out("c")["operation_id"]), client.layout("c")
    client.facets("c", {"attributes": ["depth"]}), client.patch_collection("c", {"description": ""})
    known = {"study_id": {"exists": False}, "created_at": {"lt": "2100-01-01"}}
    assert [scan["scan_id"] for scan in client.scans("c", where=known)]
    begun = client.fit({"name": "l", "collection": "c", "examples": examples}, respond_async=True)
    assert client.wait(begun["operation_id"])["state"] == "done"
    assert client.cancel(begun["operation_id"]) == client.operation(begun["operation_id"])
    client.erase_subject("p1", refit=True), client.delete_scan("c", "s2", refit=True)
    client.patch_scan("c", "s3", {"study_id": "st"}), client.erase_study("st", refit=True)
    client.patch_scan("c", "s4", {"study_id": "s/t"}), client.erase_study("s/t")
    client.patch_scan("c", "s5", {"subject_id": "p/5"}), client.erase_subject("p/5")
    for operation in client.operations():
        client.wait(operation["operation_id"])
    with pytest.raises(ApiError):
        client.export_collection("c", "x")
    with pytest.raises(ApiError):
        client.import_collection("c", "x")
    for call in (client.reembed, client.reembedding):
        with pytest.raises(ApiError):
            call("c")
    with pytest.raises(ApiError):
        client.end_reembedding("c", keep="old")
    many = [{"labels": ["fluid"]}, {"labels": []}] * 3
    client.fit_images("many", images, many, fields={"kind": "multi_label"})
    client.predict("many", [*images[:1], b"GIF89a"]), list(client.version_examples("many", 1))
    client.forecast("many"), client.confusion("many"), client.thresholds("many", threshold=0.5)
    other = [{**many[0], "subject_id": "other"}]
    client.evaluate("many", {"examples": other, "allow_known": True}, images=frames["mass"][:1])
    leave_out = {"examples": [*other, many[0]], "on_refused": "leave_out", "allow_known": True}
    client.evaluate("many", leave_out, images=[frames["mass"][0], b"GIF89a"])
    client.import_classifier("many2", client.export("many")), client.export_onnx("many")
    client.delete_classifier("k"), client.delete_collection("c")
    key_id = client.create_key("desk", roles=["reader"])["key"]["key_id"]
    client.key(key_id), client.rotate_key(key_id), client.revoke_key(key_id)
    list(client.list_keys())
    client.create_workspace("w"), list(client.list_workspaces()), client.workspace("w")
    client.suspend_workspace("w"), client.resume_workspace("w")
    assert client.wait(client.delete_workspace("w")["operation_id"])["result"]["keys"] == 1
    client.export_signed_onnx("many"), client.rotate_signing_key()
    own_id = next(iter(client.signing_keys()))["key_id"]
    client.signing_key(own_id), client.distrust_signing_key(own_id)
    client.trust_signing_key("other", PUBLIC_KEY)
    client.replace_policy({"limits": {"scans": 1e6}}, if_match=client.policy()["etag"])
    with pytest.raises(ApiError, match="makes no pseudonyms"):
        client.pseudonymize()
    client.usage()
    plumbing = {"request", "close"}
    return {name for name in dir(Client) if not name.startswith("_")} - plumbing


def used(function: Any) -> set[str]:
    return set(function.__code__.co_names)


def test_the_client_covers_every_route_and_every_answer_has_its_documented_shape(
    quick: LocalService, document, frames
) -> None:
    recorder = Recorder()
    with Client(quick.url, key=quick.key, transport=recorder) as client:
        methods = every_call(client, frames)
        with pytest.raises(ApiError):
            client.collection("none")
    assert methods <= used(every_call), "call the new method in every_call"
    patterns = {
        (method, path): re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
        for method, path, _ in operations(document)
    }
    reached: set[tuple[str, str]] = set()
    for method, path, response in recorder.seen:
        (route,) = [k for k, rx in patterns.items() if k[0] == method and rx.fullmatch(path)]
        reached.add(route)
        answers = document["paths"][route[1]][method.lower()]["responses"]
        content = answers[str(response.status_code)]["content"]
        kind = response.headers["content-type"].partition(";")[0]
        assert kind in content, (route, response.status_code)
        if kind.endswith("json"):
            schema = content[kind]["schema"] | {"components": document["components"]}
            Draft202012Validator(schema).validate(response.json())
    assert reached == set(patterns)


def test_the_document_is_valid_openapi(document) -> None:
    openapi_spec_validator.validate(document)


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object of the document, without its examples."""
    if isinstance(node, dict):
        yield node
        node = [value for key, value in node.items() if key not in ("example", "examples")]
    for value in node if isinstance(node, list) else []:
        yield from objects(value)


def test_the_document_is_one_that_generators_of_clients_take(document) -> None:
    assert not [node for node in objects(document) if node.get("default", ...) is None]
    assert not [name for name in document["components"]["schemas"] if "__" in name or "-" in name]
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    assert not [name for name in ids if not re.fullmatch("[a-z]+(_[a-z]+)*", name)]
    for method, path, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        assert content.keys() <= {"multipart/form-data", "application/json", *IMAGE_TYPES}
        form = content.get("multipart/form-data")
        if form is not None:
            parts = form["schema"]["properties"]
            assert form["encoding"].keys() == parts.keys(), f"{method} {path}"
            lists = [name for name, part in parts.items() if part.get("type") == "array"]
            assert lists == ["files"], f"{method} {path}"


def test_every_operation_is_explained_with_its_errors(document) -> None:
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert len(operation["summary"].split()) >= 2 or path in ("/metrics",), where
        success = [s for s in operation["responses"] if s.startswith("2")]
        assert success, where
        problems = {s: a for s, a in operation["responses"].items() if not s.startswith("2")}
        assert "503" in problems, where
        assert ("401" in problems) == (path.startswith("/v1/") or path == "/metrics"), where
        for status, answer in problems.items():
            example = answer["content"]["application/problem+json"]["example"]
            assert example["status"] == int(status)
            assert example["code"] in codes_of(int(status))
    assert not [name for name in document["components"]["schemas"] if "HTTPValidation" in name]
    assert document["components"]["securitySchemes"]


def test_every_json_body_has_an_example_that_validates(document) -> None:
    schemas = document["components"]["schemas"]
    count = 0
    for method, path, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        if schema is None:
            continue
        for choice in schema.get("anyOf", [schema]):
            body = schemas[choice["$ref"].rsplit("/", 1)[1]]
            whole = choice | {"components": document["components"]}
            assert "example" in body, f"{method} {path}"
            Draft202012Validator(whole).validate(body["example"])
            count += 1
    assert count >= 9


def test_every_code_that_a_request_can_get_is_named_by_some_status() -> None:
    never = {"service_error", "conflict", "forbidden", "invalid_settings", "lease_lost"}
    never.add("origin_not_allowed")  # of streams, which OpenAPI cannot describe
    named = {code for status in set(STATUS.values()) for code in codes_of(status)}
    assert {kind.code for kind in STATUS} - never <= named
    assert errors.ServiceError.code not in named


def test_the_docs_page_loads_nothing_from_another_machine(quick: LocalService) -> None:
    page = httpx.get(f"{quick.url}/docs", trust_env=False)
    assert page.status_code == 200
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//[^"']+""", page.text)
    assert "http" not in page.text.replace(quick.url, "")
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert len(links) == 3
    for link in links:
        asset = httpx.get(f"{quick.url}{link}", trust_env=False)
        assert asset.status_code == 200
        assert len(asset.content) > 500
    assert httpx.get(f"{quick.url}/docs/none.js", trust_env=False).json()["status"] == 404
    assert httpx.get(f"{quick.url}/redoc", trust_env=False).status_code == 404
