"""A classifier with all that its predictions need, as one portable document.

The document (format 1) is JSON: facts, arrays as base64, and a digest of everything. A reader
refuses other formats, other encoders and any changed value. The catalog keeps the same document
without the anchors, as UTF-8.

Shape suffixes: C classes, D embedding width, S anchors, M calibration items or distances.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from service.errors import ArtifactMismatch, EncoderMismatch, InputError
from service.fewshot.calibrator import Calibration, Calibrator
from service.fewshot.classifier import PRESENCE, AskedWith, CalibratedHead, FewShotClassifier
from service.fewshot.conformal import Conformal
from service.fewshot.conformal import Method as SetMethod
from service.fewshot.head import LinearHead
from service.fewshot.novelty import Method as DistanceMethod
from service.fewshot.novelty import Novelty

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
T = TypeVar("T")

FORMAT = "sonoprobe-classifier"
FORMAT_VERSION = 1
VIEWS_FORMAT_VERSION = 2  # release 0.1.0 would ask with single embeddings, so it must refuse these
_HEAD_ARRAYS: dict[str, type[np.generic]] = {
    "weights_CD": np.float32,
    "bias_C": np.float32,
    "scores_M": np.float64,
    "labels_M": np.int64,
}
_PRIOR_ARRAY: dict[str, type[np.generic]] = {"prior_P": np.float64}  # absent in release 0.1.0
_NOVELTY_ARRAYS: dict[str, type[np.generic]] = {"anchors_SD": np.float32, "usual_M": np.float64}
_UNREADABLE = (InputError, KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True)
class PortableClassifier:
    """The content of a document.

    Attributes:
        card: any other JSON: the report, provenance, a licence.
    """

    classifier: FewShotClassifier
    card: dict[str, Any]


def version_of(asked_with: str) -> int:
    """The version of the format of documents that are asked so."""
    return FORMAT_VERSION if asked_with == "frame" else VIEWS_FORMAT_VERSION


def to_document(
    classifier: FewShotClassifier, card: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The document as JSON values. Raises ValueError: NaN or infinity."""
    novelty = classifier.novelty
    far_from = novelty.far_from if math.isfinite(novelty.far_from) else None
    facts = {
        "format": FORMAT,
        "format_version": version_of(classifier.asked_with),
        "encoder_id": classifier.encoder_id,
        "heads": [_head_facts(label, head) for label, head in classifier.heads.items()],
        "novelty": {
            "method": novelty.method,
            "far_from": far_from,
            "arrays": _encoded({"anchors_SD": novelty.anchors_SD, "usual_M": novelty.usual_M}),
        },
        "card": dict(card or {}),
    }
    if classifier.asked_with != "frame":  # so that other documents stay as they were
        facts["asked_with"] = classifier.asked_with
    return facts | {"sha256": digest_of(facts)}


def from_document(
    document: Mapping[str, Any], *, encoder_id: str | None = None
) -> PortableClassifier:
    """Read a document.

    Raises:
        ArtifactMismatch: damaged, or of another format or format version.
        EncoderMismatch: made for another encoder than ``encoder_id``.
    """
    try:
        facts = {key: value for key, value in document.items() if key != "sha256"}
        version = version_of(facts.get("asked_with", "frame"))
        if (facts["format"], facts["format_version"]) != (FORMAT, version):
            raise ArtifactMismatch(f"expected {FORMAT} {version}, got another format or version")
        if digest_of(facts) != document["sha256"]:
            raise ArtifactMismatch("the classifier was changed: its digest does not match")
        made_for = str(facts["encoder_id"])
        classifier = FewShotClassifier(
            made_for,
            dict(_heads(facts["heads"], made_for)),
            _novelty(facts["novelty"]),
            _read(AskedWith, facts.get("asked_with", "frame"), "asked_with"),
        )
        card = dict(facts["card"])
    except _UNREADABLE as error:
        raise ArtifactMismatch("the classifier document cannot be read") from error
    _check(classifier)
    if encoder_id is not None and made_for != encoder_id:
        raise EncoderMismatch(f"fitted for {made_for}, loaded is {encoder_id}")
    return PortableClassifier(classifier, card)


def to_bytes(classifier: FewShotClassifier) -> bytes:
    """The document without a card as UTF-8."""
    return json.dumps(to_document(classifier), sort_keys=True).encode()


def from_bytes(data: bytes, *, encoder_id: str | None = None) -> FewShotClassifier:
    """Read the document from UTF-8. Raises as ``from_document``."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise ArtifactMismatch("the classifier file cannot be read") from error
    return from_document(document, encoder_id=encoder_id).classifier


def _head_facts(label: str | None, head: CalibratedHead) -> dict[str, Any]:
    calibrator = head.calibrator
    arrays: Arrays = {
        "weights_CD": head.head.weights_CD,
        "bias_C": head.head.bias_C,
        "scores_M": calibrator.conformal.scores_M,
        "labels_M": calibrator.conformal.labels_M.astype(np.int64),
    }
    if len(calibrator.conformal.prior_P):
        arrays["prior_P"] = calibrator.conformal.prior_P
    return {
        "label": label,
        "classes": list(head.head.classes),
        "calibration": to_plain(calibrator.calibration),
        "conformal": {"method": calibrator.conformal.method},
        "min_margin": calibrator.min_margin,
        "margin_chosen_by": calibrator.margin_chosen_by,
        "thresholds": dict(head.thresholds),
        "arrays": _encoded(arrays),
    }


def _heads(
    documents: list[dict[str, Any]], encoder_id: str
) -> Iterator[tuple[str | None, CalibratedHead]]:
    for document in documents:
        optional = _PRIOR_ARRAY if "prior_P" in document["arrays"] else {}
        arrays = _decoded(document["arrays"], _HEAD_ARRAYS | optional)
        classes = tuple(str(name) for name in document["classes"])
        sets = Conformal(
            _read(SetMethod, document["conformal"]["method"], "method"),
            classes,
            arrays["scores_M"],
            arrays["labels_M"],
            arrays.get("prior_P", np.empty(0)),
        )
        calibrator = Calibrator(
            from_plain(Calibration, document["calibration"]),
            sets,
            float(document["min_margin"]),
            str(document["margin_chosen_by"]),
        )
        label = document["label"]
        yield (
            None if label is None else str(label),
            CalibratedHead(
                LinearHead(encoder_id, classes, arrays["weights_CD"], arrays["bias_C"]),
                calibrator,
                {str(name): float(value) for name, value in document["thresholds"].items()},
            ),
        )


def _novelty(document: dict[str, Any]) -> Novelty:
    arrays = _decoded(document["arrays"], _NOVELTY_ARRAYS)
    far_from = document["far_from"]
    return Novelty(
        _read(DistanceMethod, document["method"], "method"),
        arrays["anchors_SD"],
        arrays["usual_M"],
        math.inf if far_from is None else float(far_from),
    )


def digest_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of a document without its own ``sha256``. Raises ValueError: NaN or infinity."""
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _encoded(arrays: Arrays) -> dict[str, Any]:
    """An array is its dtype, shape and little-endian bytes."""
    return {
        name: {
            "dtype": values.dtype.str,
            "shape": list(values.shape),
            "base64": base64.b64encode(np.ascontiguousarray(values).tobytes()).decode(),
        }
        for name, values in arrays.items()
    }


def _decoded(stored: Mapping[str, Any], dtypes: Mapping[str, type[np.generic]]) -> Arrays:
    """Raises ValueError: another dtype or shape, or numbers that are not finite."""
    arrays: Arrays = {}
    for name, dtype in dtypes.items():
        item = stored[name]
        if item["dtype"] != np.dtype(dtype).str:
            raise ValueError(name)
        flat = np.frombuffer(base64.b64decode(item["base64"], validate=True), dtype)
        if not np.isfinite(flat).all():
            raise ValueError(name)
        arrays[name] = flat.reshape(item["shape"])
    return arrays


def _check(classifier: FewShotClassifier) -> None:
    """Raises ArtifactMismatch: names, shapes or values do not fit together."""
    labels, novelty = list(classifier.heads), classifier.novelty
    named = [str(label) for label in labels if label]
    is_multi_label = bool(named) and len(named) == len(labels)
    fits = (labels == [None] or (is_multi_label and named == sorted(set(named)))) and (
        novelty.anchors_SD.ndim == 2
        and novelty.anchors_SD.shape[1] == classifier.width
        and novelty.usual_M.ndim == 1
    )
    if not fits or not all(
        _fits(label, head, classifier.width) for label, head in classifier.heads.items()
    ):
        raise ArtifactMismatch("the parts of the classifier do not fit together")


def _fits(label: str | None, head: CalibratedHead, width: int) -> bool:
    classes, sets = head.head.classes, head.calibrator.conformal
    count, labels_M = len(classes), sets.labels_M
    return (
        (count >= 2 if label is None else classes == PRESENCE)
        and head.head.weights_CD.shape == (count, width)
        and head.head.bias_C.shape == (count,)
        and sets.scores_M.shape == labels_M.shape == (len(labels_M),)
        and bool(((labels_M >= 0) & (labels_M < count)).all())
        and sets.prior_P.ndim == 1
        and bool((np.diff(sets.prior_P) >= 0).all())
        and head.calibrator.calibration.temperature > 0
        and all(name in classes and 0 <= value <= 1 for name, value in head.thresholds.items())
    )


def to_plain(value: Any, digits: int | None = None) -> Any:
    """Dataclasses, mappings and tuples as JSON values; floats rounded where ``digits`` is given."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name), digits) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain(part, digits) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(part, digits) for part in value]
    return round(value, digits) if isinstance(value, float) and digits is not None else value


def from_plain(kind: type[T], document: Any, *, where: str | None = None) -> T:
    """The dataclass whose ``to_plain``, or ``dataclasses.asdict``, gave ``document``.

    Args:
        where: the place of the document, for errors; None = the name of the dataclass.

    Raises:
        InputError: unknown or missing fields, or a value of another type.
    """
    value: T = _read(kind, document, where or kind.__name__)
    return value


def _read(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _read_union(arguments, value, where)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return _read_tuple(arguments, value, where)
    if origin in (Mapping, dict) and isinstance(value, dict):
        return {key: _read(arguments[1], item, f"{where}.*") for key, item in value.items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise InputError(f"{where}: expected {kind}, got {type(value).__name__}")


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, got {type(value).__name__}")
    known = {field.name: field for field in fields(kind)}
    if unknown := value.keys() - known.keys():  # their names come from the caller
        raise InputError(f"{where}: {len(unknown)} unknown fields")
    required = {
        name
        for name, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING
    }
    if missing := sorted(required - value.keys()):
        raise InputError(f"{where}: missing fields {missing}")
    hints = get_type_hints(kind)
    return kind(
        **{name: _read(hints[name], item, f"{where}.{name}") for name, item in value.items()}
    )


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    for kind in others[:-1]:
        try:
            return _read(kind, value, where)
        except InputError:
            continue
    return _read(others[-1], value, where)  # its error has the exact place


def _read_tuple(kinds: tuple[Any, ...], values: Any, where: str) -> tuple[Any, ...]:
    if kinds[1:] == (...,):
        places = enumerate(values)
        return tuple(_read(kinds[0], value, f"{where}[{place}]") for place, value in places)
    if len(kinds) != len(values):
        raise InputError(f"{where}: expected {len(kinds)} values, got {len(values)}")
    pairs = enumerate(zip(kinds, values, strict=True))
    return tuple(_read(kind, value, f"{where}[{place}]") for place, (kind, value) in pairs)
