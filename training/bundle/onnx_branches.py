"""Make a network compute ``feature_map`` only on request.

A runtime computes every output of a graph, wanted or not, and the map costs a matrix product at
every place of the frame. So what only the map needs moves into a branch behind the optional
input ``maps`` (bool, default False: then ``feature_map`` comes out with 0 rows).
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.bundle.onnx_graph import needed_for

MAPS_INPUT = "maps"
_EMBEDDING, _MAP = "embedding", "feature_map"


def maps_on_request(path: Path) -> None:
    """Rewrite the ONNX file in place; outputs with ``maps`` True are what they were before."""
    network = onnx.load(path)
    graph = network.graph
    shape = [dim.dim_value for dim in _output(graph, _MAP).type.tensor_type.shape.dim]
    for_embedding = needed_for(graph, [_EMBEDDING])
    for_map = needed_for(graph, [_MAP]) - for_embedding
    moved = [node for node in graph.node if node.output[0] in for_map]
    branches = {
        "then_branch": _branch(_renamed(moved)),
        "else_branch": _branch([_nothing(shape[1:])]),
    }
    rest = [node for node in graph.node if node.output[0] in for_embedding]
    choice = helper.make_node("If", [MAPS_INPUT], [_MAP], name="maps_on_request", **branches)
    del graph.node[:]
    graph.node.extend([*rest, choice])
    graph.input.append(helper.make_tensor_value_info(MAPS_INPUT, TensorProto.BOOL, []))
    graph.initializer.append(numpy_helper.from_array(np.array(False), MAPS_INPUT))
    onnx.save(network, str(path))


def _output(graph: onnx.GraphProto, name: str) -> onnx.ValueInfoProto:
    output: onnx.ValueInfoProto = next(output for output in graph.output if output.name == name)
    return output


def _renamed(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """A branch may not give a name that the graph around it gives as well."""
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        outputs = [f"{name}_then" if name == _MAP else name for name in node.output]
        del copy.output[:]
        copy.output.extend(outputs)
        copies.append(copy)
    return copies


def _nothing(shape: list[int]) -> onnx.NodeProto:
    empty = numpy_helper.from_array(np.zeros((0, *shape), np.float32))
    return helper.make_node("Constant", [], [f"{_MAP}_else"], value=empty)


def _branch(nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
    output = nodes[-1].output[0]  # a graph's nodes stand in the order in which they run
    info = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, output, [], [info])
