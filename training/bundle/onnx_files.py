"""Student -> ONNX files: fp32, fp16, and int8 by static quantisation on real frames.

Shape suffixes: N frames, S encoder side, D embedding width.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import nn

from service.arrays import Floats
from service.errors import InputError
from service.imaging.analysis.text import TextNetwork
from training.bundle.onnx_branches import MAPS_INPUT
from training.bundle.onnx_graph import all_nodes, fold_pads, needed_for, padded_pools
from training.networks.onnx_export import export_onnx

PERCENTILE = 99.999  # of activations; rare peaks would cost every other value its steps
INPUT, OUTPUTS = "frames", ("embedding", "feature_map")


def write_fp32(student: nn.Module, side_px: int, path: Path) -> None:
    """Export with a free batch axis; input ``frames`` (N, 3, S, S), outputs as named above."""
    export_onnx(
        student,
        torch.zeros(2, 3, side_px, side_px),
        path,
        input_name=INPUT,
        output_names=OUTPUTS,
        free_axes={0: torch.export.Dim("n", min=1, max=4096)},
    )
    network = onnx.load(path)
    fold_pads(network.graph)
    onnx.save(network, str(path))


def write_fp16(source: Path, path: Path) -> None:
    """Halve the weights; inputs and outputs stay float32."""
    network = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    onnx.save(network, str(path))


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    """Feeds calibration inputs a few at a time; the percentile calibrator wants equal batches."""

    def __init__(self, inputs_N3SS: Floats, most: int = 8) -> None:
        batch = max(size for size in range(1, most + 1) if len(inputs_N3SS) % size == 0)
        starts = range(0, len(inputs_N3SS), batch)
        self._batches = iter([inputs_N3SS[i : i + batch] for i in starts])

    def get_next(self) -> dict[str, Floats] | None:
        """The next input of the network, None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def write_int8(
    source: Path, path: Path, calibration_N3SS: Floats, *, keep_float: tuple[str, ...] = ()
) -> None:
    """Static QDQ: int8 weights per output channel, uint8 activations by range on real frames."""
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        written = Path(scratch) / "int8.onnx"
        quantize_static(
            str(prepared),
            str(written),
            _Frames(calibration_N3SS),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            nodes_to_exclude=list(keep_float),
            extra_options={"CalibPercentile": PERCENTILE},
        )
        # Renamed as a whole: what a run that was killed left is not taken for a network.
        unfinished = path.with_suffix(".partial")
        shutil.copyfile(written, unfinished)
        unfinished.replace(path)


def first_convolutions(path: Path, count: int) -> tuple[str, ...]:
    """Names of the first ``count`` convolutions in the order of the graph."""
    nodes = [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    return tuple(nodes[:count])


def convolutions_of(path: Path, parts: Sequence[str]) -> tuple[str, ...]:
    """Names of the convolutions of a float network whose weights begin with one of the names."""
    return tuple(
        node.name
        for node in onnx.load(path).graph.node
        if node.op_type == "Conv" and node.input[1].startswith(tuple(parts))
    )


def readout_nodes(path: Path) -> tuple[str, ...]:
    """Names of the nodes that no convolution of the trunk needs: the read-out.

    It is small, and the centring in it is only as exact as its arithmetic. A depth-wise last
    convolution is the last norm of a pre-activation network and belongs to it.
    """
    graph = onnx.load(path).graph
    trunk = [node for node in graph.node if node.op_type == "Conv"]
    if any(attribute.name == "group" and attribute.i > 1 for attribute in trunk[-1].attribute):
        trunk = trunk[:-1]
    needed = needed_for(graph, [node.output[0] for node in trunk])
    return tuple(node.name for node in graph.node if node.output[0] not in needed)


def refuse_padded_pools(path: Path) -> None:
    """Raises InputError: a pool reads a pad, so that ONNX Runtime before 1.32 may not open it."""
    pools = padded_pools(onnx.load(path).graph)
    if pools:
        raise InputError(f"{path.name}: expected pools without a pad before them, got {pools}")


def drop_traces(path: Path) -> None:
    """Drop what torch's exporter notes of each node: stack traces with folders of the machine."""
    network = onnx.load(path)
    noted = [node for node in all_nodes(network.graph) if node.metadata_props]
    for node in noted:
        node.ClearField("metadata_props")
    if noted:
        onnx.save(network, str(path))


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """For the CPU with ``threads`` threads; 0 = every core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # that the default of ``maps`` may be changed is meant
    # As in the service: an earlier bundle has pads that versions before 1.32 fold wrongly.
    options.add_session_config_entry("optimization.disable_specified_optimizers", "Pad_Fusion")
    return options


def open_network(path: Path | bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """Open a file, or what it would hold, on the CPU with ``threads`` threads; 0 = every core."""
    network = path if isinstance(path, bytes) else str(path)
    return onnxruntime.InferenceSession(
        network, session_options(threads), providers=["CPUExecutionProvider"]
    )


def open_text_network(path: Path) -> TextNetwork:
    """The network of the text finder, on one thread, as ``TextFinder`` takes it."""
    session = open_network(path, threads=1)

    def network(frame_11hw: Floats) -> Floats:
        return np.asarray(session.run(["logits"], {"frame": frame_11hw})[0])

    return network


def open_pooled(path: Path, threads: int = 0) -> Callable[[Floats], Floats]:
    """A function from preprocessed frames (B, 3, S, S) to pooled features (B, K), float32.

    Args:
        path: an fp32 or int8 network that ``export`` wrote.
    """
    network = onnx.load(path)
    needed = needed_for(network.graph, ["embedding"])
    joined = [
        node.output[0]
        for node in network.graph.node
        if node.op_type == "Concat"
        and helper.get_node_attr_value(node, "axis") == 1  # not those that put shapes together
        and node.output[0] in needed
    ]
    if not joined:
        raise InputError(f"{path.name} joins no pooled features")
    value = helper.make_tensor_value_info(joined[-1], TensorProto.FLOAT, None)
    network.graph.output.append(value)
    session = onnxruntime.InferenceSession(
        network.SerializeToString(), session_options(threads), providers=["CPUExecutionProvider"]
    )

    def pool(frames_B3SS: Floats) -> Floats:
        return np.asarray(session.run([joined[-1]], {INPUT: frames_B3SS})[0])

    return pool


def takes_maps(session: onnxruntime.InferenceSession) -> bool:
    """Whether the network gives its feature map only on request."""
    return MAPS_INPUT in {value.name for value in session.get_overridable_initializers()}


def embed(
    session: onnxruntime.InferenceSession, inputs_N3SS: Floats, *, batch: int = 8
) -> tuple[Floats, Floats]:
    """Run in batches; return embeddings_ND and feature_maps_NDhw, float32."""
    request = {MAPS_INPUT: np.array(True)} if takes_maps(session) else {}
    parts = [
        session.run(list(OUTPUTS), {INPUT: inputs_N3SS[i : i + batch], **request})
        for i in range(0, len(inputs_N3SS), batch)
    ]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
