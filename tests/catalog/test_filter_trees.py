"""Filters with and, or, not, ranges, presence and times; counts over them; against plain Python."""

import random
from dataclasses import replace

import numpy as np
import pytest

from service.catalog.filter_records import Range, ScanFilter
from service.errors import InputError, UnknownItem

DEVICES = ("handheld", "cart", None, 1, True)


@pytest.fixture
def passing(catalog, ours):
    def ask(**conditions):
        where = ScanFilter(**conditions)
        page = catalog.list_scans(ours, "lungs", where=where, limit=1000)
        row_ids_N = catalog.row_ids_where(ours, "lungs", where)
        assert row_ids_N.tolist() == [scan.row_id for scan in page.items]
        assert catalog.facets(ours, "lungs", where=where).scans == len(page.items)
        return [scan.scan_id for scan in page.items]

    return ask


def test_a_range_takes_numbers_between_its_bounds_and_nothing_else(passing, add):
    ages = {"a": 39, "b": 40, "c": 59.5, "d": 60, "text": "50", "t": True}
    for n, (name, age) in enumerate(ages.items(), start=10):
        add(n, scan_id=name, attributes={"age": age})
    add(7, scan_id="none")
    assert passing(attribute_ranges={"age": Range(least=40, below=60)}) == ["b", "c"]
    assert passing(attribute_ranges={"age": Range(above=40, most=60)}) == ["c", "d"]
    assert passing(attribute_ranges={"age": Range(least=40.0)}) == ["b", "c", "d"]
    assert passing(attribute_ranges={"age": Range(least="4")}) == ["text"]
    assert len(passing(attribute_ranges={"age": Range()})) == 7


def test_a_range_of_text_is_in_code_point_order(passing, add):
    for n, day in enumerate(("2025-12-31", "2026-01-01", "2026-06-30", "2027-01-01")):
        add(n, scan_id=day, attributes={"taken": day})
    span = Range(least="2026-01-01", below="2027-01-01")
    assert passing(attribute_ranges={"taken": span}) == ["2026-01-01", "2026-06-30"]


@pytest.mark.parametrize("span", [Range(least=1, most="2"), Range(least=True)])
def test_a_range_that_mixes_kinds_is_refused(passing, span):
    with pytest.raises(InputError, match="numbers alone, or text alone"):
        passing(attribute_ranges={"age": span})


@pytest.mark.parametrize("bound", [2**63, -(2**63) - 1])
def test_a_bound_over_64_bits_is_refused(passing, bound):
    with pytest.raises(InputError, match="64 bits"):
        passing(attribute_ranges={"age": Range(least=bound)})


def test_presence_tells_a_name_from_no_name_and_counts_null_as_there(passing, add):
    add(1, scan_id="null", attributes={"device": None}, labels={"view": "A"}, subject_id="p")
    add(2, scan_id="none", study_id="s")
    assert passing(attribute_presence={"device": True}) == ["null"]
    assert passing(attribute_presence={"device": False}) == ["none"]
    assert passing(label_presence={"view": False}) == ["none"]
    assert passing(has_subject=True) == passing(has_study=False) == ["null"]
    assert passing(has_subject=False) == passing(has_study=True) == ["none"]


def test_times_are_compared_with_those_of_the_scans(passing, catalog, ours, add):
    for n in range(3):
        add(n, scan_id=f"s{n}")
    moment = catalog.get_scan(ours, "lungs", "s1").created_at
    assert passing(created=Range(least=moment)) == ["s1", "s2"]
    assert passing(created=Range(below=moment)) == ["s0"]
    assert passing(updated=Range(above=moment)) == ["s2"]
    assert passing(created=Range(least="2000-01-01", most="2001-01-01")) == []


def test_not_of_a_condition_passes_exactly_the_others_also_those_of_nobody(passing, add):
    add(1, scan_id="p1", subject_id="p1", labels={"v": "A"})
    add(2, scan_id="p2", subject_id="p2", labels={"v": "B"})
    add(3, scan_id="nobody")
    for inner in (
        ScanFilter(subject_ids=("p1",)),
        ScanFilter(labels={"v": ("A",)}),
        ScanFilter(subject_ids=("p1",), labels={"v": ("A",)}),
    ):
        assert passing(none_of=(inner,)) == ["p2", "nobody"]
    assert passing(none_of=(ScanFilter(),)) == []


def test_a_filter_too_deep_or_with_too_many_conditions_is_refused(passing):
    nested = ScanFilter()
    for _ in range(9):
        nested = ScanFilter(none_of=(nested,))
    passing(all_of=nested.none_of)
    with pytest.raises(InputError, match="deep"):
        passing(all_of=(nested,))
    with pytest.raises(InputError, match="100 conditions"):
        passing(any_of=tuple(ScanFilter(has_study=True) for _ in range(101)))


def python_says(where, scan):
    """The same filter over one scan, in plain Python."""
    named = [scan["labels"].get(name) in values for name, values in where.labels.items()]
    for name, values in where.attributes.items():
        there = name in scan["attributes"]
        found = scan["attributes"].get(name)
        named.append(there and any(type(found) is type(v) and found == v for v in values))
    for name, there in where.attribute_presence.items():
        named.append((name in scan["attributes"]) == there)
    for name, span in where.attribute_ranges.items():
        found = scan["attributes"].get(name)
        named.append(isinstance(found, int) and span.least <= found < span.below)
    if where.subject_ids:
        named.append(scan["subject_id"] in where.subject_ids)
    if where.not_subject_ids:
        named.append(scan["subject_id"] not in where.not_subject_ids)
    if where.has_subject is not None:
        named.append((scan["subject_id"] is not None) == where.has_subject)
    named += [python_says(inner, scan) for inner in where.all_of]
    if where.any_of:
        named.append(any(python_says(inner, scan) for inner in where.any_of))
    return all(named) and not any(python_says(inner, scan) for inner in where.none_of)


def random_filter(rng, depth):
    leaf = rng.choice(
        [
            ScanFilter(labels={"view": tuple(rng.sample("ABC", 2))}),
            ScanFilter(attributes={"device": tuple(rng.sample(DEVICES, 2))}),
            ScanFilter(attribute_presence={"device": rng.random() < 0.5}),
            ScanFilter(attribute_ranges={"age": Range(least=rng.randrange(50), below=70)}),
            ScanFilter(subject_ids=("p1", "p2")),
            ScanFilter(not_subject_ids=("p1",)),
            ScanFilter(has_subject=rng.random() < 0.5),
        ]
    )
    if depth == 0:
        return leaf
    inner = tuple(random_filter(rng, depth - 1) for _ in range(rng.randint(1, 2)))
    return replace(leaf, **{rng.choice(["all_of", "any_of", "none_of"]): inner})


def test_random_filters_pass_what_plain_python_passes(catalog, ours, new_scan):
    rng = random.Random(11)
    told = {}
    for n in range(120):
        attributes = {"age": rng.randrange(100)} if rng.random() < 0.8 else {}
        if rng.random() < 0.8:
            attributes["device"] = rng.choice(DEVICES)
        told[f"s{n}"] = {
            "subject_id": rng.choice(["p1", "p2", "p3", None]),
            "labels": {"view": rng.choice("ABC")} if rng.random() < 0.7 else {},
            "attributes": attributes,
        }
    scans = [new_scan(n, scan_id=f"s{n}", **told[f"s{n}"]) for n in range(120)]
    catalog.add_scans(ours, "lungs", scans, encoder_id="enc_1")
    sizes = []
    for _ in range(150):
        where = random_filter(rng, rng.randint(0, 3))
        page = catalog.list_scans(ours, "lungs", where=where, limit=1000)
        expected = [scan_id for scan_id, scan in told.items() if python_says(where, scan)]
        assert [scan.scan_id for scan in page.items] == expected, where
        sizes.append(len(expected))
    assert np.mean([0 < size < 120 for size in sizes]) > 0.6, "the filters tell scans apart"


def test_facets_count_both_zeros_as_one(catalog, ours, add):
    for n, value in enumerate((-0.0, 0.0, -0.0)):
        add(n, attributes={"depth": value})
    found = catalog.facets(ours, "lungs", where=ScanFilter(), attributes=["depth"])
    assert repr(found.attributes["depth"].values) == "((0.0, 3),)"


def test_facets_count_values_others_and_missing_over_the_filter(catalog, ours, add):
    for n in range(12):
        add(
            n,
            subject_id=f"p{n % 3}",
            study_id=f"s{n % 2}" if n < 6 else None,
            labels={"view": "ABC"[n % 3], "rare": "x"} if n == 0 else {"view": "ABC"[n % 3]},
            attributes={"device": DEVICES[n % 5]} if n < 10 else {},
        )
    every = catalog.facets(ours, "lungs", where=ScanFilter(), attributes=["device"])
    assert (every.scans, every.subjects, every.studies) == (12, 3, 2)
    assert list(every.labels) == ["view", "rare"]
    assert every.labels["view"].values == (("A", 4), ("B", 4), ("C", 4))
    assert (every.labels["rare"].values, every.labels["rare"].missing) == ((("x", 1),), 11)
    device = every.attributes["device"]
    assert {(type(value), value): n for value, n in device.values} == {
        (type(value), value): 2 for value in DEVICES
    }
    assert (device.others, device.missing) == (0, 2)
    one = catalog.facets(
        ours, "lungs", where=ScanFilter(subject_ids=("p0",)), labels=["view", "none"], limit=1
    )
    assert (one.scans, one.labels["view"].values) == (4, (("A", 4),))
    assert (one.labels["none"].values, one.labels["none"].missing) == ((), 4)
    short = catalog.facets(ours, "lungs", where=ScanFilter(), labels=["view"], limit=2)
    assert (short.labels["view"].others, short.labels["view"].missing) == (4, 0)
    with pytest.raises(UnknownItem):
        catalog.facets(ours, "none", where=ScanFilter())
