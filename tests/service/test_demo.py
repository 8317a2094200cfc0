"""The demo's split: no group on both sides."""

import random

import pytest

from service.cli.demo import StoredExample, split
from service.errors import NotEnoughExamples


def test_labelled_frames_come_from_distinct_groups_and_never_from_the_rest() -> None:
    stored = [
        StoredExample(f"{c}{g}{i}", c, f"{c}{g}") for c in "ab" for g in range(6) for i in range(3)
    ]
    for seed in range(20):
        train, rest = split(stored, 4, random.Random(seed))
        groups = [scan.group for scan in train]
        assert len(set(groups)) == len(groups) == 8
        assert not {scan.group for scan in rest} & set(groups)
        assert len(rest) == 12


def test_a_group_of_both_classes_is_used_once() -> None:
    stored = [StoredExample(f"{c}{g}", c, f"{g}") for c in "ab" for g in range(9)]
    train, rest = split(stored, 4, random.Random(0))
    assert len({scan.group for scan in train}) == 8
    assert {scan.group for scan in rest} == {scan.group for scan in stored} - {
        scan.group for scan in train
    }


def test_a_class_without_frames_for_the_evaluation_is_refused() -> None:
    stored = [StoredExample(f"{c}{g}", c, f"{c}{g}") for c in "ab" for g in range(4)]
    with pytest.raises(NotEnoughExamples, match="more than 4 groups"):
        split(stored, 4, random.Random(0))
