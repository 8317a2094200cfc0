"""Out-of-fold scores are kept with a version and come back as they were."""

import numpy as np
import pytest

from service.errors import ArtifactMismatch
from service.fewshot.classifier_fit import fit_classifier, presence
from service.fewshot.heldout import OutOfFold
from service.fewshot.large_fits.samples import LARGE
from tests.fewshot.drawing import drawn


def scores(groups: int, *, with_labels: bool = False, **options) -> OutOfFold:
    rows, names, patients = drawn(0, groups, 2.0, classes=2, dim=8)
    there = [frozenset({"a"} if name == "c0" else {"b"}) for name in names]
    targets = presence(there) if with_labels else {None: names}
    return fit_classifier(rows, targets, patients, encoder_id="e", **options).out_of_fold


@pytest.mark.parametrize("with_labels", [False, True])
@pytest.mark.parametrize("groups", [1, 12, 110])
def test_scores_come_back_equal(groups: int, with_labels: bool) -> None:
    kept = scores(groups, with_labels=with_labels, weights={"a" if with_labels else "c0": 2.0})
    back = OutOfFold.from_bytes(kept.to_bytes())
    assert back.heads.keys() == kept.heads.keys()
    for label, head in kept.heads.items():
        for ours, theirs in (
            (head.nested, back.heads[label].nested),
            (head.chosen, back.heads[label].chosen),
        ):
            assert ours.classes == theirs.classes
            np.testing.assert_array_equal(ours.logits_NC, theirs.logits_NC)
            np.testing.assert_array_equal(ours.labels_N, theirs.labels_N)
            np.testing.assert_array_equal(ours.groups_N, theirs.groups_N)
            weights = [
                None if h.class_weights_C is None else h.class_weights_C.tolist()
                for h in (ours, theirs)
            ]
            assert weights[0] == weights[1]


def test_of_very_many_examples_only_the_scored_ones_take_room() -> None:
    kept = scores(LARGE // 2 + 1)
    assert len(kept) == LARGE + 2
    assert len(kept.to_bytes()) < 80_000
    back = OutOfFold.from_bytes(kept.to_bytes())
    assert back.heads[None].nested.is_scored.sum() == 1000


def test_rows_whose_examples_are_gone_are_left_out() -> None:
    kept = scores(6)
    some = kept.rows(np.array([0, 3, 9]))
    assert len(some) == 3
    np.testing.assert_array_equal(
        some.heads[None].nested.labels_N, kept.heads[None].nested.labels_N[[0, 3, 9]]
    )


def test_damage_and_other_formats_are_refused() -> None:
    data = scores(6).to_bytes()
    for damaged in (data[: len(data) // 2], b"", b"\x00" * 100):
        with pytest.raises(ArtifactMismatch):
            OutOfFold.from_bytes(damaged)
