"""What is refused is refused early and shortly, however large the request is."""

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.api.strict_json import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_VALUES,
    is_unicode,
    strict_json,
)
from service.errors import InputError, TooManyItems
from service.server import LocalService
from sonoprobe_client import PlainClient as Client
from tests.service.expected import bodies_of_routes, refused
from tests.service.raw_http import answer, connection, head

MAX_REFUSAL = 64_000


@pytest.fixture(scope="module")
def http(tiny: LocalService) -> Iterator[httpx.Client]:
    """A client that shows answers as they are."""
    headers = {"Authorization": f"Bearer {tiny.key}"}
    with httpx.Client(base_url=tiny.url, headers=headers, trust_env=False, timeout=60) as session:
        session.post("/v1/collections", json={"name": "c"})
        yield session


# length ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/collections", {"name": "a", **{f"n{i}": 1 for i in range(50_000)}}),
        ("/v1/collections", {"name": "a", "x" * 900_000: 1}),
        (
            "/v1/search",
            {"collections": ["-"] * 30, "positive": [7] * 250, "vector": ["a"] * 60_000},
        ),
        (
            "/v1/search",
            {"collections": ["a"], "filter": {"and": [{"labels": {"a": [0] * 900}}] * 99}},
        ),
        ("/v1/classifiers", {"name": "k", "examples": [{"labels": [0] * 60, "x": 1}] * 3000}),
        ("/v1/collections/c/scans", {"images": ["a"] * 200, "metadata": [{"labels": 1}] * 200}),
        ("/v1/embeddings", {"images": [7] * 256}),
    ],
)
def test_an_answer_names_at_most_20_broken_rules(http, path: str, document: Any) -> None:
    response = http.post(path, json=document)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "validation_error")
    assert 1 <= len(problem["errors"]) <= 20
    assert len(response.content) < 20_000


def test_it_says_how_many_more_there_are(http) -> None:
    problem = http.post("/v1/embeddings", json={"images": [7] * 256}).json()
    assert (len(problem["errors"]), problem["more_errors"]) == (20, 236)
    assert problem["detail"].endswith("and 251 more")
    problem = http.post("/v1/embeddings", json={"images": [7] * 20}).json()
    assert (len(problem["errors"]), "more_errors" in problem) == (20, False)


def test_a_batch_that_fails_for_many_reasons_is_answered_shortly(http) -> None:
    files = [b"no image", b"\x89PNG\r\n\x1a\n"] * 128
    images = [base64.b64encode(file).decode() for file in files[1:]] + ["###"]
    for path in ("/v1/embeddings", "/v1/collections/c/scans"):
        response = http.post(path, json={"images": images})
        assert response.status_code == 207
        assert len(response.content) < MAX_REFUSAL
        codes = {item["problem"]["code"] for item in response.json()["items"]}
        assert {"unsupported_format", "corrupt_image", "invalid_input"} <= codes


# counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/embeddings", {"images": [7] * 257}),
        ("/v1/collections/c/scans", {"images": ["a"], "metadata": [7] * 257}),
        ("/v1/search", {"collections": ["c"], "queries": [7] * 257}),
        ("/v1/embeddings", {"images": [[]] * (MAX_CONTAINERS + 1)}),
    ],
)
def test_items_are_counted_before_they_are_looked_at(http, path: str, document: Any) -> None:
    problem = http.post(path, json=document).json()
    assert (problem["code"], problem["status"]) == ("too_many_items", 413)
    assert "errors" not in problem


def test_a_form_counts_its_items_as_well(http, frames) -> None:
    files = [("files", ("a", frames["cyst"][0]))]
    data = {"metadata": json.dumps([7] * 257)}
    problem = http.post("/v1/collections/c/scans", files=files, data=data).json()
    assert (problem["code"], problem["status"]) == ("too_many_items", 413)


def test_a_list_of_fixed_length_is_counted_before_its_items(http) -> None:
    problem = http.post("/v1/classifiers", json={"name": "k", "examples": [7] * 10_001}).json()
    (rule,) = problem["errors"]
    assert rule["says"] == "examples: expected at most 10000 items, got 10001"


PER_IMAGE = {"images", "metadata", "queries", "scan_ids"}  # the settings limit them


def unlimited(node: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(field, type) of everything in a schema that may be of any length."""
    if isinstance(node, list):
        for child in node:
            yield from unlimited(child, name)
    if not isinstance(node, dict):
        return
    kind = node.get("type")
    fixed = {"maxLength", "pattern", "const", "enum", "format"} & node.keys()
    if kind == "array" and "maxItems" not in node and name not in PER_IMAGE:
        yield name, "array"
    if kind == "object" and not {"properties", "maxProperties"} & node.keys():
        yield name, "object"
    if kind == "string" and not fixed and name not in ("images", "image"):
        yield name, "string"
    for key, child in node.items():
        if key in ("properties", "$defs"):
            for field, schema in child.items():
                yield from unlimited(schema, field)
        elif key not in ("example", "examples"):
            yield from unlimited(child, name)


def test_everything_in_a_request_has_a_greatest_length() -> None:
    assert len(bodies_of_routes()) > 20
    free = {
        (model.__name__, *found)
        for model in bodies_of_routes()
        for found in unlimited(model.model_json_schema())
    }
    assert free == {("ClassifierImportBody", "classifier", "object")}


def test_a_body_that_must_be_short_is_refused_before_all_of_it_has_come(tiny) -> None:
    key = f"Authorization: Bearer {tiny.key}"
    lines = (key, "Content-Type: application/json", "Transfer-Encoding: chunked")
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with connection(tiny) as link:
        link.sendall(head("POST", "/v1/collections", *lines) + 3 * chunk)  # and no end
        status, _, body = answer(link)
        assert (status, b'"upload_too_large"' in body) == (413, True)


# JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"subject_id": "a", "subject_id": "b"}', "each name once"),
        ('{"a": [{"b": 1, "c": 2, "b": 3}]}', "each name once"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "64 deep"),
        ("[" * 100_000, "cannot be read"),
        ("NaN", "NaN is not JSON"),
        ("[1e999, -Infinity]", "-Infinity is not JSON"),
        ("1" * 5000, "cannot be read"),
        ("", "cannot be read"),
        (b'{"a": "\xe9"}', "UTF-8"),
        ('{"a": "b"}'.encode("utf-16"), "UTF-8"),
    ],
)
def test_json_is_strict(text: str | bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        strict_json(text)


def test_json_that_would_fill_the_memory_is_not_parsed() -> None:
    for text in ("[" + "[]," * MAX_CONTAINERS + "[]]", "[" + "0," * (MAX_VALUES + 1) + "0]"):
        with pytest.raises(TooManyItems):
            strict_json(text)
    assert strict_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert strict_json(b'\xef\xbb\xbf{"a": [1, null]}') == {"a": [1, None]}


def test_half_of_a_character_is_found_in_names_and_values() -> None:
    assert is_unicode({"a": ["\U0001f600", {"b": None}]})
    assert not is_unicode({"a": [{"b": "\ud800"}]})
    assert not is_unicode([{"\udfff": 1}])


def test_a_name_with_two_values_is_refused_in_every_kind_of_body(http, frames) -> None:
    json_type = {"Content-Type": "application/json"}
    twice = '{"images": ["aaaa"], "metadata": [{"subject_id": "a", "subject_id": "b"}]}'
    files = [("files", ("a", frames["cyst"][0]))]
    for request in (
        {"content": twice, "headers": json_type},
        {"files": files, "data": {"metadata": '[{"subject_id": "a", "subject_id": "b"}]'}},
        {"files": files, "data": {"metadata": ['[{"subject_id": "a"}]', "[{}]"]}},
        {"content": frames["cyst"][0], "params": {"subject_id": ["a", "b"]}},
    ):
        problem = http.post("/v1/collections/c/scans", **request).json()
        assert (problem["code"], problem["status"]) == ("invalid_input", 422)
        assert "once" in problem["detail"]
    problem = http.post(
        "/v1/collections", content='{"name": "x", "name": "y"}', headers=json_type
    ).json()
    assert "once" in problem["detail"]
    assert http.get("/v1/collections/c").json()["scans"] == 0


def test_free_json_of_any_depth_or_letters_is_no_error_of_ours(http) -> None:
    deep = '{"name": "a", "classifier": {"a": ' + "[" * 300 + "]" * 300 + "}}"
    half = '{"name": "a", "classifier": {"a": "\\ud800"}}'
    headers = {"Content-Type": "application/json"}
    for text in (deep, half):
        for key in ({}, {"Idempotency-Key": "k"}):
            response = http.post("/v1/classifiers/import", content=text, headers=headers | key)
            assert response.status_code == 422


def test_a_cursor_of_brackets_is_an_invalid_cursor(http) -> None:
    cursor = base64.urlsafe_b64encode(b"[" * 1400).decode()
    problem = http.get("/v1/collections", params={"cursor": cursor}).json()
    assert (problem["code"], problem["status"]) == ("invalid_cursor", 400)


# what would be ignored ------------------------------------------------------------------------


def test_a_compressed_body_is_refused_not_read_as_it_is(http) -> None:
    body = gzip.compress(b'{"name": "z"}')
    for coding in ("gzip", "br", "identity, gzip"):
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        problem = http.post("/v1/collections", content=body, headers=headers).json()
        assert (problem["code"], problem["status"]) == ("unsupported_format", 415)


def test_no_query_parameter_is_ignored_by_any_route(http) -> None:
    document = http.get("/openapi.json").json()
    routes = [(m.upper(), p) for p, methods in document["paths"].items() for m in methods]
    routes += [("GET", p) for p in ("/", "/docs", "/docs/swagger-ui.css", "/openapi.json")]
    routes += [("HEAD", p) for m, p in routes if m == "GET"]
    for method, path in routes:
        if path.startswith("/v1/workspaces"):
            continue  # the key of these tests lacks the scope, which is looked at first
        response = http.request(method, path, params={"zzz": "DOE"})
        assert response.status_code == 422, (method, path)
        assert "DOE" not in response.text


def test_a_parameter_that_counts_once_is_given_once(http) -> None:
    for path, params in (
        ("/v1/collections/c/scans", {"subject_id": ["a", "b"]}),
        ("/v1/collections", {"limit": [1, 2]}),
        ("/v1/collections/c/scans", {"filter": ["{}", "{}"]}),
    ):
        problem = http.get(path, params=params).json()
        assert (problem["code"], problem["status"]) == ("invalid_input", 422)
        assert "once" in problem["detail"]
    many = {"label": ["a:b", "c:d"], "attribute": ["e:f", "e:g"]}
    assert http.get("/v1/collections/c/scans", params=many).status_code == 200


def test_a_coded_slash_does_not_lead_to_another_route(http, frames) -> None:
    http.post("/v1/collections/c/scans", params={"scan_id": "s"}, content=frames["cyst"][0])
    for method, path in (
        ("DELETE", "/v1/collections/c%2Fscans%2Fs"),
        ("GET", "/v1/collections/c%2fscans"),
        ("GET", "/v1/collections/c/scans/s%2Fthumbnail"),
        ("GET", "/v1/collections/..%2Fencoder"),
        ("GET", "/v1/collections/c%2F"),
        ("DELETE", "/v1/collections/c/scans/s%2f"),
        ("PUT", "/v1/collections/c%2F"),
        ("GET", "/v1/collections/%00"),
        ("GET", "/v1/collections/%ff"),
        ("GET", "/v1/collections/c/scans/%E2%80%8B"),
    ):
        assert http.request(method, path).status_code == 404
    assert http.get("/v1/collections/c/scans/s").status_code == 200
    assert http.delete("/v1/subjects/1%2F2").json()["code"] == "unknown_item"


def test_methods_that_no_route_has_are_refused_with_those_that_it_has(http) -> None:
    for method in ("TRACE", "OPTIONS", "PUT", "PROPFIND", "PURGE"):
        response = http.request(method, "/v1/collections", headers={"Origin": "http://x"})
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, HEAD, POST"
        assert not [name for name in response.headers if name.startswith("access-control")]


def test_too_many_conditions_are_a_broken_rule_not_a_size(http) -> None:
    labels = {str(i): "x" for i in range(60)}
    where = {"labels": labels, "and": [{"labels": {"a": "b"}}] * 50}
    problem = http.post("/v1/collections/c/facets", json={"filter": where}).json()
    assert (problem["code"], problem["status"]) == ("validation_error", 422)
    attributes = {str(i): {"exists": True, "gte": 1, "in": [1], "not_in": [1]} for i in range(60)}
    response = http.get(
        "/v1/collections/c/scans", params={"filter": json.dumps({"attributes": attributes})}
    )
    assert (response.json()["code"], response.status_code) == ("invalid_input", 422)


def test_an_accepted_fit_names_collections_that_exist(tiny: LocalService) -> None:
    example = {"scan_id": "s", "label": "a", "collection": "none"}
    with Client(tiny.url, key=tiny.key) as client:
        for body in ({"collection": "none", "task": "t"}, {"examples": [example]}):
            with refused("unknown_item", 404):
                client.fit({"name": "k", **body}, respond_async=True)
        assert not list(client.operations())


def test_an_accepted_refit_can_begin(tiny: LocalService, frames) -> None:
    images = frames["cyst"][:3] + frames["mass"][:3]
    facts = [{"scan_id": f"s{i}", "labels": {"t": "ab"[i // 3]}} for i in range(6)]
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection("source")
        client.add_scans("source", images, facts)
        client.fit({"name": "refit", "collection": "source", "task": "t"})
        with refused("unknown_item", 404):
            client.refit("refit", {"collection": "none", "task": "t"}, respond_async=True)
        with refused("unknown_item", 404):
            client.refit("refit", {"version": "9"}, respond_async=True)
        with refused("precondition_failed", 412):
            client.refit("refit", {}, if_match='"99"', respond_async=True)
        assert not list(client.operations())
