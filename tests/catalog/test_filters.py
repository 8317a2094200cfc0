"""Filters of scans in the catalog, each condition kind by itself and joined."""

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.errors import InputError

ODD_NAMES = [
    'a"b',
    "a.b",
    "$.x",
    "it's",
    "[0]",
    "back\\slash",
    "é\u2028",
    "😀",
    "%_",
    "a\u00a0b",
    "e\u0301",
]


@pytest.fixture
def passing(catalog, ours):
    """Which scan ids pass a filter, in order; both ways of asking must agree."""

    def ask(**conditions):
        where = ScanFilter(**conditions)
        page = catalog.list_scans(ours, "lungs", where=where, limit=100)
        row_ids_N = catalog.row_ids_where(ours, "lungs", where)
        assert row_ids_N.dtype == np.int64
        assert row_ids_N.tolist() == [scan.row_id for scan in page.items]
        return [scan.scan_id for scan in page.items]

    return ask


def test_the_empty_filter_passes_everything(passing, add):
    ids = [add(n) for n in range(3)]
    assert passing() == ids


def test_a_label_passes_with_any_of_the_values(passing, add):
    add(1, scan_id="a", labels={"view": "A"})
    add(2, scan_id="b", labels={"view": "B"})
    add(3, scan_id="c", labels={"view": "C"})
    add(4, scan_id="none")
    assert passing(labels={"view": ("A", "C", "Z")}) == ["a", "c"]


def test_all_conditions_must_pass(passing, add):
    add(1, scan_id="both", labels={"view": "A", "side": "left"}, attributes={"age": 3})
    add(2, scan_id="view", labels={"view": "A", "side": "right"}, attributes={"age": 3})
    add(3, scan_id="side", labels={"view": "A", "side": "left"}, attributes={"age": 4})
    where = {"labels": {"view": ("A",), "side": ("left",)}, "attributes": {"age": (3,)}}
    assert passing(**where) == ["both"]


def test_no_values_are_no_condition(passing, add):
    add(1, scan_id="a")
    assert passing(labels={"view": ()}, attributes={"age": ()}, subject_ids=()) == ["a"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_and_value_can_be_asked_for(passing, add, name):
    add(1, scan_id="hit", labels={name: name}, attributes={name: name})
    add(2, scan_id="other", labels={name: "x", "x": name}, attributes={name: "x", "x": name})
    assert passing(labels={name: (name,)}) == ["hit"]
    assert passing(attributes={name: (name,)}) == ["hit"]


def test_names_that_look_like_json_paths_reach_no_nested_name(passing, add):
    add(1, labels={"a": "1"}, attributes={"a": 1})
    assert passing(labels={"$.a": ("1",)}) == []
    assert passing(attributes={"$.a": (1,)}) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((True,), ["true"]),
        ((False,), ["false"]),
        ((1,), ["one", "one_point_zero"]),
        ((0,), ["zero"]),
        ((1.0,), ["one", "one_point_zero"]),
        ((0.1,), ["tenth"]),
        ((None,), ["null"]),
        (("1",), ["text_1"]),
        (("true",), ["text_true"]),
        (("null",), ["text_null"]),
        ((-(2**63),), ["lowest"]),
        ((True, 0, "1", None), ["true", "zero", "text_1", "null"]),
        ((2**63,), []),
        ((float("nan"), float("inf")), []),
    ],
)
def test_attributes_of_different_types_are_not_confused(passing, add, wanted, expected):
    values = {
        "true": True,
        "false": False,
        "one": 1,
        "one_point_zero": 1.0,
        "zero": 0,
        "tenth": 0.1,
        "text_1": "1",
        "text_true": "true",
        "text_null": "null",
        "null": None,
        "lowest": -(2**63),
    }
    for n, (scan_id, value) in enumerate(values.items()):
        add(n, scan_id=scan_id, attributes={"x": value})
    add(99, scan_id="absent")
    assert passing(attributes={"x": wanted}) == expected


@pytest.fixture
def people(add):
    add(1, scan_id="p1", subject_id="1", study_id="s1")
    add(2, scan_id="p2", subject_id="2", study_id="s2")
    add(3, scan_id="nobody")


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("field", ["subject_ids", "study_ids"])
def test_subjects_and_studies_pass_by_id(passing, field):
    assert passing(**{field: ("1", "s1", "9")}) == ["p1"]


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("field", ["not_subject_ids", "not_study_ids"])
def test_excluding_ids_keeps_scans_that_have_none(passing, field):
    assert passing(**{field: ("1", "s1")}) == ["p2", "nobody"]


@pytest.mark.parametrize("text", ["nul\0", "\ud800"])
def test_text_that_cannot_be_stored_passes_nothing_and_excludes_nothing(passing, add, text):
    add(1, scan_id="a", subject_id="nul", labels={"nul": "nul"}, attributes={"nul": "nul"})
    assert passing(labels={"nul": (text,)}) == []
    assert passing(labels={text: ("nul",)}) == []
    assert passing(attributes={text: ("nul",)}) == []
    assert passing(subject_ids=(text,)) == []
    assert passing(not_subject_ids=(text,)) == ["a"]


def test_more_values_than_a_statement_has_variables_are_one_condition(passing, add):
    add(1, scan_id="a", subject_id="39999", labels={"x": "39999"})
    add(2, scan_id="b", subject_id="y", labels={"x": "y"})
    many = tuple(str(n) for n in range(40_000))
    assert passing(subject_ids=many, labels={"x": many}) == ["a"]
    assert passing(not_subject_ids=many) == ["b"]


def test_a_hundred_named_conditions_are_answered(passing, add):
    add(1, scan_id="a", labels={str(n): "x" for n in range(100)})
    assert passing(labels={str(n): ("x",) for n in range(100)}) == ["a"]


def test_more_named_conditions_than_that_are_too_many(passing):
    with pytest.raises(InputError, match="100 conditions"):
        passing(labels={str(n): ("x",) for n in range(101)})
