"""The text finder as ONNX: plain convolutions of opset 13, heights and widths free."""

from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from training.text_detector.textnet import TextNet


class _Graph:
    """Nodes and weights while they are written; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def conv(self, name: str, layer: nn.Module, source: str) -> str:
        if not isinstance(layer, nn.Conv2d):
            raise TypeError(f"expected a convolution, got {type(layer).__name__}")
        inputs = [source]
        for kind, value in layer.named_parameters():
            array = value.detach().contiguous().numpy()
            self.weights.append(numpy_helper.from_array(array, f"{name}.{kind}"))
            inputs.append(f"{name}.{kind}")
        # Each keeps its size but for the stride.
        pad = layer.dilation[0] * (layer.kernel_size[0] // 2)
        self.nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [name],
                kernel_shape=list(layer.kernel_size),
                strides=list(layer.stride),
                dilations=list(layer.dilation),
                pads=[pad] * 4,
                group=layer.groups,
            )
        )
        return name

    def relu(self, source: str) -> str:
        self.nodes.append(helper.make_node("Relu", [source], [f"{source}.relu"]))
        return f"{source}.relu"

    def add(self, name: str, left: str, right: str) -> str:
        self.nodes.append(helper.make_node("Add", [left, right], [name]))
        return name


def export(net: TextNet, file: Path) -> None:
    """Write ``frame`` (1, 1, height, width) -> ``logits`` (1, 1, rows, columns)."""
    graph, name = _Graph(), "frame"
    for i, layer in enumerate(net.stem):
        name = graph.relu(graph.conv(f"stem{i}", layer, name))
    for i, (deep, wide) in enumerate(zip(net.deep, net.wide, strict=True)):
        inner = graph.relu(graph.conv(f"deep{i}", deep, name))
        name = graph.relu(graph.add(f"sum{i}", name, graph.conv(f"wide{i}", wide, inner)))
    graph.conv("logits", net.last, name)
    sizes: dict[str, list[str | int | None]] = {
        "frame": [1, 1, "height", "width"],
        "logits": [1, 1, "rows", "columns"],
    }
    frame, logits = (
        helper.make_tensor_value_info(kind, TensorProto.FLOAT, size) for kind, size in sizes.items()
    )
    whole = helper.make_graph(graph.nodes, "text_finder", [frame], [logits], graph.weights)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8  # what OpenCV and older runtimes read
    onnx.checker.check_model(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(file))
