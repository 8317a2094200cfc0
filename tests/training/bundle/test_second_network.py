"""An encoder of two networks: one read-out and its export."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from service.arrays import unit_rows
from service.embedding.bundle import SHIPPED_BUNDLE
from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec, normalise
from training.bundle.deploy import assemble
from training.bundle.onnx_files import convolutions_of, embed, open_network, write_fp32
from training.bundle.onnx_graph import fold_pads
from training.bundle.recovered import read_trunk
from training.networks.backbones import build_student
from training.networks.config import StudentConfig
from training.networks.lite_trunk import WIDTH, LiteTrunk
from training.networks.readout import (
    Readout,
    ReadoutConfig,
    fit_readout,
    join_readouts,
    pool_features,
)
from training.networks.student import Student

SIDE, DIM = 64, 16


@pytest.fixture(scope="module")
def student() -> Student:
    """A small network in the place of the trunk, which is exported in a third of the time."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    trunk, lite = build_student(StudentConfig("resnet10t", "random")).eval(), LiteTrunk().eval()
    with torch.inference_mode():
        width = pool_features(*trunk(torch.zeros(1, 3, SIDE, SIDE))).shape[1] + WIDTH
    weights_DK = rng.normal(size=(DIM, width)).astype(np.float32) / 100
    readout = Readout(weights_DK, rng.normal(size=DIM).astype(np.float32))
    return assemble(trunk, readout, lite).requires_grad_(False)


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    frames = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE)).astype(np.uint8)
    return normalise(frames, PreprocessSpec(SIDE, (0.45,) * 3, (0.28,) * 3))


@pytest.fixture(scope="module")
def exported(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    write_fp32(student, SIDE, path)
    return path


def test_the_mean_of_the_map_has_the_direction_of_the_embedding_of_both_networks(
    exported: Path, student: Student, inputs: np.ndarray
) -> None:
    embeddings_ND, maps_NDhw = embed(open_network(exported), inputs)
    with torch.inference_mode():
        expected_ND, _ = student(torch.from_numpy(inputs))
    np.testing.assert_allclose(embeddings_ND, expected_ND, atol=1e-4)
    np.testing.assert_allclose(unit_rows(maps_NDhw.mean((2, 3))), embeddings_ND, atol=1e-4)


def test_uneven_pads_are_part_of_their_convolutions(exported: Path) -> None:
    graph = onnx.load(exported).graph
    assert not [node for node in graph.node if node.op_type == "Pad"]
    pads = [
        list(attribute.ints)
        for node in graph.node
        for attribute in node.attribute
        if attribute.name == "pads" and node.op_type == "Conv"
    ]
    assert [0, 0, 1, 1] in pads
    assert [1, 1, 2, 2] in pads


def test_what_trains_a_trunk_refuses_an_encoder_with_a_second_network() -> None:
    with pytest.raises(InputError, match="second network"):
        read_trunk(SHIPPED_BUNDLE / "encoder.fp16.onnx")


def test_the_convolutions_of_a_part_are_found_by_their_weights(exported: Path) -> None:
    first = convolutions_of(exported, ["lite.conv_stem.", "lite.blocks.0."])
    assert len(first) == 3
    assert set(first) < set(convolutions_of(exported, ["lite."]))


def pooled_frames() -> tuple[np.ndarray, np.ndarray]:
    """Features of two networks of which the second has a hundred times the size."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(60, 12)).astype(np.float32)
    return first, 100 * rng.normal(size=(60, 8)).astype(np.float32)


def readout_of(pooled_NK: np.ndarray, dim: int) -> Readout:
    return fit_readout(pooled_NK, ReadoutConfig(dim=dim), blocks=[(pooled_NK.shape[1], 1.0)])


def test_each_network_has_its_share_of_the_joined_embedding() -> None:
    pooled = pooled_frames()
    readouts = [readout_of(pooled_NK, 6) for pooled_NK in pooled]
    joined = join_readouts(readouts, pooled, (0.75, 0.25), dim=12)
    nothing = [np.zeros_like(pooled_NK) for pooled_NK in pooled]
    lengths = []
    for number in range(2):
        parts = [p if n == number else nothing[n] for n, p in enumerate(pooled)]
        rows_ND = np.concatenate(parts, axis=1) @ joined.weights_DK.T
        lengths.append(np.square(rows_ND - rows_ND.mean(0)).sum(1).mean())
    assert lengths[0] / sum(lengths) == pytest.approx(0.75, abs=1e-3)


def test_all_directions_of_both_networks_keep_every_cosine_and_fewer_keep_most_of_it() -> None:
    pooled = pooled_frames()
    readouts = [readout_of(pooled_NK, 6) for pooled_NK in pooled]
    sides = []
    for readout, pooled_NK in zip(readouts, pooled, strict=True):
        rows_ND = pooled_NK @ readout.weights_DK.T + readout.bias_D
        sides.append(rows_ND / np.sqrt(2 * np.square(rows_ND).sum(1).mean()))
    expected_NN = (lambda rows: rows @ rows.T)(unit_rows(np.concatenate(sides, axis=1)))
    errors = []
    for dim in (12, 9):
        rows_ND = join_readouts(readouts, pooled, (0.5, 0.5), dim).embed(np.concatenate(pooled, 1))
        errors.append(np.abs(rows_ND @ rows_ND.T - expected_NN).mean())
    assert errors[0] < 1e-3
    assert errors[1] < 0.3
    with pytest.raises(InputError, match="more than 60 frames"):
        join_readouts(readouts, pooled, (0.5, 0.5), 60)


def pad_before(reader: str, value: float) -> onnx.GraphProto:
    """A pad of one on the lower right before a convolution or a pool."""
    weights = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "weights")
    inputs = ["padded", "weights"] if reader == "Conv" else ["padded"]
    nodes = [
        helper.make_node("Pad", ["x", "widths", "value"], ["padded"]),
        helper.make_node(reader, inputs, ["y"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    stored = [
        weights,
        numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, 1, 1]), "widths"),
        numpy_helper.from_array(np.array(value, np.float32), "value"),
    ]
    x, y = (
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 1, None, None]) for n in "xy"
    )
    return helper.make_graph(nodes, "padded", [x], [y], stored)


def result_of(graph: onnx.GraphProto) -> np.ndarray:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    frame = np.random.default_rng(0).random((1, 1, 8, 8)).astype(np.float32)
    return np.asarray(open_network(model.SerializeToString()).run(None, {"x": frame})[0])


@pytest.mark.parametrize(
    ("reader", "value", "left"), [("Conv", 0.0, 0), ("Conv", 1.0, 1), ("MaxPool", 0.0, 1)]
)
def test_only_pads_of_zeros_before_convolutions_are_folded_and_nothing_else_changes(
    reader: str, value: float, left: int
) -> None:
    graph = pad_before(reader, value)
    expected = result_of(graph)
    fold_pads(graph)
    assert [node.op_type for node in graph.node].count("Pad") == left
    np.testing.assert_allclose(result_of(graph), expected, rtol=1e-6)
