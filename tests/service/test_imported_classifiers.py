"""No imported document makes a later request fail: it is refused whole, by the path of a field."""

import base64
import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from service.server import LocalService
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import unsigned

Path = tuple[str | int, ...]
Mutation = tuple[str, Any]

REPLACEMENTS: list[Any] = [
    None,
    True,
    "",
    "x" * 5000,
    "a\u0000b",
    "\ud800",
    "e\u0301\n",
    0,
    -1,
    1e300,
    -1e-300,
    10**400,
    [],
    {},
    [[]],
    {"": None},
    [None] * 3000,
]


@pytest.fixture(scope="module")
def ward(tiny: LocalService, frames) -> Iterator[Client]:
    """Scans of two scenes in ``imports``, and the classifiers ``single`` and ``multi`` of them."""
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection("imports")
        for scene in ("cyst", "stone"):
            said = [
                {"scan_id": f"{scene}-{i}", "subject_id": f"p-{scene}-{i}", "labels": {"t": scene}}
                for i in range(8)
            ]
            client.add_scans("imports", frames[scene][:8], said)
        client.fit({"name": "single", "collection": "imports", "task": "t"})
        body = {"name": "multi", "kind": "multi_label", "collection": "imports"}
        client.fit(body | {"tasks": {"t": "cyst"}, "thresholds": {"t": 0.4}})
        body = {"thresholds": [{"label": "cyst", "sensitivity": 0.8}], "publish": True}
        client.set_thresholds("single", body)
        yield client


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place of a document, containers included."""
    yield path
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for key, child in children:
        yield from leaves(child, (*path, key))


def at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def mutated(document: dict[str, Any], path: Path, mutation: Mutation) -> dict[str, Any] | None:
    """The document with one place changed; None where the mutation does not apply."""
    changed = copy.deepcopy(document)
    kind, value = mutation
    parent, last = at(changed, path[:-1]), path[-1]
    old = parent[last]
    if kind == "replace":
        parent[last] = value
    elif kind == "deep":
        for _ in range(value):
            parent[last] = [parent[last]]
    elif kind == "remove":
        del parent[last]
    elif kind == "scale" and isinstance(old, int | float) and not isinstance(old, bool):
        parent[last] = old * value
    elif kind == "text" and isinstance(old, str):
        parent[last] = old + value
    elif kind == "extend" and isinstance(old, list) and old:
        parent[last] = [*old, *([copy.deepcopy(old[-1])] * value)]
    elif kind == "truncate" and isinstance(old, list) and old:
        parent[last] = old[:-1]
    elif kind == "add" and isinstance(old, dict):
        parent[last] = {**old, "further": value}
    elif kind == "bytes" and last == "base64":
        parent[last] = base64.b64encode(value * len(base64.b64decode(old))).decode()
    elif kind == "rename" and isinstance(old, dict) and old:
        name, *rest = old
        parent[last] = {f"{name} ": old[name]} | {key: old[key] for key in rest}
    else:
        return None
    return changed


MUTATIONS: list[Mutation] = [
    *(("replace", value) for value in REPLACEMENTS),
    ("deep", 3),
    ("deep", 400),
    ("remove", None),
    ("scale", -1),
    ("scale", 1e12),
    ("scale", 0.5),
    ("text", " "),
    ("text", "\u0007"),
    ("extend", 1),
    ("truncate", None),
    ("add", 1),
    ("rename", None),
    ("bytes", b"\x00"),
    ("bytes", b"\x01"),
    ("bytes", b"\x3f"),
    ("bytes", b"\x7f"),  # huge floats
    ("bytes", b"\xff"),  # NaN, and -1
]


def used(client: Client, name: str) -> None:
    """Call every route on a classifier. Raises ApiError of 500 and above."""
    path = f"/v1/classifiers/{name}"
    gets = [
        f"{path}",
        "/v1/classifiers",
        f"{path}/versions",
        f"{path}/versions/1",
        f"{path}/versions/1/examples",
        f"{path}/versions/1/export",
        f"{path}/versions/1/export?format=onnx",
        f"{path}/versions/1/thresholds?threshold=0.4",
        f"{path}/versions/1/thresholds?sensitivity=0.9",
        f"{path}/versions/1/confusion",
        f"{path}/versions/1/forecast",
        f"{path}/versions/1/compare?with=1",
        f"{path}/review?kind=suspect",
        f"{path}/review?kind=conflict",
        f"{path}/review?kind=next&collection=imports&task=other",
    ]
    calls: list[tuple[str, str, Any]] = [("GET", address, None) for address in gets]
    scans = {"collection": "imports", "scan_ids": ["cyst-0", "stone-1"]}
    classes = client.classifier(name)["classes"]
    calls.append(("POST", f"{path}/predict?coverage=0.8", scans))
    examples = [{"scan_id": f"cyst-{i}", "label": classes[0]} for i in range(6)]
    examples += [{"scan_id": f"stone-{i}", "label": classes[-1]} for i in range(6)]
    if client.classifier(name)["kind"] == "multi_label":
        examples = [{"scan_id": e["scan_id"], "labels": [e["label"]]} for e in examples]
    body = {"collection": "imports", "examples": examples, "allow_known": True}
    calls.append(("POST", f"{path}/evaluate", body))
    thresholds = [{"label": classes[0], "threshold": 0.3}]
    calls.append(("POST", f"{path}/versions/1/thresholds", {"thresholds": thresholds}))
    calls.append(("POST", f"{path}/versions/1/examples", body | {"publish": True}))
    calls[-1][2].pop("allow_known")
    calls.append(("GET", path, None))
    for method, address, content in calls:
        sent = {} if content is None else {"json": content}
        problem = problem_of(client, address, method, **sent)
        assert problem is None or problem.status < 500, f"{method} {address}: {problem}"


def problem_of(
    client: Client, address: str, method: str = "POST", **request: Any
) -> ApiError | None:
    """The problem that a request gets; None when it succeeds."""
    try:
        client.request(method, address, **request)
    except ApiError as error:
        return error
    return None


def tried(client: Client, document: dict[str, Any], path: Path, mutation: Mutation) -> bool:
    """Whether the document was accepted; then every route works with it."""
    where = f"{path} {mutation[0]} {str(mutation[1])[:40]!r}"
    body = json.dumps({"name": "mutant", "classifier": document})
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"k{random.random()}"}
    refusal = problem_of(client, "/v1/classifiers/import", content=body, headers=headers)
    if refusal is not None:
        assert (refusal.status, refusal.code) in {
            (422, "invalid_artifact"),
            (422, "invalid_input"),  # nested deeper than any JSON body may be
            (422, "validation_error"),  # text that is no Unicode
            (409, "encoder_mismatch"),
        }, f"{where}: {refusal}"
        assert len(str(refusal)) < 2000
        assert "mutant" not in {found["name"] for found in client.classifiers()}, where
        return False
    try:
        used(client, "mutant")
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from error
    finally:
        client.delete_classifier("mutant")
    return True


def every_case(document: dict[str, Any]) -> list[tuple[Path, Mutation]]:
    places = [path for path in leaves(document) if path and path != ("sha256",)]
    return [(path, mutation) for path in places for mutation in MUTATIONS]


@pytest.mark.parametrize("name", ["single", "multi"])
def test_a_drawn_sample_of_changed_documents_breaks_nothing(ward, name) -> None:
    document = unsigned(ward.export(name))
    drawn = random.Random(f"{name} 2").sample(every_case(document), 100)
    outcomes = [
        tried(ward, unsigned(changed), path, mutation)
        for path, mutation in drawn
        if (changed := mutated(document, path, mutation)) is not None
    ]
    assert 0 < sum(outcomes) < len(outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["single", "multi"])
def test_every_changed_document_breaks_nothing(ward, name) -> None:
    document = unsigned(ward.export(name))
    outcomes = [
        tried(ward, unsigned(changed), path, mutation)
        for path, mutation in every_case(document)
        if (changed := mutated(document, path, mutation)) is not None
    ]
    assert 0 < sum(outcomes) < len(outcomes)


def test_a_class_of_one_example_breaks_no_route(ward) -> None:
    """Nothing is imported here: the same calls hold for what the service fits itself."""
    examples = [{"scan_id": f"cyst-{i}", "label": "cyst"} for i in range(7)]
    examples.append({"scan_id": "stone-0", "label": "stone"})
    ward.fit({"name": "lone", "collection": "imports", "examples": examples})
    found = ward.classifier("lone")["report"]
    assert found["labels"][0]["examples_per_class"] == {"cyst": 7, "stone": 1}
    assert found["not_evaluated_because"]
    used(ward, "lone")
    ward.delete_classifier("lone")


def test_the_place_of_a_wrong_value_is_named_and_no_value_or_name(ward) -> None:
    document = ward.export("single")
    wrong = [
        (("heads", 0, "calibration", "temperature"), 0, "heads[0].calibration.temperature"),
        (("heads", 0, "thresholds", "cyst"), 1.5, "heads[0].thresholds.*"),
        (("heads", 0, "arrays", "bias_C", "shape"), [3], "heads[0].arrays.bias_C"),
        (("novelty", "far_from"), -1, "novelty.far_from"),
        (("card", "created_at"), "yesterday", "card.created_at"),
        (("card", "report", "groups"), 10**12, "card.report.groups"),
        (("card", "report", "labels", 0, "recall_per_class"), {"p7": 1}, "recall_per_class"),
        (("card", "report", "labels", 0, "metrics", "auroc", "low"), 0.9999, "metrics.auroc"),
        (("card", "report", "warnings"), ["a\u0007"], "card.report.warnings[0]"),
    ]
    for path, value, named in wrong:
        changed = mutated(document, path, ("replace", value))
        with pytest.raises(ApiError) as caught:
            ward.import_classifier("wrong", unsigned(changed))
        assert caught.value.code == "invalid_artifact"
        assert f"classifier.{named}" in str(caught.value).replace("card.report.labels[0].", "")
        assert not any(word in str(caught.value) for word in ("cyst", "p7", "yesterday"))


def test_two_spellings_of_one_class_are_refused_and_one_is_stored_as_today(ward) -> None:
    document = ward.export("single")
    text = json.dumps(document)
    twice = json.loads(text.replace('"cyst"', '"\u00e9"').replace('"stone"', '"e\u0301 "'))
    with pytest.raises(ApiError, match="two spellings"):
        ward.import_classifier("spelt", unsigned(twice))
    once = json.loads(text.replace('"cyst"', '" e\u0301 "'))
    made = ward.import_classifier("spelt", unsigned(once))
    assert made["classes"] == ["\u00e9", "stone"]
    assert made["report"]["labels"][0]["examples_per_class"] == {"\u00e9": 8, "stone": 8}
    ward.delete_classifier("spelt")


def test_a_card_has_its_limits(ward) -> None:
    for card in ({f"k{i}": 1 for i in range(80)}, {"licence": ["x" * 900] * 60}):
        document = ward.export("single")
        document["card"] |= card
        with pytest.raises(ApiError, match=r"classifier\.card: expected at most"):
            ward.import_classifier("carded", unsigned(document))
