"""Counts of answers and outcomes of predictions in the catalog."""

import threading

import numpy as np
import pytest

from service.catalog.ids import subject_digest
from service.catalog.monitoring.monitoring_records import (
    MAX_NAMES,
    OTHER,
    Outcome,
    UsageWindows,
    summed,
)
from service.catalog.records import NewExample, NewVersion
from service.errors import UnknownItem

WINDOWS = UsageWindows(slot_s=600, kept_slots=10, block_answers=50, kept_blocks=3)


@pytest.fixture
def ours_with_k(catalog, ours):
    """The workspace and the id of its classifier ``k``."""
    embedding_D = np.ones(8, np.float32)
    example = NewExample("a", 1, sha256="s", embedding_D=embedding_D)
    version = NewVersion("enc_1", ("a", "b"), b"npz", {}, examples=(example,))
    return ours, catalog.create_classifier(ours, "k", version).classifier_id


def add(catalog, who, answers, **counts):
    return catalog.add_usage(*who, 1, counts, answers=answers, windows=WINDOWS)


def outcome(n, patient=None, actual=("a",)):
    return Outcome(f"prd_{n}", patient, {"a": 0.75, "b": 0.25}, False, actual)


def test_counts_of_all_stores_add_up(catalog, ours_with_k):
    add(catalog, ours_with_k, 3, called=[1, 2], abstained={"blank": 1})
    add(catalog, ours_with_k, 2, called=[2, 0], abstained={"blank": 1, "far": 4})
    (total,) = catalog.usage(*ours_with_k, 1, "total")
    assert total.answers == 5
    assert total.counts == {"called": [3, 2], "abstained": {"blank": 2, "far": 4}}
    slots = catalog.usage(*ours_with_k, 1, "slot")
    assert sum(slot.answers for slot in slots) == 5


def test_a_full_block_is_told_once_and_old_ones_go(catalog, ours_with_k):
    filled = [add(catalog, ours_with_k, 30, n=30) for _ in range(12)]
    assert filled == [None, 0, None, 1, None, 2, None, 3, None, 4, None, 5]
    blocks = catalog.usage(*ours_with_k, 1, "block")
    assert [(b.number, b.answers, b.counts) for b in blocks] == [
        (3, 60, {"n": 60}),
        (4, 60, {"n": 60}),
        (5, 60, {"n": 60}),
    ]
    assert [b.number for b in catalog.usage(*ours_with_k, 1, "block", since=5)] == [5]


def test_several_processes_fill_one_block_after_the_other(place, catalog, ours_with_k, opened):
    catalogs = [catalog, catalog if place.address.endswith("data") else opened()]
    told: list[int | None] = []

    def work(which):
        for _ in range(20):
            told.append(add(which, ours_with_k, 10, n=10))

    threads = [threading.Thread(target=work, args=[which]) for which in catalogs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(block for block in told if block is not None) == list(range(8))
    (total,) = catalog.usage(*ours_with_k, 1, "total")
    assert (total.answers, total.counts) == (400, {"n": 400})


def test_a_second_outcome_of_a_prediction_replaces_the_first(catalog, ours_with_k):
    assert catalog.put_outcomes(*ours_with_k, 1, [outcome(1), outcome(2)], keep=10) == 2
    later = outcome(1, actual=("b",))
    assert catalog.put_outcomes(*ours_with_k, 1, [later, outcome(3)], keep=10) == 1
    found = catalog.outcomes(*ours_with_k, 1)
    assert {o.prediction_id: o.actual for o in found} == {
        "prd_1": ("b",),
        "prd_2": ("a",),
        "prd_3": ("a",),
    }


def test_only_the_newest_outcomes_are_kept(catalog, ours_with_k):
    for n in range(5):
        catalog.put_outcomes(*ours_with_k, 1, [outcome(n)], keep=3)
    assert [o.prediction_id for o in catalog.outcomes(*ours_with_k, 1)] == [
        "prd_2",
        "prd_3",
        "prd_4",
    ]


def test_an_erased_subject_leaves_no_outcome(catalog, ours_with_k):
    ours, _ = ours_with_k
    theirs = subject_digest(ours, "P-2")
    stored = [outcome(1, subject_digest(ours, "P-1")), outcome(2, theirs), outcome(3)]
    catalog.put_outcomes(*ours_with_k, 1, stored, keep=10)
    held, _ = catalog.subject(ours, "P-1", limit=9)
    assert (held.outcomes, held.collections) == (1, ())
    catalog.erase_subject(ours, "P-1")  # nothing else is held of it
    assert [o.prediction_id for o in catalog.outcomes(*ours_with_k, 1)] == ["prd_2", "prd_3"]
    with pytest.raises(UnknownItem):
        catalog.subject(ours, "P-1", limit=9)
    with pytest.raises(UnknownItem):
        catalog.erase_subject(ours, "P-1")


def test_the_use_of_a_classifier_goes_with_it(catalog, ours_with_k, edit):
    ours, _ = ours_with_k
    add(catalog, ours_with_k, 1, n=1)
    catalog.put_outcomes(*ours_with_k, 1, [outcome(1)], keep=10)
    catalog.delete_classifier(ours, "k")
    assert edit("SELECT 1 FROM classifier_usage") == []
    assert edit("SELECT 1 FROM classifier_outcomes") == []
    with pytest.raises(UnknownItem):
        add(catalog, ours_with_k, 1, n=1)
    with pytest.raises(UnknownItem):
        catalog.put_outcomes(*ours_with_k, 1, [outcome(1)], keep=10)
    assert catalog.usage(*ours_with_k, 1, "total") == ()


def test_other_workspaces_see_and_count_nothing(catalog, ours_with_k, theirs):
    _, classifier_id = ours_with_k
    add(catalog, ours_with_k, 1, n=1)
    catalog.put_outcomes(*ours_with_k, 1, [outcome(1)], keep=10)
    assert catalog.usage(theirs, classifier_id, 1, "total") == ()
    assert catalog.outcomes(theirs, classifier_id, 1) == ()
    with pytest.raises(UnknownItem):
        add(catalog, (theirs, classifier_id), 1, n=1)


def test_named_counts_stay_bounded_and_keep_their_sum():
    total = {}
    for n in range(200):
        total = summed(total, {"machines": {f"m{n}": 1, "often": 1}})
    assert len(total["machines"]) <= MAX_NAMES
    assert total["machines"]["often"] == 200
    assert sum(total["machines"].values()) == 400
    assert total["machines"][OTHER] > 0
