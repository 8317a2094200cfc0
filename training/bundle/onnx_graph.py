"""Which nodes of an ONNX graph produce what."""

from collections.abc import Iterable, Iterator

import onnx

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
