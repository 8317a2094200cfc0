"""Requests that jobs store: what is written is what is read, and nothing else is."""

import json

import pytest

from service.catalog.filter_records import Range, ScanFilter
from service.catalog.records import Author
from service.classifiers.fitting import FitOptions
from service.classifiers.requests import ExampleSelection, FitRequest, ScanExample
from service.errors import InputError


def request() -> FitRequest:
    """One that uses every kind of field."""
    where = ScanFilter(
        labels={"t": ("a", "b")},
        attributes={"depth": (4, 4.5, True, None, "deep")},
        label_presence={"t": True},
        attribute_ranges={"age": Range(40, None, None, 60.5)},
        has_subject=False,
        created=Range("2026-01-01"),
        any_of=(ScanFilter(subject_ids=("p1",)), ScanFilter(none_of=(ScanFilter(),))),
    )
    scans = (
        ScanExample("c", "s1", "a"),
        ScanExample("c", "s2", None, ("x", "y")),
        ScanExample("d", "", None, ()),
    )
    return FitRequest(
        "k",
        ExampleSelection("c", "t", {"fluid": "yes"}, where, scans),
        FitOptions("multi_label", {"a": 2.0}, "frames", {"a": 0.25}, views="examples"),
        Author("key_1", "ward"),
    )


def test_a_request_is_read_from_its_json_as_it_was() -> None:
    document = json.loads(json.dumps(request().to_json()))
    assert FitRequest.from_json(document) == request()


def test_what_is_left_out_has_its_default() -> None:
    assert FitRequest.from_json({"name": "k", "examples": {}}) == FitRequest(
        "k", ExampleSelection()
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nmae": "k"}, "unknown fields"),
        ({"name": 3}, "FitRequest.name"),
        ({"examples": []}, "FitRequest.examples"),
        ({"examples": {"scans": [{"collection": "c", "label": "a"}]}}, "missing fields"),
        ({"examples": {"where": {"has_subject": "yes"}}}, "has_subject"),
        ({"examples": {"tasks": ["t"]}}, "tasks"),
        ({"options": {"kind": "regression"}}, "kind"),
        ({"options": {"views": "queries"}}, "views"),
        ({"options": {"class_weights": {"a": True}}}, "class_weights"),
    ],
)
def test_a_damaged_request_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        FitRequest.from_json({**request().to_json(), **change})


def test_no_object_is_no_request() -> None:
    with pytest.raises(InputError, match="expected an object"):
        FitRequest.from_json(["k"])
    with pytest.raises(InputError, match="missing fields"):
        FitRequest.from_json({"name": "k"})
