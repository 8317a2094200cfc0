"""A key that is limited to named collections and classifiers: what every route answers it."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args

import httpx
import pytest
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from service.access.keys import create_key
from service.access.name_limits import NamedItems, NameLimits, limited_to
from service.api.permissions import Limited
from service.api.shapes import (  # noqa: F401 - so that every body is defined
    classifier_shapes,
    collection_shapes,
    evaluation_shapes,
    prediction_shapes,
    search_shapes,
    version_shapes,
)
from service.app import catalog_of, create_app
from service.catalog.access_records import KeyGrant
from service.errors import OutsideLimits, UnknownItem
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import ApiError, outcome_of
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE, bodies_of_routes
from tests.service.test_fit_inputs import saved_again

PAGE = Path(__file__).parents[2] / "docs" / "access.md"
# What only the owner may see: names, ids and labels of the collection and the classifier outside.
SECRETS = ("hidden", "shut", "hidden-0", "study-shut", "hush")
NAME_FIELDS = frozenset({"collection", "collections", "stored_in", "classifier", "classifiers"})
# Fields that hold no name: an exported document, and the limits of a new key.
NO_NAMES = {("ClassifierImportBody", "classifier"), ("NewKeyBody", "collections")}
NO_NAMES |= {("NewKeyBody", "classifiers")}
NO_NAMES |= {("WorkspaceLimits", "collections"), ("WorkspaceLimits", "classifiers")}  # numbers
NO_NAMES |= {("KeyLimits", "collections"), ("KeyLimits", "classifiers")}
_VERSION = "/v1/classifiers/{name}/versions/{version}"


@dataclass(frozen=True)
class House:
    """The owner of everything, and a key that is limited to ``ward`` and ``mine*``."""

    owner: Client
    limited: Client
    operations: dict[str, str]

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.limited._http.request(method, path, **options)


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, new_catalog: Callable[[], dict[str, Any]], frames
) -> Iterator[House]:
    data_dir = tmp_path_factory.mktemp("limits")
    settings = Settings(data_dir=data_dir, bundle_dir=BUNDLE, drain_s=0, **new_catalog())
    catalog = catalog_of(settings)
    grant = KeyGrant(("admin",), ("service.admin",), None, ("ward",), ("mine*",))
    with (
        local_service(settings, catalog=catalog) as local,
        Client(local.url, key=local.key) as owner,
        Client(local.url, key=create_key(catalog, "limited", "default", grant)[1]) as limited,
    ):
        fill(owner, frames)
        operations = {}
        for name, collection in (("mine-too", "ward"), ("shut-too", "hidden")):
            fit = {"name": name, "collection": collection, "task": "t"}
            operation = owner.fit(fit, respond_async=True)
            operations[name] = owner.wait(operation["operation_id"])["operation_id"]
        yield House(owner, limited, operations)
    catalog.close()


def fill(owner: Client, frames: dict[str, list[bytes]]) -> None:
    """Two collections of the same patients, and a classifier of each."""
    for collection, scene, study in (("ward", "cyst", "study"), ("hidden", "mass", "study-shut")):
        owner.create_collection(collection)
        said = [
            {
                "scan_id": f"{collection}-{i}",
                "subject_id": f"p{i % 2}",
                "study_id": study,
                "labels": {"t": ("loud", "hush" if collection == "hidden" else "calm")[i % 2]},
            }
            for i in range(4)
        ]
        owner.add_scans(collection, frames[scene][:4], said)
    owner.fit({"name": "mine", "collection": "ward", "task": "t"})
    owner.fit({"name": "shut", "collection": "hidden", "task": "t"})
    owner.fit({"name": "mine-of-hidden", "collection": "hidden", "task": "t"})


@cache  # building the document takes a second
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def operations_of_document() -> list[tuple[str, str, Limited | None]]:
    """(method, path, what a limited key gets) of every route; None = it asks for no key."""
    return [
        (method.upper(), path, operation.get("x-limited-keys"))
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]


def bodies(collection: str, classifier: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """For each route, requests whose bodies or queries name the collection or the classifier."""
    scan = {"collection": collection, "scan_id": f"{collection}-0"}
    examples = [scan | {"label": "calm"}, {"scan_id": "ward-1", "label": "loud"}]
    source = {"collection": collection, "task": "t"}
    return {
        ("POST", "/v1/collections"): [{"json": {"name": collection}}],
        ("POST", "/v1/search"): [
            {"json": {"collections": ["ward", collection], "scan_id": "ward-0"}},
            {
                "json": {
                    "collections": ["ward"],
                    "scan_id": f"{collection}-0",
                    "stored_in": collection,
                }
            },
            {
                "json": {
                    "collections": ["ward"],
                    "queries": [{"scan_id": "x", "stored_in": collection}],
                }
            },
        ],
        ("POST", "/v1/collections/{collection}/search"): [
            {"json": {"scan_id": f"{collection}-0", "stored_in": collection}}
        ],
        ("POST", "/v1/classifiers"): [
            {"json": {"name": "mine-new", **source}},
            {"json": {"name": "mine-new", **source}, "headers": {"Prefer": "respond-async"}},
            {"json": {"name": "mine-new", "collection": "ward", "examples": examples}},
            {
                "json": {
                    "name": "mine-new",
                    "collection": "ward",
                    "task": "t",
                    "unlabelled": {"collection": collection},
                }
            },
            {"json": {"name": classifier, "collection": "ward", "task": "t"}},
        ],
        ("POST", "/v1/classifiers/import"): [{"json": {"name": classifier, "classifier": {}}}],
        ("POST", "/v1/classifiers/{name}/refit"): [{"json": source}],
        ("POST", f"{_VERSION}/examples"): [
            {"json": {"collection": "ward", "examples": examples}},
            {"json": {"drop": [scan]}},
            {"json": {"relabel": [scan | {"label": "loud"}]}},
        ],
        ("POST", "/v1/classifiers/{name}/evaluate"): [
            {"json": source},
            {"json": {"collection": "ward", "examples": examples, "on_refused": "leave_out"}},
        ],
        ("GET", "/v1/classifiers/{name}/review"): [{"params": {"kind": "next", **source}}],
        ("POST", "/v1/classifiers/{name}/predict"): [
            {"json": {"collection": collection, "scan_ids": [f"{collection}-0"]}}
        ],
    }


# Requests whose names are all inside; what a route cannot do without.
ORDINARY: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/v1/subjects"): {"params": {"subject_id": "p0"}},
    ("DELETE", "/v1/subjects"): {"params": {"subject_id": "p0"}},
    ("DELETE", "/v1/studies"): {"params": {"study_id": "study"}},
    ("POST", "/v1/keys"): {"json": {"name": "x", "roles": ["reader"], "collections": ["ward"]}},
    ("POST", "/v1/keys/{key_id}/rotate"): {"json": {}},
    ("POST", "/v1/collections/{collection}/import"): {"json": {"from": "x"}},
}


def answer_of(response: httpx.Response) -> tuple[int, Any]:
    """Status and body, without what names the request."""
    document = response.json()
    document.pop("request_id", None)
    return response.status_code, document


def test_every_route_that_asks_for_a_key_says_what_a_limited_one_gets(house) -> None:
    for method, path, limited in operations_of_document():
        assert (limited in get_args(Limited)) == path.startswith("/v1/"), f"{method} {path}"


def test_a_name_outside_is_answered_as_a_name_that_does_not_exist(house) -> None:
    """Whatever else is wrong: nobody learns by asking that the collection exists."""
    outside, unknown = (
        {"collection": c, "name": n, "scan_id": f"{c}-0", "version": "1"}
        for c, n in (("hidden", "shut"), ("none", "nothing"))
    )
    for method, path, limited in operations_of_document():
        if limited == "path":
            (ours, *_) = bodies("ward", "mine").get((method, path), [{}])
            refused = house.ask(method, path.format(**outside), **ours)
            expected = house.ask(method, path.format(**unknown), **ours)
            assert refused.status_code == 404, f"{method} {path}: {refused.text[:200]}"
            assert answer_of(refused) == answer_of(expected), f"{method} {path}"


def test_a_body_cannot_name_what_the_path_could_not(house) -> None:
    inside = {"collection": "ward", "name": "mine", "scan_id": "ward-0", "version": "1"}
    unknown = bodies("none", "nothing")
    for (method, path), requests in bodies("hidden", "shut").items():
        for request, like in zip(requests, unknown[method, path], strict=True):
            refused = house.ask(method, path.format(**inside), **request)
            expected = house.ask(method, path.format(**inside), **like)
            where = f"{method} {path} {request}: {refused.text[:200]}"
            assert refused.status_code in (403, 404), where
            assert answer_of(refused) == answer_of(expected), where
    creations = [("POST", "/v1/collections"), ("POST", "/v1/classifiers/import")]
    for method, path in creations:
        (request,) = bodies("hidden", "shut")[method, path]
        assert house.ask(method, path, **request).json()["code"] == "outside_limits"


def test_every_route_with_names_in_its_body_is_among_those_that_are_tried() -> None:
    tried = set(bodies("x", "x"))
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            limited = operation.get("x-limited-keys")
            assert limited != "body" or (method.upper(), path) in tried, f"{method} {path}"
            named = {parameter["name"] for parameter in operation.get("parameters", [])}
            named -= {part.strip("{}") for part in path.split("/")}
            assert not named & NAME_FIELDS or (method.upper(), path) in tried, f"{method} {path}"


def test_every_name_in_a_body_has_a_type_that_knows_the_limits() -> None:
    found = 0
    for model in bodies_of_routes():
        for name, field in model.model_fields.items():
            if name in NAME_FIELDS and (model.__name__, name) not in NO_NAMES:
                assert knows_limits(field), f"{model.__name__}.{name}"
                found += 1
    assert found >= 9
    for model, name in (("NewCollectionBody", "name"), ("NewClassifierBody", "name")):
        (body,) = {body for body in bodies_of_routes() if body.__name__ == model}
        assert knows_limits(body.model_fields[name])


def knows_limits(field: FieldInfo) -> bool:
    """Whether no name passes where none is allowed."""
    annotation: Any = field.annotation
    for rule in field.metadata:
        annotation = Annotated[annotation, rule]
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    value: Any = ["x"] if "list" in str(field.annotation) else "x"
    with limited_to(NameLimits((), ())):
        try:
            adapter.validate_python(value)
        except (UnknownItem, OutsideLimits):
            return True
    return False


def test_what_concerns_more_than_names_is_refused(house) -> None:
    names = {"collection": "ward", "subject_id": "p0", "study_id": "study", "workspace": "w"}
    names["key_id"] = "sig_none"
    refused = [(m, p) for m, p, limited in operations_of_document() if limited == "refused"]
    assert {path for _, path in refused} >= {"/v1/subjects/{subject_id}", "/v1/studies"}
    for method, path in refused:
        options = ORDINARY.get((method, path), {})
        answer = house.ask(method, path.format(**names), **options)
        assert (answer.status_code, answer.json()["code"]) == (403, "outside_limits"), path
    assert house.owner.collection("ward")["scans"] == 4


def test_lists_and_reads_show_nothing_from_outside(house) -> None:
    keys = {key["name"]: key["key_id"] for key in house.owner.list_keys()}
    names = {"subject_id": "p0", "operation_id": house.operations["mine-too"]}
    signing_id = house.owner.rotate_signing_key()["key_id"]
    for method, path, limited in operations_of_document():
        if limited in ("shown", "nothing") and method == "GET":
            key_id = signing_id if "signing" in path else keys["limited"]
            options = ORDINARY.get((method, path), {})
            answer = house.ask(method, path.format(**names, key_id=key_id), **options)
            assert answer.status_code == 200, f"{path}: {answer.text[:200]}"
            leaks = [secret for secret in SECRETS if f'"{secret}"' in answer.text]
            # Of a classifier inside its classes are shown, also those learnt from outside.
            assert not [leak for leak in leaks if leak != "hush"], f"{path}: {leaks}"
    assert [c["name"] for c in house.limited.collections()] == ["ward"]
    assert [c["name"] for c in house.limited.classifiers()] == [
        "mine",
        "mine-of-hidden",
        "mine-too",
    ]
    assert [key["name"] for key in house.limited.list_keys()] == ["limited"]
    shown = [operation["operation_id"] for operation in house.limited.operations()]
    assert shown == [house.operations["mine-too"]]


def test_cursors_of_limited_lists_end_where_nothing_more_is_shown(house) -> None:
    first = house.ask("GET", "/v1/classifiers", params={"limit": 2}).json()
    assert [item["name"] for item in first["items"]] == ["mine", "mine-of-hidden"]
    rest = {"limit": 2, "cursor": first["next_cursor"]}
    last = house.ask("GET", "/v1/classifiers", params=rest).json()
    assert ([item["name"] for item in last["items"]], last["next_cursor"]) == (["mine-too"], None)
    for limit in (1, 50):
        page = house.ask("GET", "/v1/collections", params={"limit": limit}).json()
        assert ([item["name"] for item in page["items"]], page["next_cursor"]) == (["ward"], None)


def test_an_operation_about_names_outside_is_unknown(house) -> None:
    shut = house.operations["shut-too"]
    for method in ("GET", "DELETE"):
        expected = answer_of(house.ask(method, "/v1/operations/op_none"))
        assert answer_of(house.ask(method, f"/v1/operations/{shut}")) == expected
    assert house.limited.operation(house.operations["mine-too"])["state"] == "done"


def test_a_patient_is_shown_as_far_as_the_limits_reach(house) -> None:
    held = house.limited.subject("p0")
    assert (held["scans"], held["study_ids"]) == (2, ["study"])
    assert [part["collection"] for part in held["collections"]] == ["ward"]
    assert {item["scan_id"] for item in held["items"]} == {"ward-0", "ward-2"}
    assert {part["classifier"] for part in held["classifiers"]} == {
        "mine",
        "mine-of-hidden",
        "mine-too",
    }
    first = house.ask("GET", "/v1/subjects/p0", params={"limit": 1}).json()
    second = {"limit": 1, "cursor": first["next_cursor"]}
    last = house.ask("GET", "/v1/subjects/p0", params=second).json()
    assert ([s["scan_id"] for s in last["items"]], last["next_cursor"]) == (["ward-2"], None)


def test_outcomes_of_a_patient_are_counted_for_classifiers_inside(house, frames) -> None:
    for classifier, label, patients in (
        ("mine", "loud", ("told", "told")),
        ("shut", "hush", ("told", "told-outside")),
    ):
        answer = house.owner.predict(classifier, frames["mass"][:2])
        outcomes = [
            outcome_of(answer, item, [label], patient=patient)
            for item, patient in zip(answer["items"], patients, strict=True)
        ]
        house.owner.put_outcomes(classifier, outcomes)
    assert house.owner.subject("told")["outcomes"] == 3
    assert house.limited.subject("told")["outcomes"] == 2
    assert house.owner.subject("told-outside")["outcomes"] == 1
    with pytest.raises(ApiError) as error:
        house.limited.subject("told-outside")
    assert error.value.code == "unknown_item"


def test_a_classifier_inside_that_learnt_outside_names_no_scan_from_there(house, frames) -> None:
    answers = [
        house.limited.classifier("mine-of-hidden"),
        house.ask("GET", "/v1/classifiers/mine-of-hidden/versions/1").json(),
        house.ask("GET", "/v1/classifiers/mine-of-hidden/versions/1/examples").json(),
        house.ask("GET", "/v1/classifiers/mine-of-hidden/versions/1/confusion").json(),
        house.limited.predict("mine-of-hidden", frames["mass"][:1]),
    ]
    assert "hidden-0" in str(house.owner.predict("mine-of-hidden", frames["mass"][:1]))
    for answer in answers:
        text = json.dumps(answer).replace("mine-of-hidden", "")
        assert "hidden" not in text, text[:500]
    for options in ({"json": {}}, {"json": {"publish": True}}):
        refused = house.ask("POST", "/v1/classifiers/mine-of-hidden/refit", **options)
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown_item")
    review = {"params": {"kind": "next"}}
    assert house.ask("GET", "/v1/classifiers/mine-of-hidden/review", **review).status_code == 404


def test_a_contradicted_example_from_outside_is_named_by_its_own_id(house, frames) -> None:
    contradiction = {
        "image": base64.b64encode(saved_again(frames["mass"][0], 1)).decode(),
        "label": "calm",
        "subject_id": "p9",
    }
    path = "/v1/classifiers/mine-of-hidden/versions/latest/examples"
    refused = house.ask("POST", path, json={"examples": [contradiction]})
    assert (refused.status_code, refused.json()["code"]) == (422, "conflicting_labels")
    listed = house.ask("GET", "/v1/classifiers/mine-of-hidden/versions/1/examples").json()
    assert f"example {listed['items'][0]['example_id']}" in refused.json()["detail"]
    assert not any(secret in refused.json()["detail"] for secret in SECRETS)


def test_a_refit_in_the_background_concerns_the_collection_of_its_source(house) -> None:
    started = house.owner.refit("mine-of-hidden", respond_async=True)
    house.owner.wait(started["operation_id"])
    asked = house.ask("GET", f"/v1/operations/{started['operation_id']}")
    assert (asked.status_code, asked.json()["code"]) == (404, "unknown_item")
    listed = house.ask("GET", "/v1/operations").json()["items"]
    assert started["operation_id"] not in {operation["operation_id"] for operation in listed}


def test_a_deletion_tells_only_of_classifiers_inside(house, frames) -> None:
    said = [{"scan_id": "gone", "subject_id": "p9", "labels": {"t": "calm"}}]
    house.owner.add_scans(
        "ward", [frames["nodule"][0]] if "nodule" in frames else [frames["cyst"][5]], said
    )
    for name in ("mine-gone", "shut-gone"):
        house.owner.fit({"name": name, "collection": "ward", "task": "t"})
    path = "/v1/collections/ward/scans/gone"
    refused = house.ask("DELETE", path, params={"refit": True})
    assert refused.json()["code"] == "outside_limits"
    assert house.ask("DELETE", path).json()["classifiers"] == ["mine-gone"]
    house.owner.delete_classifier("mine-gone")
    house.owner.delete_classifier("shut-gone")


def test_a_limited_administrator_makes_no_wider_key(house) -> None:
    for limits in (
        {},
        {"collections": ["ward"]},
        {"collections": ["ward", "hidden"], "classifiers": ["mine"]},
        {"collections": ["wa*"], "classifiers": ["mine"]},
        {"collections": ["ward"], "classifiers": ["*"]},
    ):
        with pytest.raises(ApiError) as caught:
            house.limited.create_key("wide", roles=["reader"], **limits)
        expected = "validation_error" if limits.get("classifiers") == ["*"] else "outside_limits"
        assert caught.value.code == expected
    narrow = {"collections": ["ward"], "classifiers": ["mine-*", "mine"]}
    made = house.limited.create_key("narrow", roles=["reader"], **narrow)
    assert {name: made["key"][name] for name in narrow} == narrow
    rotated = house.limited.rotate_key(made["key"]["key_id"])
    assert rotated["key"]["classifiers"] == ["mine-*", "mine"]
    full = next(key for key in house.owner.list_keys() if key["collections"] is None)
    for call in (house.limited.key, house.limited.rotate_key, house.limited.revoke_key):
        with pytest.raises(ApiError) as caught:
            call(full["key_id"])
        assert caught.value.status == 404


def test_new_things_may_have_the_names_inside_only(house, frames) -> None:
    made = house.limited.fit({"name": "mine-own", "collection": "ward", "task": "t"})
    assert made["name"] == "mine-own"
    house.limited.delete_classifier("mine-own")
    with pytest.raises(ApiError) as caught:
        house.limited.create_collection("ward-2")
    assert (caught.value.status, caught.value.code) == (403, "outside_limits")


def test_a_saved_answer_is_of_the_key_that_got_it(house, frames) -> None:
    said = [{"scan_id": "again", "subject_id": "p7"}]
    options = {"idempotency_key": "the-same"}
    first = house.owner.add_scans("ward", [frames["cyst"][4]], said, **options)
    second = house.limited.add_scans("ward", [frames["cyst"][4]], said, **options)
    repeated = house.owner.add_scans("ward", [frames["cyst"][4]], said, **options)
    assert [item["items"][0]["created"] for item in (first, second, repeated)] == [
        True,
        False,
        True,
    ]
    house.owner.delete_scan("ward", "again")


@pytest.mark.parametrize(
    ("ours", "theirs", "covered"),
    [
        (None, None, True),
        (None, ("a",), True),
        (("a",), None, False),
        (("a",), ("a",), True),
        (("a*",), ("ab", "ac*"), True),
        (("ab*",), ("a*",), False),
        (("a",), ("a*",), False),
        (("a", "b"), (), True),
        ((), ("a",), False),
    ],
)
def test_limits_cover_what_they_allow(ours, theirs, covered) -> None:
    assert NameLimits(ours).covers(NameLimits(theirs)) is covered


def test_what_names_nothing_is_for_unlimited_callers() -> None:
    limits = NameLimits(("a*",))
    assert NameLimits().has(NamedItems())
    assert not limits.has(NamedItems())
    assert limits.has(NamedItems(("ab",), ("any",)))
    assert not limits.has(NamedItems(("ab", "b")))


SAID = {
    "body": "404 or 403 for a name outside",
    "shown": "what is inside",
    "nothing": "the same as any key",
    "refused": "403 `outside_limits`",
}


def test_the_page_says_what_a_limited_key_gets() -> None:
    lines = [
        f"| `{method} {path}` | {SAID[limited]} |"
        for method, path, limited in operations_of_document()
        if limited in SAID
    ]
    text = PAGE.read_text()
    assert [line for line in lines if line not in text.splitlines()] == []
