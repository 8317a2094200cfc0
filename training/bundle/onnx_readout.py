"""The read-out of an int8 network: 8-bit weights and a corrected bias.

The read-out is one product of a (D, K) matrix with the pooled features of a frame. In float32
reading that matrix from memory costs a fifth of the whole network; with 8-bit weights in blocks
of 32 (``MatMulNBits`` of ONNX Runtime, which quantises the features by block as well, each frame
by itself) it costs next to nothing, at a cosine of 0.9999.

Shape suffixes: N frames, S encoder side, D embedding width, K pooled features, L places of a frame.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from service.arrays import Floats, Pixels
from service.errors import InputError
from training.bundle.onnx_files import INPUT, OUTPUTS, open_network
from training.bundle.onnx_graph import producers
from training.networks.readout import Readout

BLOCK, ZERO, STEPS = 32, 128, 127  # weights per scale; the stored number that means 0; steps
INT8_PRODUCT = 4  # accuracy level of MatMulNBits
_PACKED, _SCALES = "readout_packed", "readout_scales"
_EMBEDDING, _MAP = OUTPUTS
_DOMAIN = "com.microsoft"


def quantise_readout(path: Path) -> None:
    """Store the read-out's matrix in 8 bits, in place; for a network without ``maps`` branch.

    The mean over space of ``feature_map`` is set to the embedding before its unit length, so
    that a linear head keeps an exact activation map although the two products round apart.
    """
    network = onnx.load(path)
    graph = network.graph
    rows = _rows(graph)
    product = _product(graph, rows)
    stored = next(tensor for tensor in graph.initializer if tensor.name == product.input[0])
    weights_DK = numpy_helper.to_array(stored)
    packed_DJB, scales_DJ = _packed(weights_DK)
    features = producers(graph)[product.input[1]].input[0]  # before its unsqueezing to a column
    taken = _consumers(graph, product.output[0])[0]
    narrow = _narrow_product(features, taken.output[0], weights_DK.shape)
    place = list(graph.node).index(taken)
    graph.node.remove(taken)
    graph.node.insert(place, narrow)
    graph.node.remove(product)
    graph.initializer.append(numpy_helper.from_array(packed_DJB, _PACKED))
    graph.initializer.append(numpy_helper.from_array(scales_DJ.ravel(), _SCALES))
    _narrow_map(graph, stored.name, weights_DK.shape)
    graph.initializer.remove(stored)
    _settle_map(graph, rows)
    if _DOMAIN not in {opset.domain for opset in network.opset_import}:
        network.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    onnx.save(network, str(path))


def set_readout(path: Path, readout: Readout) -> None:
    """Put another read-out of the same shape into a float network or a quantised trunk, in place.

    The network must not have passed ``quantise_readout``. Raises InputError: the shapes differ.
    """
    network = onnx.load(path)
    graph = network.graph
    rows = _rows(graph)
    by_output = producers(graph)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    name = _product(graph, rows).input[0]
    while name not in stored:  # a float network takes its matrix out of a 1x1 convolution
        name = by_output[name].input[0]
    for tensor, values in ((stored[name], readout.weights_DK), (_bias(graph), readout.bias_D)):
        shape = tuple(tensor.dims)
        if shape[: values.ndim] != values.shape:
            raise InputError(f"expected a read-out of shape {shape}, got {values.shape}")
        tensor.CopyFrom(numpy_helper.from_array(values.reshape(shape), tensor.name))
    onnx.save(network, str(path))


def correct_bias(path: Path, reference: Path, inputs_N3SS: Floats) -> None:
    """Give the int8 network, in place, the mean embedding that the fp32 one has on real frames."""
    missing_D = (_rows_of(reference, inputs_N3SS) - _rows_of(path, inputs_N3SS)).mean(0)
    network = onnx.load(path)
    graph = network.graph
    bias = _bias(graph)
    corrected_D = numpy_helper.to_array(bias) + missing_D
    bias.CopyFrom(numpy_helper.from_array(corrected_D.astype(np.float32), bias.name))
    onnx.save(network, str(path))


def _packed(weights_DK: Floats) -> tuple[Pixels, Floats]:
    """uint8 (D, J, 32) and the size of one step for each of the J blocks of a row, (D, J)."""
    padded = np.pad(weights_DK, ((0, 0), (0, -weights_DK.shape[1] % BLOCK)))
    blocks_DJB = padded.reshape(len(weights_DK), -1, BLOCK)
    scales_DJ = np.maximum(np.abs(blocks_DJB).max(2) / STEPS, np.finfo(np.float32).tiny)
    steps_DJB = np.round(blocks_DJB / scales_DJ[:, :, None]) + ZERO
    return steps_DJB.astype(np.uint8), scales_DJ.astype(np.float32)


def _narrow_product(features: str, product: str, shape: tuple[int, ...]) -> onnx.NodeProto:
    """The stored matrix times rows of K features, whatever axes stand before them."""
    return helper.make_node(
        "MatMulNBits",
        [features, _PACKED, _SCALES],
        [product],
        name=f"{product}_narrow",
        domain=_DOMAIN,
        K=shape[1],
        N=shape[0],
        bits=8,
        block_size=BLOCK,
        accuracy_level=INT8_PRODUCT,
    )


def _narrow_map(graph: onnx.GraphProto, matrix: str, shape: tuple[int, ...]) -> None:
    """Give the map's product the packed matrix: each place of the frame becomes a row."""
    (wide,) = _consumers(graph, matrix)
    maps_NKL, product_NDL = wide.input[1], wide.output[0]
    nodes = [
        helper.make_node("Transpose", [maps_NKL], ["places"], perm=[0, 2, 1]),
        _narrow_product("places", "places_read", shape),
        helper.make_node("Transpose", ["places_read"], [product_NDL], perm=[0, 2, 1]),
    ]
    place = list(graph.node).index(wide)
    graph.node.remove(wide)
    for node in reversed(nodes):
        graph.node.insert(place, node)


def _settle_map(graph: onnx.GraphProto, rows: str) -> None:
    """Shift every channel of the map so that its mean over space is the row's number."""
    producer = producers(graph)[_MAP]
    producer.output[0] = "map_before"
    graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "map_axes"))
    graph.node.extend(
        [
            helper.make_node("ReduceMean", ["map_before", "map_axes"], ["map_mean"], keepdims=1),
            helper.make_node("Unsqueeze", [rows, "map_axes"], ["map_wanted"]),
            helper.make_node("Sub", ["map_wanted", "map_mean"], ["map_shift"]),
            helper.make_node("Add", ["map_before", "map_shift"], [_MAP]),
        ]
    )


def _rows_of(path: Path, inputs_N3SS: Floats, batch: int = 8) -> Floats:
    """The embeddings before their unit length, (N, D)."""
    network = onnx.load(path)
    rows = _rows(network.graph)
    network.graph.output.append(helper.make_tensor_value_info(rows, TensorProto.FLOAT, None))
    scratch = path.with_suffix(".rows.onnx")
    try:
        onnx.save(network, str(scratch))
        session = open_network(scratch)
        parts = [
            session.run([rows], {INPUT: inputs_N3SS[start : start + batch]})[0]
            for start in range(0, len(inputs_N3SS), batch)
        ]
    finally:
        scratch.unlink(missing_ok=True)
    return np.concatenate(parts)


def _rows(graph: onnx.GraphProto) -> str:
    """Name of the embedding before its unit length."""
    return str(producers(graph)[_EMBEDDING].input[0])


def _bias(graph: onnx.GraphProto) -> onnx.TensorProto:
    stored: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
    return next(stored[name] for name in producers(graph)[_rows(graph)].input if name in stored)


def _product(graph: onnx.GraphProto, rows: str) -> onnx.NodeProto:
    """The matrix product that ``rows`` come from; its first input is the stored matrix."""
    by_output = producers(graph)
    node = by_output[rows]
    while node.op_type != "MatMul":
        node = by_output[next(name for name in node.input if name in by_output)]
    return node


def _consumers(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if name in node.input]
