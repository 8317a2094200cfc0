"""A classifier as one small ONNX network: embedding -> calibrated probabilities.

The graph: unit length, one matrix product, division by the temperature, softmax (or the sigmoid of
independent labels). Classes, encoder and card travel as the model's metadata.

Shape suffixes: N rows, C classes, D embedding width.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from service.fewshot.classifier import FewShotClassifier
from service.fewshot.head import MIN_LENGTH

INPUT_NAME, OUTPUT_NAME = "embedding", "probabilities"
OPSET, IR_VERSION = 17, 8  # runtimes of 2022 and later


def to_onnx(classifier: FewShotClassifier, card: Mapping[str, Any] | None = None) -> bytes:
    """A model with input ``embedding`` float32 (N, D) and output ``probabilities`` (N, C).

    The columns are the outputs of the classifier: classes by softmax, or labels by sigmoid. Rows
    need not be of unit length; a row of zeros gives the probabilities of the bias.
    """
    metadata = {
        "encoder_id": classifier.encoder_id,
        "kind": "single_label" if None in classifier.heads else "multi_label",
        "classes": json.dumps(list(classifier.labels)),
        "thresholds": json.dumps(classifier.thresholds),
        "card": json.dumps(dict(card or {})),
    }
    if classifier.asked_with != "frame":
        metadata["asked_with"] = classifier.asked_with
    heads = list(classifier.heads.values())
    scales = [1 / head.calibrator.calibration.temperature for head in heads]
    whole = classifier.heads.get(None)
    if whole is not None:
        weights_CD, bias_C = whole.head.weights_CD * scales[0], whole.head.bias_C * scales[0]
        return _model(weights_CD, bias_C, metadata, "Softmax", {"axis": 1})
    # The softmax of two classes is the sigmoid of the difference of their logits.
    scales_L = np.array(scales)
    weights_LD = np.stack([np.diff(head.head.weights_CD, axis=0)[0] for head in heads])
    bias_L = np.array([np.diff(head.head.bias_C)[0] for head in heads])
    return _model(weights_LD * scales_L[:, None], bias_L * scales_L, metadata, "Sigmoid", {})


def _model(
    weights_CD: npt.NDArray[np.floating],
    bias_C: npt.NDArray[np.floating],
    metadata: Mapping[str, str],
    link: str,
    link_options: Mapping[str, Any],
) -> bytes:
    import onnx  # the import takes a third of a second
    from onnx import TensorProto, helper, numpy_helper

    tensors = {
        "weights_DC": weights_CD.T.astype(np.float32),
        "bias_C": bias_C.astype(np.float32),
        "min_length": np.float32(MIN_LENGTH),
    }
    nodes = [
        helper.make_node("ReduceL2", [INPUT_NAME], ["length"], axes=[1], keepdims=1),
        helper.make_node("Max", ["length", "min_length"], ["safe_length"]),
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
    data: bytes = model.SerializeToString()
    return data
