"""An exported float network -> the torch trunk that it was written from.

A checkpoint may be lost while its bundle ships. The convolutions of ``encoder.fp32.onnx`` or
``encoder.fp16.onnx`` keep the names of the folded student, so the trunk can be read back: without
its batch-norms, which lie in the convolutions, and with its channels evened out. It computes the
same pooled features, and a new read-out can be fitted on it.

Shape suffixes: C channels, D embedding width, K pooled features.
"""

from collections.abc import Mapping
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
from training.networks.readout import WIDTH_TO_STAGE3, Readout
from training.networks.student import Trunk

_TRUNK = "trunk."
_NORM = {"Mul": "norm.0.weight", "Add": "norm.0.bias"}  # of the last norm, which has no node Conv


def read_trunk(path: Path) -> tuple[Trunk, Readout]:
    """The folded trunk up to stage 3, in eval mode, and the read-out of an exported network.

    The trunk wants the preprocessing of the bundle's manifest.

    Args:
        path: ``encoder.fp32.onnx`` or ``encoder.fp16.onnx`` of a bundle of a ResNet-50 v2 that
            ends at stage 3.

    Raises:
        InputError: the file is no such network.
    """
    try:
        graph = onnx.load(path).graph
    except (OSError, DecodeError) as error:
        raise InputError(f"{path.name} is no readable ONNX network") from error
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {
        name.removeprefix(_TRUNK): torch.from_numpy(values.astype(np.float32))
        for name, values in stored.items()
        if name.startswith(_TRUNK)
    }
    weights |= _last_norm(graph, stored)
    trunk = _folded()
    try:
        trunk.load_state_dict(weights)
        matrix_DK = stored["projection.weight"].astype(np.float32)[:, :, 0, 0]
        bias_D = stored["projection.bias"].astype(np.float32)
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path.name} holds no float ResNet-50 v2 up to stage 3") from error
    return trunk.eval(), Readout(matrix_DK, bias_D)


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
