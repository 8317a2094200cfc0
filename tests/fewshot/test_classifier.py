"""Predictions say what they promise, and abstain where they cannot tell."""

import numpy as np
import pytest

from service.errors import InputError
from service.fewshot.classifier import Abstention, FewShotClassifier
from service.fewshot.classifier_fit import fit_classifier, presence
from tests.fewshot.drawing import drawn


@pytest.fixture(scope="module")
def classes() -> FewShotClassifier:
    """Three classes around drawn centres."""
    rows, labels, groups = drawn(3, 20, 1.5)
    return fit_classifier(rows, {None: labels}, groups, encoder_id="e").classifier


@pytest.fixture(scope="module")
def labels() -> FewShotClassifier:
    """Two labels, of which ``b`` has a threshold."""
    rows, names, groups = drawn(3, 20, 1.5)
    there = [frozenset({"a"} if n == "c0" else {"a", "b"} if n == "c1" else ()) for n in names]
    fit = fit_classifier(rows, presence(there), groups, encoder_id="e", thresholds={"b": 0.3})
    return fit.classifier


def between(classifier: FewShotClassifier) -> np.ndarray:
    """Rows of a class, of nothing, and on the edge of two classes."""
    centres = np.random.default_rng(0).normal(size=(3, 32))
    path = centres[0] + np.linspace(0, 1, 1001)[:, None] * (centres[1] - centres[0])
    head = classifier.heads[None].head
    middle = path[np.abs(head.logits(path) @ [1, -1, 0]).argmin()]
    return np.stack([centres[2], -centres[2], middle])


def test_an_answer_is_given_or_it_is_said_why_not(classes) -> None:
    assert classes.not_calibrated_because is None
    sure, far, doubtful = classes.predict(between(classes), 0.8).rows
    assert (sure.decision, sure.label, sure.most_probable) == ("called", "c2", "c2")
    assert [output.called for output in sure.outputs] == [False, False, True]
    assert far.abstained == Abstention("far_from_every_example")
    assert doubtful.abstained.because == "ambiguous"
    assert set(doubtful.abstained.between) == {"c0", "c1"}


def test_what_a_client_would_show_is_empty_when_abstained(classes) -> None:
    why = ["blank", "frozen", "not_ultrasound"]
    rows = classes.predict(between(classes), 0.8, unusable_N=why).rows
    for row, reason in zip(rows, why, strict=True):
        assert (row.decision, row.label) == ("abstained", None)
        assert row.abstained == Abstention(reason)
        assert {output.called for output in row.outputs} == {None}
        assert row.most_probable in classes.labels


def test_thresholds_call_several_classes_or_none(classes) -> None:
    (row,) = classes.predict(between(classes)[:1], 0.8, thresholds={"c0": 0.0, "c2": 0.0}).rows
    assert [(o.called, o.set_by) for o in row.outputs] == [
        (True, "request"),
        (False, "default"),
        (True, "request"),
    ]
    assert row.label == "c2"
    (row,) = classes.with_thresholds({"c2": 1.0}).predict(between(classes)[:1], 0.8).rows
    assert [(o.threshold, o.called, o.set_by) for o in row.outputs][2] == (1.0, False, "version")
    assert (row.decision, row.label) == ("called", None)


def test_a_class_that_reaches_its_threshold_is_the_answer_also_where_another_is_more_probable(
    classes,
) -> None:
    """So the sensitivity of an operating point is that of the answers."""
    rows = classes.predict(drawn(8, 60, 4.0)[0], 0.8, thresholds={"c1": 0.1}).rows
    answered = [row for row in rows if row.abstained is None]
    reached = [row for row in answered if row.outputs[1].probability >= 0.1]
    assert any(row.most_probable != "c1" for row in reached)
    for row in reached:
        assert row.label == "c1"
        assert [output.called for output in row.outputs] == [False, True, False]
    for row in answered:
        if row not in reached:
            assert row.label == row.most_probable != "c1"


def test_of_several_classes_that_reach_their_thresholds_the_farthest_above_is_the_answer(
    classes,
) -> None:
    thresholds = {"c0": 0.02, "c1": 0.6}
    rows = classes.predict(drawn(8, 60, 4.0)[0], 0.8, thresholds=thresholds).rows
    both = [row for row in rows if row.outputs[0].called and row.outputs[1].called]
    assert {row.label for row in both} == {"c0", "c1"}
    for row in both:
        c0, c1 = (output.probability - output.threshold for output in row.outputs[:2])
        assert row.label == ("c0" if c0 > c1 else "c1")


def test_a_label_is_called_at_its_threshold_and_doubted_near_it(labels) -> None:
    rows = drawn(8, 30, 1.5)[0]
    for row in labels.predict(rows, 0.8).rows:
        assert [(o.threshold, o.set_by) for o in row.outputs] == [
            (0.5, "default"),
            (0.3, "version"),
        ]
        for output in row.outputs:
            margin = labels.heads[output.label].calibrator.min_margin
            near = abs(output.probability - output.threshold) < margin / 2
            assert (output.abstained_because == "ambiguous") == near
            called = output.probability >= output.threshold
            assert output.called == (None if row.abstained or near else called)
        assert row.label is None
        can_be = [o.label for o in row.outputs if "present" in o.prediction_set]
        assert list(row.prediction_set) == can_be


@pytest.mark.parametrize("thresholds", [{"c9": 0.5}, {"c0": 1.1}, {"c0": float("nan")}])
def test_thresholds_of_no_class_or_out_of_range_are_refused(classes, thresholds) -> None:
    with pytest.raises(InputError):
        classes.predict(np.eye(1, 32), 0.8, thresholds=thresholds)


@pytest.mark.parametrize("thresholds", [{"c": 0.5}, {"a": 0.0}, {"a": 1.0}])
def test_thresholds_that_no_label_can_have_are_refused(labels, thresholds) -> None:
    with pytest.raises(InputError):
        labels.with_thresholds(thresholds)


def test_without_anchors_there_are_no_distances_and_nothing_is_far(classes) -> None:
    rows = classes.without_anchors().predict(between(classes), 0.8).rows
    assert {(row.distance, row.distance_percentile) for row in rows} == {(None, None)}
    assert "far_from_every_example" not in {row.abstained and row.abstained.because for row in rows}


def test_one_example_per_class_gives_answers_that_admit_what_is_not_known() -> None:
    rows, names, groups = drawn(4, 1, 0.5, classes=100)
    classifier = fit_classifier(rows, {None: names}, groups, encoder_id="e").classifier
    assert "a temperature needs" in classifier.not_calibrated_because
    predictions = classifier.predict(rows[:1], 0.9)
    assert predictions.sets[None].members_NC is None
    assert predictions.rows[0].prediction_set is None
    assert predictions.rows[0].most_probable == "c0"
