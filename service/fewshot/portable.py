"""A head with everything its answers need, as bytes that outlive this program.

The npz (format 1) holds float arrays and one JSON document; nothing in it can run code. A reader
refuses other formats, other encoders and any byte that changed.

Shape suffixes: C classes, D embedding width, S anchors, M calibration items or distances.
"""

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from service.errors import ArtifactMismatch, EncoderMismatch
from service.fewshot.calibrator import Calibrator
from service.fewshot.conformal import Conformal
from service.fewshot.conformal import Method as SetMethod
from service.fewshot.head import UNREADABLE, LinearHead
from service.fewshot.novelty import Method as DistanceMethod
from service.fewshot.novelty import Novelty
from service.fewshot.temperature import Calibration, Reliability

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]

FORMAT = "sonoprobe-classifier"
FORMAT_VERSION = 1
_DTYPES: dict[str, type[np.generic]] = {
    "weights_CD": np.float32,
    "bias_C": np.float32,
    "anchors_SD": np.float32,
    "usual_M": np.float64,
    "scores_M": np.float64,
    "labels_M": np.int64,
}


@dataclass(frozen=True, slots=True)
class Portable:
    """What one file carries.

    Attributes:
        card: any JSON that should travel along: the report, provenance, a licence.
    """

    head: LinearHead
    trust: Calibrator
    card: dict[str, Any]


def to_bytes(head: LinearHead, trust: Calibrator, card: Mapping[str, Any] | None = None) -> bytes:
    """An npz of arrays and JSON, with a digest of its content."""
    arrays, text = _arrays(head, trust), _text(_facts(head, trust, card or {}))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        facts=np.frombuffer(text.encode(), np.uint8),
        sha256=np.frombuffer(_digest(text, arrays), np.uint8),
        **arrays,
    )
    return buffer.getvalue()


def to_document(
    head: LinearHead, trust: Calibrator, card: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The same as JSON values; an array is its dtype, shape and little-endian bytes in base64."""
    arrays, facts = _arrays(head, trust), _facts(head, trust, card or {})
    return facts | {
        "sha256": _digest(_text(facts), arrays).hex(),
        "arrays": {
            name: {
                "dtype": values.dtype.str,
                "shape": list(values.shape),
                "base64": base64.b64encode(np.ascontiguousarray(values).tobytes()).decode(),
            }
            for name, values in arrays.items()
        },
    }


def from_document(document: Mapping[str, Any], *, encoder_id: str | None = None) -> Portable:
    """Read what ``to_document`` made.

    Raises:
        ArtifactMismatch: damaged, of another format, or of a version this reader does not know.
        EncoderMismatch: made for another encoder than ``encoder_id``.
    """
    try:
        facts = {k: v for k, v in document.items() if k not in {"sha256", "arrays"}}
        _check_format(facts)
        expected = bytes.fromhex(document["sha256"])
        arrays = {name: _decoded(document["arrays"][name], _DTYPES[name]) for name in _DTYPES}
        text = _text(facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactMismatch("the classifier document cannot be read") from error
    return _verified(text, facts, arrays, expected, encoder_id)


def from_bytes(data: bytes, *, encoder_id: str | None = None) -> Portable:
    """Read what ``to_bytes`` wrote.

    Raises:
        ArtifactMismatch: damaged, of another format, or of a version this reader does not know.
        EncoderMismatch: made for another encoder than ``encoder_id``.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            text = stored["facts"].tobytes().decode()
            expected = stored["sha256"].tobytes()
            facts = json.loads(text)
            _check_format(facts)
            arrays = {name: stored[name] for name in _DTYPES}
    except UNREADABLE as error:
        raise ArtifactMismatch("the classifier file cannot be read") from error
    return _verified(text, facts, arrays, expected, encoder_id)


def _facts(head: LinearHead, trust: Calibrator, card: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "encoder_id": head.encoder_id,
        "classes": list(head.classes),
        "calibration": trust.calibration.to_json() | {"temperature": trust.calibration.temperature},
        "conformal": {"method": trust.conformal.method},
        "novelty": {"method": trust.novelty.method, "far_from": _finite(trust.novelty.far_from)},
        "least_margin": trust.least_margin,
        "margin_chosen_by": trust.margin_chosen_by,
        "card": dict(card),
    }


def _text(facts: Mapping[str, Any]) -> str:
    """The one spelling of which the digest is taken. Raises ValueError: NaN or infinity."""
    return json.dumps(facts, sort_keys=True, allow_nan=False)


def _check_format(facts: Mapping[str, Any]) -> None:
    version = facts["format"], facts["format_version"]
    if version != (FORMAT, FORMAT_VERSION):
        raise ArtifactMismatch(f"expected {FORMAT} {FORMAT_VERSION}, got another format or version")


def _decoded(stored: Mapping[str, Any], dtype: type[np.generic]) -> npt.NDArray[Any]:
    if stored["dtype"] != np.dtype(dtype).str:
        raise ValueError("another dtype")
    flat = np.frombuffer(base64.b64decode(stored["base64"], validate=True), dtype)
    return flat.reshape(stored["shape"])


def _verified(
    text: str, facts: dict[str, Any], arrays: Arrays, expected: bytes, encoder_id: str | None
) -> Portable:
    if _digest(text, arrays) != expected:
        raise ArtifactMismatch("the classifier was changed: its digest does not match")
    try:
        found = _rebuilt(facts, arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactMismatch("the classifier lacks a field") from error
    _check(found)
    if encoder_id is not None and found.head.encoder_id != encoder_id:
        raise EncoderMismatch(f"fitted for {found.head.encoder_id}, loaded is {encoder_id}")
    return found


def _arrays(head: LinearHead, trust: Calibrator) -> Arrays:
    return {
        "weights_CD": head.weights_CD,
        "bias_C": head.bias_C,
        "anchors_SD": trust.novelty.anchors_SD,
        "usual_M": trust.novelty.usual_M,
        "scores_M": trust.conformal.scores_M,
        "labels_M": trust.conformal.labels_M.astype(np.int64),
    }


def _digest(text: str, arrays: Arrays) -> bytes:
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {values.dtype.str} {values.shape}".encode())
        found.update(values.tobytes())
    return found.digest()


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _rebuilt(facts: dict[str, Any], arrays: Arrays) -> Portable:
    classes = tuple(str(name) for name in facts["classes"])
    far_from = facts["novelty"]["far_from"]
    return Portable(
        LinearHead(str(facts["encoder_id"]), classes, arrays["weights_CD"], arrays["bias_C"]),
        Calibrator(
            _calibration(facts["calibration"]),
            Conformal(
                _one_of(SetMethod, facts["conformal"]["method"]),
                classes,
                arrays["scores_M"],
                arrays["labels_M"],
            ),
            Novelty(
                _one_of(DistanceMethod, facts["novelty"]["method"]),
                arrays["anchors_SD"],
                arrays["usual_M"],
                float("inf") if far_from is None else float(far_from),
            ),
            float(facts["least_margin"]),
            str(facts["margin_chosen_by"]),
        ),
        dict(facts["card"]),
    )


def _calibration(facts: dict[str, Any]) -> Calibration:
    before, after = facts["before"], facts["after"]
    return Calibration(
        float(facts["temperature"]),
        int(facts["groups"]),
        before and Reliability(**before),
        after and Reliability(**after),
        facts["not_calibrated_because"],
        int(facts["missing_groups"]),
    )


def _one_of(kind: Any, value: str) -> Any:
    if value not in get_args(kind):
        raise ValueError(value)
    return value


def _check(found: Portable) -> None:
    """Shapes, types and values that fit together."""
    arrays = _arrays(found.head, found.trust)
    for name, dtype in _DTYPES.items():
        if arrays[name].dtype != dtype or not np.isfinite(arrays[name]).all():
            raise ArtifactMismatch(f"expected finite {np.dtype(dtype)} in {name}")
    count, labels_M = len(found.head.classes), arrays["labels_M"]
    weights_CD, anchors_SD = arrays["weights_CD"], arrays["anchors_SD"]
    fits = (
        count >= 2
        and weights_CD.ndim == anchors_SD.ndim == 2
        and len(weights_CD) == count
        and arrays["bias_C"].shape == (count,)
        and anchors_SD.shape[1] == weights_CD.shape[1]
        and arrays["scores_M"].shape == labels_M.shape == (len(labels_M),)
        and arrays["usual_M"].ndim == 1
        and bool(((labels_M >= 0) & (labels_M < count)).all())
        and found.trust.calibration.temperature > 0
    )
    if not fits:
        raise ArtifactMismatch("the arrays of the classifier do not fit together")
