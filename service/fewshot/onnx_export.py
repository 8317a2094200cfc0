"""A head as one small ONNX network: embedding -> calibrated probabilities, for any ONNX runtime.

The graph: unit length, one matrix product, division by the temperature, softmax (or the sigmoid of
independent labels). Classes, encoder
and card travel as the model's metadata.

Shape suffixes: N rows, C classes, D embedding width.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.fewshot.calibrator import Calibrator
from service.fewshot.head import LEAST_LENGTH, LinearHead

Doubles: TypeAlias = npt.NDArray[np.float64]
INPUT_NAME, OUTPUT_NAME = "embedding", "probabilities"
OPSET, IR_VERSION = 17, 8  # old enough for runtimes of 2022, new enough for all that is used


def to_onnx(head: LinearHead, trust: Calibrator, card: Mapping[str, Any] | None = None) -> bytes:
    """A model with input ``embedding`` float32 (N, D) and output ``probabilities`` (N, C).

    Rows need not be of unit length; a row of zeros gives the probabilities of the bias.
    """
    scale = 1 / trust.calibration.temperature
    metadata = _metadata(head, trust, card or {})
    return _model(head.weights_CD * scale, head.bias_C * scale, metadata, "Softmax", {"axis": 1})


def to_onnx_sigmoid(weights_LD: Doubles, bias_L: Doubles, metadata: Mapping[str, str]) -> bytes:
    """As ``to_onnx``, with probabilities (N, L) that are independent of each other."""
    return _model(weights_LD, bias_L, metadata, "Sigmoid", {})


def _model(
    weights_CD: npt.NDArray[np.floating],
    bias_C: npt.NDArray[np.floating],
    metadata: Mapping[str, str],
    link: str,
    link_options: Mapping[str, Any],
) -> bytes:
    import onnx  # a third of a second that a starting service saves
    from onnx import TensorProto, helper, numpy_helper

    tensors = {
        "weights_DC": weights_CD.T.astype(np.float32),
        "bias_C": bias_C.astype(np.float32),
        "least_length": np.float32(LEAST_LENGTH),
    }
    nodes = [
        helper.make_node("ReduceL2", [INPUT_NAME], ["length"], axes=[1], keepdims=1),
        helper.make_node("Max", ["length", "least_length"], ["safe_length"]),
        helper.make_node("Div", [INPUT_NAME, "safe_length"], ["unit"]),
        helper.make_node("MatMul", ["unit", "weights_DC"], ["scores"]),
        helper.make_node("Add", ["scores", "bias_C"], ["logits"]),
        helper.make_node(link, ["logits"], [OUTPUT_NAME], **link_options),
    ]
    count, width = weights_CD.shape
    graph = helper.make_graph(
        nodes,
        "sonoprobe_head",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", count])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in tensors.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="sonoprobe",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    found: bytes = model.SerializeToString()
    return found


def _metadata(head: LinearHead, trust: Calibrator, card: Mapping[str, Any]) -> dict[str, str]:
    return {
        "encoder_id": head.encoder_id,
        "classes": json.dumps(list(head.classes)),
        "trust": json.dumps(trust.to_json()),
        "card": json.dumps(dict(card)),
    }
