"""Labels that may be there at once: independent, calibrated, refused where they mean nothing."""

import json

import numpy as np
import onnxruntime
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from service.errors import ArtifactMismatch, EncoderMismatch, InputError, NotEnoughExamples
from service.fewshot.classifier_fit import ClassifierFit, fit_classifier, presence
from service.fewshot.onnx_export import to_onnx
from service.fewshot.portable import (
    from_bytes,
    from_document,
    from_plain,
    to_bytes,
    to_document,
    to_plain,
)
from service.fewshot.report import ClassifierReport

NAMES = ("b_lines", "effusion")


def lungs(seed: int, count: int, spread: float = 1.0) -> tuple[np.ndarray, list[frozenset[str]]]:
    """Rows with a direction per label that is there; both, one or none, a quarter each."""
    axes = np.random.default_rng(0).normal(size=(3, 32))
    rng = np.random.default_rng(seed)
    there = np.arange(count)[:, None] % 4 // np.array([1, 2]) % 2 == 1
    rows = axes[2] + there @ axes[:2] + spread * rng.normal(size=(count, 32))
    names = [
        frozenset(n for n, is_there in zip(NAMES, row, strict=True) if is_there) for row in there
    ]
    return rows.astype(np.float32), names


def made(count: int = 48, spread: float = 1.0, **options) -> tuple[ClassifierFit, np.ndarray]:
    rows, labels = lungs(1, count, spread)
    groups = [str(i) for i in range(count)]
    return fit_classifier(rows, presence(labels), groups, encoder_id="e", **options), rows


def test_the_labels_of_strangers_are_found_one_by_one_and_together() -> None:
    found, _ = made()
    rows, labels = lungs(2, 80)
    predictions = found.classifier.predict(rows, 0.9).rows
    called = [
        frozenset(o.label for o in row.outputs if o.probability >= o.threshold)
        for row in predictions
    ]
    right = [
        [(name in c) == (name in t) for c, t in zip(called, labels, strict=True)] for name in NAMES
    ]
    assert np.mean(right, axis=1).min() > 0.75
    assert frozenset() in called
    assert frozenset(NAMES) in called
    truths = [[("present" if name in t else "absent") for name in NAMES] for t in labels]
    covered = [
        truth in output.prediction_set
        for row, of_row in zip(predictions, truths, strict=True)
        for output, truth in zip(row.outputs, of_row, strict=True)
    ]
    assert np.mean(covered) > 0.85  # 90 % were asked for; 160 sets


def test_probabilities_equal_scikit_learns_one_against_the_rest() -> None:
    found, rows = made()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    truth = np.array([[name in t for name in NAMES] for t in lungs(1, 48)[1]])
    # Two weight vectors share the penalty that it puts on their difference: C counts twice.
    peer = OneVsRestClassifier(
        LogisticRegression(C=20, class_weight="balanced", tol=1e-8, max_iter=10_000)
    ).fit(unit, truth)
    plain = np.stack(
        [h.head.probabilities(rows)[:, 1] for h in found.classifier.heads.values()], axis=1
    )
    # Two iterative solvers, each stopped at its own tolerance.
    np.testing.assert_allclose(plain, peer.predict_proba(unit), atol=2e-3)


def test_the_report_tells_of_each_label_and_of_its_threshold() -> None:
    found, _ = made(spread=2.0, thresholds={"effusion": 0.2})
    report = json.loads(json.dumps(to_plain(found.report)))
    assert [head["label"] for head in report["labels"]] == list(NAMES)
    assert report["examples_without_label"] == 12
    effusion = report["labels"][1]
    assert effusion["calibration"]["not_calibrated_because"] is None
    (point,) = effusion["thresholds"]
    assert (point["label"], point["threshold"]) == ("effusion", 0.2)
    (usual,) = made(spread=2.0)[0].report.labels[1].thresholds
    assert point["sensitivity"]["value"] >= usual.sensitivity.value
    assert point["specificity"]["value"] < usual.specificity.value
    scores = [head["balanced_accuracy"] for head in report["labels"]]
    assert report["balanced_accuracy"] == pytest.approx(np.mean(scores), abs=1e-4)
    assert from_plain(ClassifierReport, report) == found.report


def test_a_stored_classifier_answers_the_same_and_refuses_damage_and_strangers() -> None:
    found, rows = made()
    data = to_bytes(found.classifier)
    back = from_bytes(data, encoder_id="e")
    assert back.predict(rows, 0.8).rows == found.classifier.predict(rows, 0.8).rows
    with pytest.raises(EncoderMismatch):
        from_bytes(data, encoder_id="other")
    document = to_document(found.classifier)
    for change in ({"format_version": 2}, {"heads": []}, {"sha256": "0"}, {"novelty": None}):
        with pytest.raises(ArtifactMismatch):
            from_document(document | change)
    for damaged in (data[:-20], b"[]", b"{}", b"\x00"):
        with pytest.raises(ArtifactMismatch):
            from_bytes(damaged)


def test_the_onnx_network_gives_the_same_probabilities() -> None:
    found, rows = made()
    session = onnxruntime.InferenceSession(to_onnx(found.classifier, {"name": "lung"}))
    (shares,) = session.run(None, {"embedding": rows})
    heads = found.classifier.heads.values()
    wanted = np.stack([head.probabilities(rows)[:, 1] for head in heads], axis=1)
    np.testing.assert_allclose(shares, wanted, atol=1e-5)  # float32
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(NAMES)


@pytest.mark.parametrize(
    ("labels", "options", "error"),
    [
        ([[], [], []], {}, NotEnoughExamples),
        ([["a"], ["a"], ["a"]], {}, NotEnoughExamples),
        ([["a"], [" "], []], {}, InputError),
        ([["a"], ["x" * 10_000], []], {}, InputError),
        ([["a"], ["b"], []], {"thresholds": {"c": 0.5}}, InputError),
        ([["a"], ["b"], []], {"thresholds": {"a": 1.5}}, InputError),
        ([["a"], ["b"], []], {"thresholds": {"a": float("nan")}}, InputError),
        ([["a"], ["b"], []], {"weights": {"c": 2.0}}, InputError),
        ([[f"l{i}" for i in range(65)], [], []], {}, InputError),
    ],
)
def test_labels_that_teach_nothing_are_refused(labels, options, error) -> None:
    with pytest.raises(error):
        fit_classifier(
            np.eye(3),
            presence([frozenset(n) for n in labels]),
            list("123"),
            encoder_id="e",
            **options,
        )


def test_rows_that_are_no_numbers_are_refused() -> None:
    rows, labels = lungs(1, 8)
    rows[3, 3] = np.nan
    with pytest.raises(InputError):
        fit_classifier(rows, presence(labels), list("12345678"), encoder_id="e")
