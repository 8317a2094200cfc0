"""Labels that may be there at once: independent, calibrated, refused where they mean nothing."""

import json

import numpy as np
import onnxruntime
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from service.errors import ArtifactMismatch, EncoderMismatch, InputError, NotEnoughExamples
from service.fewshot.multilabel import MultiLabelFit, fit_labels
from service.fewshot.multilabel_files import (
    from_labels_bytes,
    from_labels_document,
    to_labels_bytes,
    to_labels_document,
    to_labels_onnx,
)

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


def made(count: int = 48, spread: float = 1.0, **options) -> tuple[MultiLabelFit, np.ndarray]:
    rows, labels = lungs(1, count, spread)
    groups = [str(i) for i in range(count)]
    return fit_labels(rows, labels, groups, encoder_id="e", **options), rows


def test_the_labels_of_strangers_are_found_one_by_one_and_together() -> None:
    found, _ = made()
    rows, labels = lungs(2, 80)
    answers = found.made.answers(rows, 0.9)
    called = [frozenset(a.name for a in answer.labels if a.present) for answer in answers]
    right = [
        [(name in c) == (name in t) for c, t in zip(called, labels, strict=True)] for name in NAMES
    ]
    assert np.mean(right, axis=1).min() > 0.75
    assert frozenset() in called
    assert frozenset(NAMES) in called
    truths = [[("present" if name in t else "absent") for name in NAMES] for t in labels]
    covered = [
        truth in said.possible
        for answer, row in zip(answers, truths, strict=True)
        for said, truth in zip(answer.labels, row, strict=True)
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
    plain = np.stack([h.head.probabilities(rows)[:, 1] for h in found.made.heads], axis=1)
    # Two iterative solvers, each stopped at its own tolerance.
    np.testing.assert_allclose(plain, peer.predict_proba(unit), atol=2e-3)


def test_the_report_tells_of_each_label_and_of_its_threshold() -> None:
    found, _ = made(spread=2.0, thresholds={"effusion": 0.2})
    report = json.loads(json.dumps(found.report))
    assert report["labels"] == list(NAMES)
    assert report["examples_without_label"] == 12
    effusion = report["per_label"]["effusion"]
    assert effusion["calibration"]["calibrated"]
    assert effusion["operating_point"]["threshold"] == 0.2
    usual = made(spread=2.0)[0].report["per_label"]["effusion"]["operating_point"]
    assert effusion["operating_point"]["sensitivity"]["value"] >= usual["sensitivity"]["value"]
    assert effusion["operating_point"]["specificity"]["value"] < usual["specificity"]["value"]
    scores = [report["per_label"][name]["balanced_accuracy"] for name in NAMES]
    assert report["balanced_accuracy"] == pytest.approx(np.mean(scores), abs=1e-4)


def test_an_answer_near_its_threshold_is_ambiguous() -> None:
    found, rows = made(thresholds={"effusion": 0.3})
    for answer in found.made.answers(rows, 0.9):
        for said, head in zip(answer.labels, found.made.heads, strict=True):
            near = abs(said.probability - head.threshold) < head.trust.least_margin / 2
            assert said.ambiguous == near
            assert said.present == (said.probability >= head.threshold)


def test_a_stored_classifier_answers_the_same_and_refuses_damage_and_strangers() -> None:
    found, rows = made()
    data = to_labels_bytes(found.made)
    back = from_labels_bytes(data, encoder_id="e")
    assert back.answers(rows, 0.8) == found.made.answers(rows, 0.8)
    with pytest.raises(EncoderMismatch):
        from_labels_bytes(data, encoder_id="other")
    document = to_labels_document(found.made)
    for change in ({"format_version": 2}, {"labels": []}, {"sha256": "0"}, {"usual": None}):
        with pytest.raises(ArtifactMismatch):
            from_labels_document(document | change)
    for damaged in (data[:-20], b"[]", b"{}", b"\x00"):
        with pytest.raises(ArtifactMismatch):
            from_labels_bytes(damaged)


def test_the_onnx_network_gives_the_same_probabilities() -> None:
    found, rows = made()
    session = onnxruntime.InferenceSession(to_labels_onnx(found.made, {"name": "lung"}))
    (shares,) = session.run(None, {"embedding": rows})
    np.testing.assert_allclose(shares, found.made.probabilities(rows), atol=1e-5)  # float32
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
        fit_labels(
            np.eye(3), [frozenset(n) for n in labels], list("123"), encoder_id="e", **options
        )


def test_rows_that_are_no_numbers_are_refused() -> None:
    rows, labels = lungs(1, 8)
    rows[3, 3] = np.nan
    with pytest.raises(InputError):
        fit_labels(rows, labels, list("12345678"), encoder_id="e")
