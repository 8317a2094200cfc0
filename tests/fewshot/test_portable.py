"""A classifier that left comes back whole, runs without us, and explains itself."""

import copy
import json

import numpy as np
import onnx
import onnxruntime
import pytest

from service.errors import ArtifactMismatch, EncoderMismatch, InputError
from service.fewshot.activation_map import activation_maps, contrast
from service.fewshot.calibrator import Calibrator, fit_calibrator
from service.fewshot.fit import Fit, fit
from service.fewshot.onnx_export import to_onnx
from service.fewshot.portable import from_bytes, from_document, to_bytes, to_document
from tests.fewshot.drawing import drawn


@pytest.fixture(scope="module")
def made() -> tuple[Fit, Calibrator, np.ndarray]:
    rows, labels, groups = drawn(0, 12, 2.0)
    fitted = fit(rows, labels, groups, encoder_id="e")
    return fitted, fit_calibrator(fitted, rows), rows


@pytest.mark.parametrize("form", ["npz", "document"])
def test_a_classifier_comes_back_and_answers_the_same(made, form) -> None:
    fitted, trusted, rows = made
    card = {"name": "lung", "report": fitted.report.to_json()}
    if form == "npz":
        found = from_bytes(to_bytes(fitted.head, trusted, card), encoder_id="e")
    else:
        text = json.dumps(to_document(fitted.head, trusted, card))
        found = from_document(json.loads(text), encoder_id="e")
    assert found.trust.answers(found.head, rows) == trusted.answers(fitted.head, rows)
    given = trusted.probabilities(fitted.head, rows)
    np.testing.assert_array_equal(
        found.trust.sets(given, 0.9).members_NC, trusted.sets(given, 0.9).members_NC
    )
    assert found.card == card
    assert found.trust.to_json() == trusted.to_json()


def test_a_classifier_without_calibration_travels_too() -> None:
    rows, labels, groups = drawn(1, 1, 0.5)
    fitted = fit(rows, labels, groups, encoder_id="e")
    found = from_bytes(to_bytes(fitted.head, fit_calibrator(fitted, rows)))
    assert not found.trust.calibration.calibrated
    assert found.trust.answers(found.head, rows)[1].predicted == "c1"


def test_another_encoder_is_refused(made) -> None:
    fitted, trusted, _ = made
    with pytest.raises(EncoderMismatch):
        from_bytes(to_bytes(fitted.head, trusted), encoder_id="other")
    with pytest.raises(EncoderMismatch):
        from_document(to_document(fitted.head, trusted), encoder_id="other")


def test_a_file_with_any_changed_stretch_is_refused(made) -> None:
    fitted, trusted, _ = made
    data = to_bytes(fitted.head, trusted)
    middles = np.linspace(0, len(data) - 64, 40).astype(int)
    for start in middles:
        damaged = data[:start] + bytes(64) + data[start + 64 :]
        if damaged == data:
            continue
        try:
            found = from_bytes(damaged)
        except ArtifactMismatch:
            continue
        # Damage that zip does not read (its padding) may pass; numbers may not differ.
        assert to_bytes(found.head, found.trust) == data
    for length in (0, 10, len(data) // 2, len(data) - 1):
        with pytest.raises(ArtifactMismatch):
            from_bytes(data[:length])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "other"),
        ("format_version", 2),
        ("least_margin", 0.5),
        ("classes", ["c0", "c1"]),
        ("sha256", "zz"),
        ("arrays", {}),
        ("arrays", 3),
        ("conformal", None),
    ],
)
def test_a_changed_document_is_refused(made, key, value) -> None:
    document = copy.deepcopy(to_document(made[0].head, made[1]))
    document[key] = value
    with pytest.raises(ArtifactMismatch):
        from_document(document)


def test_the_network_gives_the_same_probabilities_in_a_bare_runtime(made) -> None:
    fitted, trusted, rows = made
    data = to_onnx(fitted.head, trusted, {"name": "lung"})
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (given,) = session.run(["probabilities"], {"embedding": rows})
    # float32 against float64.
    np.testing.assert_allclose(given, trusted.probabilities(fitted.head, rows), atol=1e-5)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == list(fitted.head.classes)
    assert (facts["encoder_id"], json.loads(facts["card"])) == ("e", {"name": "lung"})


def test_the_network_is_a_single_small_file(made) -> None:
    fitted, trusted, _ = made
    model = onnx.load_from_string(to_onnx(fitted.head, trusted))
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_the_mean_of_the_map_is_the_image_term_of_the_logit(made) -> None:
    head = made[0].head
    rng = np.random.default_rng(0)
    for length in (0.01, 1.0, 300.0):
        feature_map = length * (rng.normal(size=(32, 7, 5)) + rng.normal(size=(32, 1, 1)))
        embedding = feature_map.mean((1, 2)) / np.linalg.norm(feature_map.mean((1, 2)))
        maps = activation_maps(head, feature_map)
        logits = head.logits(embedding[None])[0]
        np.testing.assert_allclose(maps.maps_Chw.mean((1, 2)), logits - head.bias_C, atol=1e-9)
        np.testing.assert_allclose(maps.logits, logits, atol=1e-9)


def test_the_map_is_high_where_the_class_is(made) -> None:
    head = made[0].head
    feature_map = np.zeros((32, 4, 4))
    feature_map[:, 1, 2] = head.weights_CD[1] - head.weights_CD[0]
    shown = contrast(activation_maps(head, feature_map).maps_Chw, 1)
    assert np.unravel_index(shown.argmax(), shown.shape) == (1, 2)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((32, 7, 7)), np.ones((31, 7, 7)), np.ones((32, 7)), np.full((32, 2, 2), np.nan)],
)
def test_a_map_of_another_shape_or_nothing_is_refused(made, bad) -> None:
    with pytest.raises(InputError):
        activation_maps(made[0].head, bad)
