"""What is exported computes what was trained: folded torch, ONNX, and the activation map."""

from pathlib import Path

import numpy as np
import pytest
import torch

from service.imaging.analysis.preprocess import PreprocessSpec, normalise
from training.bundle.deploy import assemble, fold_norms
from training.bundle.equalise import equalise
from training.bundle.onnx_branches import maps_on_request
from training.bundle.onnx_files import embed, open_network, readout_nodes, write_fp32, write_int8
from training.bundle.onnx_readout import correct_bias, quantise_readout
from training.networks.backbones import build_student
from training.networks.config import StudentConfig
from training.networks.readout import (
    WIDTH,
    WIDTH_TO_STAGE3,
    Readout,
    ReadoutConfig,
    fit_readout,
    pool_features,
)
from training.networks.student import Student, Trunk

SIDE, DIM = 64, 16


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE)).astype(np.uint8)


@pytest.fixture(scope="module")
def trained() -> Student:
    return student_of(3)


def student_of(stages: int) -> Student:
    """A student of random weights with norms that are no identity."""
    torch.manual_seed(0)
    trunk = Trunk(stages)
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    rng = np.random.default_rng(0)
    width = WIDTH if stages == 4 else WIDTH_TO_STAGE3
    pooled_NK = np.abs(rng.normal(size=(40, width))).astype(np.float32)
    return assemble(trunk.eval(), fit_readout(pooled_NK, ReadoutConfig(dim=DIM)))


SPEC = PreprocessSpec(SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("stages", [3, 4])
def test_folding_norms_and_equalising_channels_leave_the_function_as_it_was(
    stages: int, frames: np.ndarray
) -> None:
    trained = student_of(stages)
    folded, spec = fold_norms(trained, SPEC)
    inputs = torch.from_numpy(normalise(frames, spec))
    with torch.inference_mode():
        expected, _ = trained(torch.from_numpy(normalise(frames, SPEC)))
        before, _ = folded(inputs)
    equalise(folded, inputs)
    with torch.inference_mode():
        after, _ = folded(inputs)
    # float32 through fifty layers, summed in another order.
    np.testing.assert_allclose(before, expected, atol=2e-4)
    np.testing.assert_allclose(after, expected, atol=2e-4)


def test_onnx_equals_torch_and_the_mean_of_the_map_is_the_embedding(
    trained: Student, frames: np.ndarray, tmp_path: Path
) -> None:
    folded, spec = fold_norms(trained, SPEC)
    inputs = normalise(frames, spec)
    write_fp32(folded, SIDE, tmp_path / "net.onnx")
    embeddings_ND, maps_NDhw = embed(open_network(tmp_path / "net.onnx"), inputs, batch=3)
    with torch.inference_mode():
        expected_ND, _ = folded(torch.from_numpy(inputs))
    np.testing.assert_allclose(embeddings_ND, expected_ND, atol=1e-4)
    means_ND = maps_NDhw.mean((2, 3))
    means_ND /= np.linalg.norm(means_ND, axis=1, keepdims=True)
    np.testing.assert_allclose(means_ND, embeddings_ND, atol=1e-4)


def test_the_map_is_computed_only_when_it_is_asked_for(
    trained: Student, frames: np.ndarray, tmp_path: Path
) -> None:
    folded, spec = fold_norms(trained, SPEC)
    inputs = normalise(frames, spec)
    path = tmp_path / "net.onnx"
    write_fp32(folded, SIDE, path)
    expected_ND, expected_NDhw = embed(open_network(path), inputs)
    maps_on_request(path)
    session = open_network(path)
    embeddings_ND, maps_NDhw = embed(session, inputs)
    np.testing.assert_allclose(embeddings_ND, expected_ND, atol=1e-6)
    np.testing.assert_allclose(maps_NDhw, expected_NDhw, atol=1e-5)
    (nothing,) = session.run(["feature_map"], {"frames": inputs})
    assert nothing.shape == (0, *expected_NDhw.shape[1:])


def test_a_narrow_read_out_keeps_the_embedding_and_an_exact_map(
    trained: Student, frames: np.ndarray, tmp_path: Path
) -> None:
    folded, spec = fold_norms(trained, SPEC)
    inputs = normalise(frames, spec)
    path = tmp_path / "net.onnx"
    write_fp32(folded, SIDE, tmp_path / "wide.onnx")
    kept = readout_nodes(tmp_path / "wide.onnx")
    write_int8(tmp_path / "wide.onnx", path, inputs, keep_float=kept)
    wide = path.stat().st_size
    expected_ND, expected_NDhw = embed(open_network(path), inputs)
    quantise_readout(path)
    assert wide - path.stat().st_size > 2 * DIM * WIDTH_TO_STAGE3
    maps_on_request(path)
    session = open_network(path)
    embeddings_ND, maps_NDhw = embed(session, inputs)
    assert (embeddings_ND * expected_ND).sum(1).min() > 0.999
    means_ND = maps_NDhw.mean((2, 3))
    means_ND /= np.linalg.norm(means_ND, axis=1, keepdims=True)
    np.testing.assert_allclose(means_ND, embeddings_ND, atol=1e-4)
    off = np.linalg.norm(maps_NDhw - expected_NDhw) / np.linalg.norm(expected_NDhw)
    assert off < 0.05
    # No frame changes with those it is embedded beside.
    np.testing.assert_array_equal(embed(session, inputs[1:2])[0][0], embeddings_ND[1])


def test_a_corrected_bias_centres_what_another_arithmetic_shifted(
    trained: Student, frames: np.ndarray, tmp_path: Path
) -> None:
    folded, spec = fold_norms(trained, SPEC)
    inputs = normalise(frames, spec)
    reference, shifted = tmp_path / "reference.onnx", tmp_path / "shifted.onnx"
    write_fp32(folded, SIDE, reference)
    with torch.no_grad():
        folded.projection.bias += 0.1 * torch.randn(DIM)
    write_fp32(folded, SIDE, shifted)
    expected_ND, _ = embed(open_network(reference), inputs)
    assert np.abs(embed(open_network(shifted), inputs)[0] - expected_ND).max() > 0.01
    correct_bias(shifted, reference, inputs)
    np.testing.assert_allclose(embed(open_network(shifted), inputs)[0], expected_ND, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reference.onnx", "shifted.onnx"]


@pytest.mark.parametrize(
    "architecture", ["resnet14t", pytest.param("convnext_atto", marks=pytest.mark.slow)]
)
def test_a_timm_student_folds_and_exports_to_the_function_that_was_trained(
    architecture: str, frames: np.ndarray, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    backbone = build_student(StudentConfig(architecture, "random"))
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    with torch.inference_mode():
        width = pool_features(*backbone.eval()(torch.zeros(1, 3, SIDE, SIDE))).shape[1]
    rng = np.random.default_rng(0)
    weights_DK = rng.normal(size=(DIM, width)).astype(np.float32) / width**0.5
    student = assemble(backbone, Readout(weights_DK, np.ones(DIM, np.float32)))
    folded, spec = fold_norms(student, SPEC)
    norms = [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not norms
    assert spec == SPEC
    inputs = normalise(frames, spec)
    with torch.inference_mode():
        expected_ND, _ = student(torch.from_numpy(inputs))
    write_fp32(folded, SIDE, tmp_path / "net.onnx")
    embeddings_ND, maps_NDhw = embed(open_network(tmp_path / "net.onnx"), inputs, batch=3)
    # float32 in another order, over the contrast's division by a standard deviation
    np.testing.assert_allclose(embeddings_ND, expected_ND, atol=5e-4)
    means_ND = maps_NDhw.mean((2, 3))
    means_ND /= np.linalg.norm(means_ND, axis=1, keepdims=True)
    np.testing.assert_allclose(means_ND, embeddings_ND, atol=1e-4)
