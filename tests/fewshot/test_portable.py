"""A classifier that left comes back whole, runs without us, and explains itself."""

import base64
import copy
import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest

from service.errors import ArtifactMismatch, EncoderMismatch, InputError
from service.fewshot.attribution import activation_maps, contrast
from service.fewshot.classifier import FewShotClassifier
from service.fewshot.classifier_fit import fit_classifier
from service.fewshot.onnx_export import to_onnx
from service.fewshot.portable import (
    digest_of,
    from_bytes,
    from_document,
    to_bytes,
    to_document,
)
from tests.fewshot.drawing import drawn


@pytest.fixture(scope="module")
def made() -> tuple[FewShotClassifier, np.ndarray]:
    rows, labels, groups = drawn(0, 12, 2.0)
    fitted = fit_classifier(rows, {None: labels}, groups, encoder_id="e", thresholds={"c1": 0.4})
    return fitted.classifier, rows


@pytest.mark.parametrize("form", ["bytes", "document"])
def test_a_classifier_comes_back_and_answers_the_same(made, form) -> None:
    classifier, rows = made
    card = {"name": "lung", "report": {"examples": 3}}
    if form == "bytes":
        found = from_bytes(to_bytes(classifier), encoder_id="e")
    else:
        text = json.dumps(to_document(classifier, card))
        portable = from_document(json.loads(text), encoder_id="e")
        found = portable.classifier
        assert portable.card == card
    assert found.predict(rows, 0.9).rows == classifier.predict(rows, 0.9).rows
    assert found.thresholds == {"c1": 0.4}
    assert found.heads[None].calibrator.calibration == classifier.heads[None].calibrator.calibration


def test_a_prior_comes_back_and_a_released_document_has_none(made) -> None:
    classifier, rows = made
    conformal = from_bytes(to_bytes(classifier)).heads[None].calibrator.conformal
    np.testing.assert_array_equal(
        conformal.prior_P, classifier.heads[None].calibrator.conformal.prior_P
    )
    document = to_document(classifier)
    del document["heads"][0]["arrays"]["prior_P"]  # as release 0.1.0 wrote it
    document["sha256"] = digest_of({k: v for k, v in document.items() if k != "sha256"})
    released = from_document(document).classifier
    assert released.heads[None].calibrator.conformal.prior_P.size == 0
    assert released.predict(rows, 0.9).rows != []


def test_a_prior_that_does_not_ascend_is_refused(made) -> None:
    document = to_document(made[0])
    stored = document["heads"][0]["arrays"]["prior_P"]
    values = np.frombuffer(base64.b64decode(stored["base64"]), np.float64)[::-1]
    stored["base64"] = base64.b64encode(values.tobytes()).decode()
    document["sha256"] = digest_of({k: v for k, v in document.items() if k != "sha256"})
    with pytest.raises(ArtifactMismatch):
        from_document(document)


def test_a_classifier_without_calibration_travels_too() -> None:
    rows, labels, groups = drawn(1, 1, 0.5)
    fitted = fit_classifier(rows, {None: labels}, groups, encoder_id="e").classifier
    found = from_bytes(to_bytes(fitted))
    assert found.not_calibrated_because
    assert found.predict(rows, 0.9).rows[1].most_probable == "c1"


def test_another_encoder_is_refused(made) -> None:
    with pytest.raises(EncoderMismatch):
        from_bytes(to_bytes(made[0]), encoder_id="other")
    with pytest.raises(EncoderMismatch):
        from_document(to_document(made[0]), encoder_id="other")


def test_a_file_with_any_changed_stretch_is_refused(made) -> None:
    data = to_bytes(made[0])
    for start in np.linspace(0, len(data) - 8, 40).astype(int):
        damaged = data[:start] + b"A" * 8 + data[start + 8 :]
        if damaged != data:
            with pytest.raises(ArtifactMismatch):
                from_bytes(damaged)
    for length in (0, 10, len(data) // 2, len(data) - 1):
        with pytest.raises(ArtifactMismatch):
            from_bytes(data[:length])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "other"),
        ("format_version", 2),
        ("encoder_id", "other"),
        ("card", {"name": "other"}),
        ("sha256", "zz"),
        ("heads", {}),
        ("heads", 3),
        ("novelty", None),
    ],
)
def test_a_changed_document_is_refused(made, key, value) -> None:
    document = copy.deepcopy(to_document(made[0]))
    document[key] = value
    with pytest.raises(ArtifactMismatch):
        from_document(document)


@pytest.mark.parametrize(
    "change",
    [
        {"label": "c"},
        {"classes": ["c0", "c1"]},
        {"min_margin": None},
        {"thresholds": {"c9": 0.5}},
        {"thresholds": {"c0": 2.0}},
        {"conformal": {"method": "guess"}},
        {"calibration": {}},
    ],
)
def test_parts_that_do_not_fit_together_are_refused_even_with_a_right_digest(made, change) -> None:
    document = to_document(made[0])
    del document["sha256"]
    document["heads"][0] |= change
    text = json.dumps(document, sort_keys=True)
    with pytest.raises(ArtifactMismatch):
        from_document(document | {"sha256": hashlib.sha256(text.encode()).hexdigest()})


def test_the_network_gives_the_same_probabilities_in_a_bare_runtime(made) -> None:
    classifier, rows = made
    data = to_onnx(classifier, {"name": "lung"})
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (given,) = session.run(["probabilities"], {"embedding": rows})
    # float32 against float64.
    np.testing.assert_allclose(given, classifier.heads[None].probabilities(rows), atol=1e-5)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == list(classifier.labels)
    assert (facts["encoder_id"], json.loads(facts["card"])) == ("e", {"name": "lung"})


def test_the_network_is_a_single_small_file(made) -> None:
    model = onnx.load_from_string(to_onnx(made[0]))
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_the_mean_of_the_map_is_the_image_term_of_the_logit(made) -> None:
    head = made[0].heads[None].head
    rng = np.random.default_rng(0)
    for length in (0.01, 1.0, 300.0):
        feature_map = length * (rng.normal(size=(32, 7, 5)) + rng.normal(size=(32, 1, 1)))
        embedding = feature_map.mean((1, 2)) / np.linalg.norm(feature_map.mean((1, 2)))
        maps = activation_maps(head, feature_map)
        logits = head.logits(embedding[None])[0]
        np.testing.assert_allclose(maps.maps_Chw.mean((1, 2)), logits - head.bias_C, atol=1e-9)
        np.testing.assert_allclose(maps.logits, logits, atol=1e-9)


def test_the_map_is_high_where_the_class_is(made) -> None:
    head = made[0].heads[None].head
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
        activation_maps(made[0].heads[None].head, bad)
