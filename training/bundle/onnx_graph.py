"""Which nodes of an ONNX graph produce what."""

from collections.abc import Iterable, Iterator, Mapping

import onnx
from onnx import helper, numpy_helper

_POOLS = ("AveragePool", "MaxPool")


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node that produces each value of the graph."""
    return {name: node for node in graph.node for name in node.output}


def needed_for(graph: onnx.GraphProto, values: Iterable[str]) -> set[str]:
    """First outputs of all nodes that the values need."""
    by_output = producers(graph)
    needed: set[str] = set()
    waiting = list(values)
    while waiting:
        node = by_output.get(waiting.pop())
        if node is not None and node.output[0] not in needed:
            needed.add(node.output[0])
            waiting += node.input
    return needed


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of its branches."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_nodes(attribute.g)


def padded_pools(graph: onnx.GraphProto) -> list[str]:
    """Names of the pools that read a pad, which not every ONNX Runtime folds rightly."""
    padded = {node.output[0] for node in all_nodes(graph) if node.op_type == "Pad"}
    pools = (node for node in all_nodes(graph) if node.op_type in _POOLS)
    return [node.name for node in pools if node.input[0] in padded]


def fold_pads(graph: onnx.GraphProto) -> None:
    """Move each pad with zeros that only convolutions read into these convolutions, in place.

    Torch has no convolution with an uneven pad, which ONNX has.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for pad in [node for node in graph.node if node.op_type == "Pad"]:
        readers = [node for node in graph.node if pad.output[0] in node.input]
        widths = stored.get(pad.input[1])
        if widths is None or not _is_zero_pad(pad, stored):
            continue
        if any(node.op_type != "Conv" or node.input[0] != pad.output[0] for node in readers):
            continue
        begin, end = numpy_helper.to_array(widths).reshape(2, -1)
        if len(begin) != 4 or begin[:2].any() or end[:2].any():
            continue
        for conv in readers:
            before = next((list(a.ints) for a in conv.attribute if a.name == "pads"), [0] * 4)
            kept = [attribute for attribute in conv.attribute if attribute.name != "pads"]
            del conv.attribute[:]
            added = [*begin[2:].tolist(), *end[2:].tolist()]
            pads = [int(a + b) for a, b in zip(before, added, strict=True)]
            conv.attribute.extend([*kept, helper.make_attribute("pads", pads)])
            conv.input[0] = pad.input[0]
        graph.node.remove(pad)


def _is_zero_pad(pad: onnx.NodeProto, stored: Mapping[str, onnx.TensorProto]) -> bool:
    mode = next((a.s for a in pad.attribute if a.name == "mode"), b"constant")
    value = stored.get(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else None
    is_zero = value is None or not numpy_helper.to_array(value).any()
    return mode == b"constant" and is_zero and len(pad.input) < 4
