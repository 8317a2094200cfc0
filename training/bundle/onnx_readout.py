"""The read-out of an int8 network: 8-bit weights and a corrected bias.

The read-out is one product of a (D, K) matrix with the pooled features of a frame. In float32
reading that matrix from memory costs a fifth of the whole network; with 8-bit weights in blocks
of 32 (``MatMulNBits`` of ONNX Runtime, which quantises the features by block as well, each frame
by itself) it costs next to nothing, at a cosine of 0.9999. That kernel is slow for the many
places of a map, so the map's product is an ordinary one of integers, with a scale per row.

Shape suffixes: N frames, S encoder side, D embedding width, K pooled features, L places of a frame.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
_PEAKS, _CODES, _ROW_STEPS = "map_peaks", "map_codes", "map_row_steps"
_EMBEDDING, _MAP = OUTPUTS
_DOMAIN = "com.microsoft"


def quantise_readout(path: Path, inputs_N3SS: Floats) -> None:
    """Store the read-out's matrix in 8 bits, in place; for a network without ``maps`` branch.

    The mean over space of ``feature_map`` is set to the embedding before its unit length, so
    that a linear head keeps an exact activation map although the two products round apart.

    Args:
        inputs_N3SS: real frames; their peaks are the ranges of the map's features.
    """
    network = onnx.load(path)
    graph = network.graph
    rows = _rows(graph)
    product = _product(graph, rows)
    stored = next(tensor for tensor in graph.initializer if tensor.name == product.input[0])
    weights_DK = numpy_helper.to_array(stored)
    packed_DJB, scales_DJ = _packed(weights_DK)
    features = producers(graph)[product.input[1]].input[0]  # before its unsqueezing to a column
    (wide_map,) = [node for node in _consumers(graph, stored.name) if node is not product]
    peaks_K = _peaks(network, wide_map.input[1], inputs_N3SS)
    taken = _consumers(graph, product.output[0])[0]
    narrow = _narrow_product(features, taken.output[0], weights_DK.shape)
    place = list(graph.node).index(taken)
    graph.node.remove(taken)
    graph.node.insert(place, narrow)
    graph.node.remove(product)
    graph.initializer.append(numpy_helper.from_array(packed_DJB, _PACKED))
    graph.initializer.append(numpy_helper.from_array(scales_DJ.ravel(), _SCALES))
    _narrow_map(graph, wide_map, peaks_K, weights_DK)
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
    # The exporter folded a second copy of the bias, (D, 1, 1), into the sum that ends the map.
    biases = [stored[value] for value in by_output[_MAP].input if value in stored]
    changed = [(stored[name], readout.weights_DK)]
    changed += [(bias, readout.bias_D) for bias in (_bias(graph), *biases)]
    for tensor, values in changed:
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


def _peaks(network: onnx.ModelProto, maps_NKL: str, inputs_N3SS: Floats, batch: int = 8) -> Floats:
    """The largest magnitude of each pooled feature at any place of any of these frames, (K,)."""
    watched = onnx.ModelProto()
    watched.CopyFrom(network)
    watched.graph.output.append(helper.make_tensor_value_info(maps_NKL, TensorProto.FLOAT, None))
    session = open_network(watched.SerializeToString())
    parts = [
        np.abs(session.run([maps_NKL], {INPUT: inputs_N3SS[i : i + batch]})[0]).max((0, 2))
        for i in range(0, len(inputs_N3SS), batch)
    ]
    peaks_K: Floats = np.max(parts, axis=0)
    least = peaks_K.max() * np.finfo(np.float32).eps
    return np.asarray(np.maximum(peaks_K, least), np.float32)


def _narrow_map(
    graph: onnx.GraphProto, wide: onnx.NodeProto, peaks_K: Floats, weights_DK: Floats
) -> None:
    """Multiply the places of the map by 8-bit integers with a scale per row.

    The integers are stored although they follow from the packed matrix: to compute them when a
    runtime opens the network takes half a second and several times their memory.
    """
    maps_NKL, product_NDL = wide.input[1], wide.output[0]
    codes_KD, steps_D = _row_codes(weights_DK, peaks_K)
    constants: dict[str, npt.NDArray[Any]] = {
        _PEAKS: peaks_K,
        _CODES: codes_KD,
        _ROW_STEPS: steps_D,
        "map_step": np.array(1 / STEPS, np.float32),
        "map_zero_code": np.array(ZERO, np.uint8),
    }
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    place = list(graph.node).index(wide)
    graph.node.remove(wide)
    for node in reversed(_product_of_codes(maps_NKL, product_NDL)):
        graph.node.insert(place, node)


def _row_codes(weights_DK: Floats, peaks_K: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """The matrix times the peaks: int8 (K, D), and the size of one step of each row, (D,)."""
    scaled_DK = _unpacked(*_packed(weights_DK), weights_DK.shape[1]) * peaks_K
    largest_D = np.maximum(np.abs(scaled_DK).max(1), np.finfo(np.float32).tiny * STEPS)
    steps_D = (largest_D / STEPS).astype(np.float32)
    codes_DK = np.round(scaled_DK / steps_D[:, None]).astype(np.int8)
    return np.ascontiguousarray(codes_DK.T), steps_D


def _unpacked(packed_DJB: Pixels, scales_DJ: Floats, width: int) -> Floats:
    """The matrix as the narrow product of the embedding reads it, float32 (D, K)."""
    blocks_DJB = (packed_DJB.astype(np.float32) - ZERO) * scales_DJ[:, :, None]
    padded_DK: Floats = blocks_DJB.reshape(len(packed_DJB), -1)
    return padded_DK[:, :width]


def _product_of_codes(maps_NKL: str, product_NDL: str) -> list[onnx.NodeProto]:
    """Quantise the places, multiply, and undo both scales."""
    make = helper.make_node
    return [
        make("Transpose", [maps_NKL], ["places"], perm=[0, 2, 1]),
        make("Div", ["places", _PEAKS], ["places_shares"]),
        make("QuantizeLinear", ["places_shares", "map_step", "map_zero_code"], ["places_codes"]),
        make("MatMulInteger", ["places_codes", _CODES, "map_zero_code"], ["places_product"]),
        make("Cast", ["places_product"], ["places_counts"], to=TensorProto.FLOAT),
        make("Mul", ["places_counts", _ROW_STEPS], ["places_rows"]),
        make("Mul", ["places_rows", "map_step"], ["places_read"]),
        make("Transpose", ["places_read"], [product_NDL], perm=[0, 2, 1]),
    ]


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
