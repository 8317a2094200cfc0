"""What a request could mean in two ways is refused, and never answered in one of them."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BeforeValidator

from service.api.shapes.base import DISTINCT_NAMES
from service.app import create_app
from service.server import LocalService
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import bodies_of_routes, refused

WARD = "ambiguous"


@pytest.fixture(scope="module")
def client(tiny: LocalService, frames) -> Iterator[Client]:
    with Client(tiny.url, key=tiny.key) as session:
        session.create_collection(WARD)
        facts: list[dict[str, Any]] = [
            {"scan_id": f"s{n}", "subject_id": f"p{n}", "labels": {"t": "ab"[n % 2]}}
            for n in range(4)
        ]
        facts[0]["attributes"] = {"age": 40, "note": '"x"', "flag": True}
        facts[1]["attributes"] = {"age": 1, "note": "x"}
        session.add_scans(WARD, frames["cyst"][:4], facts)
        yield session


def count(client: Client, where: dict[str, Any]) -> int:
    path = f"/v1/collections/{WARD}/facets"
    return int(client.request("POST", path, json={"filter": where}).json()["scans"])


@pytest.mark.parametrize(
    "where",
    [
        {"subject_id": []},
        {"study_id": []},
        {"labels": {"t": []}},
        {"attributes": {"age": []}},
        {"attributes": {"age": {"in": []}}},
        {"not": {"subject_id": []}},
    ],
)
def test_a_condition_without_values_is_refused_and_does_not_pass_all_scans(
    client: Client, where: dict[str, Any]
) -> None:
    with refused("validation_error", 422):
        count(client, where)


def test_a_list_of_values_to_leave_out_may_be_empty(client: Client) -> None:
    assert count(client, {"not_subject_id": [], "attributes": {"age": {"not_in": []}}}) == 4


@pytest.mark.parametrize(
    "where",
    [
        {"labels": {"t": "a", " t": "b"}},
        {"attributes": {"age": 40, "age ": 1}},
        {"attributes": {"Gr\u00f6\u00dfe": 1, "Gro\u0308\u00dfe": 2}},
    ],
)
def test_two_names_of_a_filter_that_are_one_text_are_refused(
    client: Client, where: dict[str, Any]
) -> None:
    with refused("validation_error", 422):
        count(client, where)


@pytest.mark.parametrize("time", [20260131, 1.5, "20260131", "1769817600", "2026", True])
def test_a_number_is_no_time(client: Client, time: object) -> None:
    with refused("validation_error", 422):
        count(client, {"created_at": {"gte": time}})
    with refused("validation_error", 422):
        client.request("POST", "/v1/keys", json={"name": "k", "expires_at": time})


def test_a_number_is_no_time_of_the_audit_log(local: LocalService) -> None:
    with Client(local.url, key=local.key) as session:
        for time in ("20260131", "1769817600"):
            with refused("validation_error", 422):
                session.request("GET", "/v1/audit", params={"since": time})
        assert session.request("GET", "/v1/audit", params={"since": "2026-01-31T00:00Z"}).json()


def test_a_written_time_counts_as_before(client: Client) -> None:
    for time in (
        "2026-01-31",
        "2026-01-31T09:30",
        "2026-01-31T09:30:00.5+01:00",
        "2026-01-31 09:30",
    ):
        assert count(client, {"created_at": {"gte": time}}) == 4
        assert count(client, {"created_at": {"lt": time}}) == 0


def test_a_truth_value_is_no_bound_of_a_range(client: Client) -> None:
    with refused("validation_error", 422):
        count(client, {"attributes": {"age": {"gte": True}}})
    assert count(client, {"attributes": {"age": {"gte": 1, "lt": 40.0}}}) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/classifiers", {"class_weights": {"a": 2, "a ": 1}}),
        ("/v1/classifiers", {"kind": "multi_label", "tasks": {"t": "a", "t ": "b"}}),
        ("/v1/classifiers", {"kind": "multi_label", "thresholds": {"a": 0.1, "a ": 0.9}}),
    ],
)
def test_two_classes_or_tasks_of_a_fit_that_are_one_text_are_refused(
    client: Client, path: str, body: dict[str, Any]
) -> None:
    single = {} if "tasks" in body else {"task": "t"}
    with pytest.raises(Exception, match="two names are the same text"):
        client.request("POST", path, json={"name": "x", "collection": WARD, **single, **body})


def test_every_object_of_a_request_whose_names_are_settled_is_guarded(tmp_path) -> None:
    create_app(Settings(data_dir=tmp_path))  # imports every body
    unguarded, guarded = [], 0
    for body in bodies_of_routes():
        for name, field in body.model_fields.items():
            for mapping, metadata in _mappings(field.annotation, tuple(field.metadata)):
                if any(isinstance(m, BeforeValidator) for m in _metadata(get_args(mapping)[0])):
                    guarded += DISTINCT_NAMES in metadata
                    unguarded += [] if DISTINCT_NAMES in metadata else [f"{body.__name__}.{name}"]
    assert unguarded == []
    assert guarded >= 8


def _metadata(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__metadata__", ())


def _mappings(annotation: Any, metadata: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Every ``dict[...]`` in a type, with what is said about it."""
    if getattr(annotation, "__origin__", None) is dict:
        yield annotation, metadata
        return
    inner = get_args(annotation)[:1] if _metadata(annotation) else get_args(annotation)
    for part in inner:
        yield from _mappings(part, metadata + _metadata(annotation) + _metadata(part))


@pytest.mark.parametrize(
    ("attribute", "scans"),
    [
        (r'note:"\"x\""', ["s0"]),
        ('note:"x"', ["s1"]),
        ("note:x", ["s1"]),
        ("age:40", ["s0"]),
        ("flag:true", ["s0"]),
    ],
)
def test_an_attribute_in_the_address_is_json_or_else_text_as_it_stands(
    client: Client, attribute: str, scans: list[str]
) -> None:
    parameters = {"attribute": attribute}
    answer = client.request("GET", f"/v1/collections/{WARD}/scans", params=parameters)
    assert [scan["scan_id"] for scan in answer.json()["items"]] == scans
