"""What is exported computes what was trained: folded torch, ONNX, and the activation map."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from service.embedding.bundle import SHIPPED_BUNDLE, read_manifest
from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec, normalise
from training.bundle.deploy import assemble, fold_norms
from training.bundle.equalise import equalise
from training.bundle.onnx_branches import maps_on_request
from training.bundle.onnx_files import (
    drop_traces,
    embed,
    open_network,
    readout_nodes,
    refuse_padded_pools,
    write_fp16,
    write_fp32,
    write_int8,
)
from training.bundle.onnx_graph import all_nodes
from training.bundle.onnx_readout import correct_bias, quantise_readout, set_readout
from training.bundle.recovered import read_networks, read_trunk
from training.networks.backbones import build_student
from training.networks.config import StudentConfig
from training.networks.lite_trunk import pool_lite_features
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


@pytest.fixture(scope="module")
def folded(trained: Student) -> Student:
    return fold_norms(trained, SPEC)[0]


@pytest.fixture(scope="module")
def inputs(trained: Student, frames: np.ndarray) -> np.ndarray:
    return normalise(frames, fold_norms(trained, SPEC)[1])


@pytest.fixture(scope="module")
def exported(folded: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fp32 network, which tests copy before they change it."""
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    write_fp32(folded, SIDE, path)
    return path


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
    folded: Student, inputs: np.ndarray, exported: Path
) -> None:
    embeddings_ND, maps_NDhw = embed(open_network(exported), inputs, batch=3)
    with torch.inference_mode():
        expected_ND, _ = folded(torch.from_numpy(inputs))
    np.testing.assert_allclose(embeddings_ND, expected_ND, atol=1e-4)
    means_ND = maps_NDhw.mean((2, 3))
    means_ND /= np.linalg.norm(means_ND, axis=1, keepdims=True)
    np.testing.assert_allclose(means_ND, embeddings_ND, atol=1e-4)


def test_the_map_is_computed_only_when_it_is_asked_for(
    inputs: np.ndarray, exported: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(exported, tmp_path))
    expected_ND, expected_NDhw = embed(open_network(path), inputs)
    maps_on_request(path)
    session = open_network(path)
    embeddings_ND, maps_NDhw = embed(session, inputs)
    np.testing.assert_allclose(embeddings_ND, expected_ND, atol=1e-6)
    np.testing.assert_allclose(maps_NDhw, expected_NDhw, atol=1e-5)
    (nothing,) = session.run(["feature_map"], {"frames": inputs})
    assert nothing.shape == (0, *expected_NDhw.shape[1:])


def test_an_export_has_no_pad_and_opens_with_every_optimiser(
    inputs: np.ndarray, exported: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(exported, tmp_path))
    maps_on_request(path)
    refuse_padded_pools(path)
    assert "Pad" not in {node.op_type for node in all_nodes(onnx.load(path).graph)}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    _, maps_NDhw = embed(session, inputs)
    assert np.isfinite(maps_NDhw).all()


def test_a_pad_before_a_pool_is_refused_by_the_name_of_the_pool(tmp_path: Path) -> None:
    """The first bundle was exported with pads in the branch of its maps."""
    padded = helper.make_node("Pad", ["frames", "pads"], ["padded"])
    pool = helper.make_node(
        "AveragePool", ["padded"], ["pooled"], "over_a_pad", kernel_shape=[2, 2]
    )
    branch = helper.make_graph([padded, pool], "branch", [], [])
    choice = helper.make_node("If", ["maps"], ["map"], then_branch=branch, else_branch=branch)
    path = tmp_path / "padded.onnx"
    onnx.save(helper.make_model(helper.make_graph([choice], "network", [], [])), path)
    with pytest.raises(InputError, match="over_a_pad"):
        refuse_padded_pools(path)


def test_an_export_names_no_folder_of_the_machine(exported: Path, tmp_path: Path) -> None:
    halves, traced = tmp_path / "halves.onnx", tmp_path / "traced.onnx"
    write_fp16(exported, halves)
    network = onnx.load(exported)
    network.graph.node[0].metadata_props.add(key="trace", value=f'File "{__file__}", line 1')
    onnx.save(network, traced)
    assert b'File "' in traced.read_bytes()
    drop_traces(traced)
    for path in (exported, halves, traced):
        assert b'File "' not in path.read_bytes()


def test_a_narrow_read_out_keeps_the_embedding_and_an_exact_map(
    inputs: np.ndarray, exported: Path, tmp_path: Path
) -> None:
    path = tmp_path / "narrow.onnx"
    write_int8(exported, path, inputs, keep_float=readout_nodes(exported))
    wide = path.stat().st_size
    expected_ND, expected_NDhw = embed(open_network(path), inputs)
    quantise_readout(path, inputs)
    # Two bytes for each weight instead of four: one in the matrix, one in the integers of the map.
    assert wide - path.stat().st_size > 1.5 * DIM * WIDTH_TO_STAGE3
    # Nothing is computed from the matrix when the network is opened.
    nodes = all_nodes(onnx.load(path).graph)
    assert [node.op_type for node in nodes if "readout_packed" in node.input] == ["MatMulNBits"]
    maps_on_request(path)
    refuse_padded_pools(path)
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
    inputs: np.ndarray, exported: Path, tmp_path: Path
) -> None:
    reference, shifted = tmp_path / "reference.onnx", tmp_path / "shifted.onnx"
    shutil.copy(exported, reference)
    network = onnx.load(exported)
    (bias,) = [t for t in network.graph.initializer if t.name == "projection.bias"]
    moved_D = onnx.numpy_helper.to_array(bias) + 0.1 * torch.randn(DIM).numpy()
    bias.CopyFrom(onnx.numpy_helper.from_array(moved_D, bias.name))
    onnx.save(network, shifted)
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


def test_a_trunk_is_read_back_from_its_export_with_the_features_it_had(
    exported: Path, folded: Student, inputs: np.ndarray
) -> None:
    trunk, readout = read_trunk(exported)
    with torch.inference_mode():
        pooled = pool_features(*trunk.read(torch.from_numpy(inputs))).numpy()
        expected = pool_features(*folded.trunk.read(torch.from_numpy(inputs))).numpy()
    np.testing.assert_allclose(pooled, expected, atol=1e-4)  # constants are folded in float32
    embedding, _ = embed(open_network(exported), inputs)
    np.testing.assert_allclose(readout.embed(pooled), embedding, atol=1e-4)


def test_the_shipped_networks_are_read_back_from_their_halves() -> None:
    spec = read_manifest(SHIPPED_BUNDLE).spec
    side_px = spec.side_px
    frames = np.random.default_rng(0).integers(0, 256, (2, side_px, side_px)).astype(np.uint8)
    inputs = normalise(frames, spec)
    path = SHIPPED_BUNDLE / "encoder.fp16.onnx"
    found = read_networks(path)
    with torch.inference_mode():
        pooled = pool_features(*found.trunk.read(torch.from_numpy(inputs)))
        if found.lite is not None:
            lite = pool_lite_features(found.lite(torch.from_numpy(inputs)))
            pooled = torch.cat([pooled, lite], dim=1)
    embedding, _ = embed(open_network(path), inputs)
    rows = found.readout.embed(pooled.numpy())
    assert ((rows * embedding).sum(1) > 0.999).all()  # halves between its nodes


def test_another_read_out_takes_the_place_of_the_first(
    exported: Path, inputs: np.ndarray, tmp_path: Path
) -> None:
    path = Path(shutil.copyfile(exported, tmp_path / "encoder.fp32.onnx"))
    trunk, readout = read_trunk(path)
    rng = np.random.default_rng(1)
    other = Readout(
        rng.normal(size=readout.weights_DK.shape).astype(np.float32),
        rng.normal(size=readout.bias_D.shape).astype(np.float32),
    )
    set_readout(path, other)
    with torch.inference_mode():
        pooled = pool_features(*trunk.read(torch.from_numpy(inputs))).numpy()
    embedding, maps_NDhw = embed(open_network(path), inputs)
    np.testing.assert_allclose(embedding, other.embed(pooled), atol=1e-4)
    means_ND = maps_NDhw.mean((2, 3))
    means_ND /= np.linalg.norm(means_ND, axis=1, keepdims=True)
    np.testing.assert_allclose(means_ND, embedding, atol=1e-4)
    with pytest.raises(InputError, match="of shape"):
        set_readout(path, Readout(other.weights_DK[:, :-1], other.bias_D))


def test_a_network_without_a_float_trunk_is_not_read_back(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no float ResNet-50"):
        read_trunk(SHIPPED_BUNDLE / "encoder.int8.onnx")
    broken = tmp_path / "encoder.fp32.onnx"
    broken.write_bytes(b"\xff\xff")
    with pytest.raises(InputError, match="no readable"):
        read_trunk(broken)
