"""Which nodes of an ONNX graph produce what."""

from collections.abc import Iterable

import onnx


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
