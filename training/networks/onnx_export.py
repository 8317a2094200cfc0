"""PyTorch networks -> ONNX files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

OPSET = 18


def export_onnx(
    network: nn.Module,
    example: Tensor,
    path: Path,
    *,
    input_name: str,
    output_names: Sequence[str],
    free_axes: Mapping[int, torch.export.Dim],
) -> None:
    """Write a network in eval mode; ``free_axes`` of its input may have any size."""
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        input_names=[input_name],
        output_names=list(output_names),
        opset_version=OPSET,
        dynamic_shapes=(dict(free_axes),),
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter returned no program")
    model = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # stack traces: folders of this machine
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
