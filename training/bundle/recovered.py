"""An exported float network -> the torch trunk that it was written from.

A checkpoint may be lost while its bundle ships. The convolutions of ``encoder.fp32.onnx`` or
``encoder.fp16.onnx`` keep the names of the folded student, so the trunk can be read back: without
its batch-norms, which lie in the convolutions, and with its channels evened out. It computes the
same pooled features, and a new read-out can be fitted on it.

Shape suffixes: C channels, D embedding width, K pooled features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from service.arrays import Floats
from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.bundle.deploy import assemble, fold_norms
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD
from training.networks.lite_trunk import LiteTrunk
from training.networks.readout import WIDTH_TO_STAGE3, Readout
from training.networks.student import Trunk

_TRUNK, _LITE = "trunk.", "lite."
_NORM = {"Mul": "norm.0.weight", "Add": "norm.0.bias"}  # of the last norm, which has no node Conv


@dataclass(frozen=True, slots=True)
class RecoveredNetworks:
    """The networks of a bundle, in eval mode, and their read-out.

    Attributes:
        trunk: folded, up to stage 3.
        lite: the second network beside it, or None.
        readout: of the features of the trunk, and behind them those of the second network.
    """

    trunk: Trunk
    lite: LiteTrunk | None
    readout: Readout


def read_trunk(path: Path) -> tuple[Trunk, Readout]:
    """The trunk of an encoder without a second network, and its read-out.

    Raises:
        InputError: as ``read_networks``, or the file has a second network.
    """
    found = read_networks(path)
    if found.lite is not None:
        raise InputError(
            f"{path.name} has a second network beside its trunk; give a bundle without one"
        )
    return found.trunk, found.readout


def read_networks(path: Path) -> RecoveredNetworks:
    """What an exported float network was written from.

    The networks want the preprocessing of the bundle's manifest.

    Args:
        path: ``encoder.fp32.onnx`` or ``encoder.fp16.onnx`` of a bundle of a ResNet-50 v2 that
            ends at stage 3.

    Raises:
        InputError: the file is no such network.
    """
    graph = _graph(path)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = _named(graph, _TRUNK) | _last_norm(graph, stored)
    trunk = _folded()
    try:
        trunk.load_state_dict(weights)
        matrix_DK = stored["projection.weight"].astype(np.float32)[:, :, 0, 0]
        bias_D = stored["projection.bias"].astype(np.float32)
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path.name} holds no float ResNet-50 v2 up to stage 3") from error
    lite = _lite_trunk(graph, path)
    return RecoveredNetworks(trunk.eval(), lite, Readout(matrix_DK, bias_D))


def _lite_trunk(graph: onnx.GraphProto, path: Path) -> LiteTrunk | None:
    weights = _named(graph, _LITE)
    if not weights:
        return None
    lite = LiteTrunk()
    try:
        lite.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{path.name} holds another second network") from error
    return lite.eval().requires_grad_(False)


def _graph(path: Path) -> onnx.GraphProto:
    try:
        return onnx.load(path).graph
    except (OSError, DecodeError) as error:
        raise InputError(f"{path.name} is no readable ONNX network") from error


def _named(graph: onnx.GraphProto, part: str) -> dict[str, torch.Tensor]:
    """The stored weights whose names begin with a part of the student, without it."""
    return {
        tensor.name.removeprefix(part): torch.from_numpy(
            numpy_helper.to_array(tensor).astype(np.float32)
        )
        for tensor in graph.initializer
        if tensor.name.startswith(part)
    }


def _folded() -> Trunk:
    """A trunk of the shape that ``fold_norms`` leaves, with random weights."""
    nothing = Readout(np.zeros((1, WIDTH_TO_STAGE3), np.float32), np.zeros(1, np.float32))
    spec = PreprocessSpec(160, IMAGENET_MEAN, IMAGENET_STD)
    student, _ = fold_norms(assemble(Trunk(3), nothing), spec)
    return student.trunk


def _last_norm(graph: onnx.GraphProto, stored: Mapping[str, Floats]) -> dict[str, torch.Tensor]:
    """Scale and shift of the last norm: the first product and sum with (C, 1, 1) numbers."""
    found: dict[str, torch.Tensor] = {}
    for node in graph.node:
        field = _NORM.get(node.op_type)
        given = [stored[name] for name in node.input if name in stored]
        if field in (None, *found) or not given or given[0].ndim != 3:
            continue
        values = torch.from_numpy(given[0].astype(np.float32)).flatten()
        found[str(field)] = values[:, None, None, None] if field == _NORM["Mul"] else values
    return found
