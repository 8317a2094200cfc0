"""What an encoder costs: size, work and CPU time per frame.

Shape suffixes: B batch, S encoder side.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch.utils.flop_counter import FlopCounterMode

from service.errors import ArtifactMismatch
from training.bundle.onnx_files import open_network
from training.evaluation.encoders import BundleEncoder, FrameEncoder, TorchEncoder

BATCHES = (1, 8)
ROUNDS = 7
REPEATS = 3  # runs of one encoder before the next has its turn
_WEIGHTED = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one encoder.

    Attributes:
        parameters: weights and biases that run, batch-norm shifts included.
        file_bytes: of its weights on disk; None when it has none.
        multiply_adds: of one frame, in convolutions and matrix products.
        cpu_ms: batch -> median milliseconds of one core per frame, preprocessing not included.
    """

    parameters: int
    file_bytes: int | None
    multiply_adds: int
    cpu_ms: dict[str, float]


def measure_costs(
    encoders: Sequence[FrameEncoder], *, rounds: int = ROUNDS, batches: Sequence[int] = BATCHES
) -> dict[str, Cost]:
    """Cost of each by name, timed in turns in this one process, medians over all rounds.

    Each has one thread: idle threads of one runtime spin beside the next, and the time of one
    thread is its processor time.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = _timed([_with_one_thread(encoder) for encoder in encoders], rounds, batches)
    finally:
        torch.set_num_threads(threads)
    costs = {}
    for encoder in encoders:
        medians_s = {b: statistics.median(times[encoder.name, b]) for b in batches}
        cpu_ms = {str(b): round(1000 * median_s / b, 3) for b, median_s in medians_s.items()}
        costs[encoder.name] = Cost(*_size_and_work(encoder), cpu_ms)
    return costs


def _with_one_thread(encoder: FrameEncoder) -> FrameEncoder:
    if isinstance(encoder, BundleEncoder):
        return replace(encoder, session=open_network(encoder.path, 1))
    return encoder


def _timed(
    encoders: Sequence[FrameEncoder], rounds: int, batches: Sequence[int]
) -> dict[tuple[str, int], list[float]]:
    """Seconds of each pass, by encoder and batch."""
    times: dict[tuple[str, int], list[float]] = {}
    for batch in batches:
        inputs = {e.name: _inputs(e, batch) for e in encoders}
        for encoder in encoders:
            encoder.forward(inputs[encoder.name])  # allocates and warms up
        # In turns: a busy moment of the machine then hits all of them, not one.
        for _ in range(rounds):
            for encoder in encoders:
                encoder.forward(inputs[encoder.name])  # its weights are in the cache again
                for _ in range(REPEATS):
                    began = time.perf_counter()
                    encoder.forward(inputs[encoder.name])
                    times.setdefault((encoder.name, batch), []).append(time.perf_counter() - began)
    return times


def _inputs(encoder: FrameEncoder, batch: int) -> Any:
    shape = (batch, 3, encoder.spec.side_px, encoder.spec.side_px)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _size_and_work(encoder: FrameEncoder) -> tuple[int, int | None, int]:
    stored = encoder.path.stat().st_size if encoder.path else None
    if isinstance(encoder, TorchEncoder):
        counter = FlopCounterMode(display=False)
        with counter:
            encoder.forward(_inputs(encoder, 1))
        return encoder.parameters, stored, counter.get_total_flops() // 2
    if isinstance(encoder, BundleEncoder):
        parameters, work = onnx_counts(encoder.path)
        return parameters, stored, work
    return 0, stored, 0


def onnx_counts(path: Path) -> tuple[int, int]:
    """Parameters, and multiply-adds of one frame, of the weighted nodes of an ONNX network.

    Weights behind a DequantizeLinear count as what they stand for; scales and zero points do not.

    Raises:
        ArtifactMismatch: a weighted node whose output shape cannot be told.
    """
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes = {v.name: _shape(v) for v in (*graph.value_info, *graph.output)}
    # int8: initializer -> DequantizeLinear -> node.
    for node in graph.node:
        if node.op_type in ("DequantizeLinear", "Cast", "Transpose") and node.input[0] in sizes:
            sizes[node.output[0]] = sizes[node.input[0]]
    parameters = work = 0
    for node in graph.node:
        if node.op_type not in _WEIGHTED or node.input[1] not in sizes:
            continue
        weights = sizes[node.input[1]]
        parameters += prod(weights) + sum(prod(sizes[n]) for n in node.input[2:] if n in sizes)
        if node.output[0] not in shapes:
            raise ArtifactMismatch(f"the output shape of {node.name} cannot be told")
        if node.op_type == "Conv":
            work += prod(weights) * prod(shapes[node.output[0]][2:])
        else:
            work += prod(weights) * prod(shapes[node.output[0]][1:-1])
    return parameters, work


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(int(d.dim_value) for d in value.type.tensor_type.shape.dim)
