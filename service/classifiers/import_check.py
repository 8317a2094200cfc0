"""Checks an exported classifier whole before anything of it is stored.

What passes can be listed, read, exported, evaluated and used to predict. The places in messages
are those of the document, such as ``heads[0].calibration.temperature``.

Shape suffixes: C classes, D embedding width, M calibration items or distances, S anchors.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from service.classifiers.document_rules import (
    Rule,
    between,
    check_json,
    choice,
    count,
    items,
    mapping,
    number,
    optional,
    record,
    refuse,
    text,
)
from service.classifiers.examples import class_name
from service.classifiers.report_check import CALIBRATION, ROUNDING, WHERE
from service.errors import InputError, InvalidArtifact
from service.fewshot.classifier import PRESENCE, AskedWith
from service.fewshot.classifier_fit import MAX_LABELS
from service.fewshot.conformal import PRIOR_POINTS
from service.fewshot.fit import MAX_CLASS_NAME, MAX_CLASSES
from service.fewshot.novelty import MAX_ANCHORS
from service.fewshot.portable import FORMAT, version_of

MAX_DIM = 65_536
MAX_ITEMS = 1_000_000  # of calibration
MAX_WEIGHT = 1e6
UNIT_ERROR = 1e-3  # of the length of an anchor
MAX_CARD_ENTRIES = 64
MAX_CARD_BYTES = 32_768  # without the report
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_DTYPES: dict[str, type[np.generic]] = {"<f4": np.float32, "<f8": np.float64, "<i8": np.int64}


def check_document(document: Mapping[str, Any]) -> None:
    """Every fact and array of the document, but for the report on its card.

    Raises:
        InvalidArtifact: with the place of the value.
    """
    facts = dict(document)
    check_json(facts, WHERE)
    asked_with = facts.get("asked_with", "frame")
    if asked_with not in get_args(AskedWith):
        refuse(f"{WHERE}.asked_with", "frame or views")
    if (facts.get("format"), facts.get("format_version")) != (FORMAT, version_of(asked_with)):
        refuse(f"{WHERE}.format", f"{FORMAT} {version_of(asked_with)}")
    outline = {
        "encoder_id": text(128, least=1),
        "heads": items(_any_object, MAX_LABELS, least=1),
        "novelty": record({"arrays": record({"anchors_SD": _array("<f4", 2)})}),
        "card": _card,
    }
    record(outline)(facts, WHERE)
    dim = facts["novelty"]["arrays"]["anchors_SD"]["shape"][1]
    if not 1 <= dim <= MAX_DIM:
        refuse(f"{WHERE}.novelty.arrays.anchors_SD.shape[1]", f"a width of 1 to {MAX_DIM}")
    is_single = len(facts["heads"]) == 1 and facts["heads"][0].get("label") is None
    names: list[str] = []
    for place, head in enumerate(facts["heads"]):
        where = f"{WHERE}.heads[{place}]"
        if not is_single:
            names.append(_name(head.get("label"), f"{where}.label"))
        _check_head(head, where, dim, is_single=is_single)
    if len(set(names)) < len(names):
        refuse(f"{WHERE}.heads", "one head per label, two spellings of one name are one label")
    _check_novelty(facts["novelty"], f"{WHERE}.novelty", dim)


def spellings(document: Mapping[str, Any]) -> dict[str, str]:
    """Name -> its one spelling, for the classes and labels of a checked document that differ."""
    heads = document["heads"]
    names = {name for head in heads for name in (head["label"], *head["classes"]) if name}
    return {name: class_name(name) for name in names if class_name(name) != name}


def respelt(value: Any, names: Mapping[str, str]) -> Any:
    """The document with every name, as a key or a value, in its one spelling."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {names.get(key, key): respelt(child, names) for key, child in value.items()}
    return [respelt(child, names) for child in value] if isinstance(value, list) else value


def _any_object(value: Any, where: str) -> None:
    if not isinstance(value, dict):
        refuse(where, "an object")


def _name(value: Any, where: str) -> str:
    """The one spelling of a class or label. Raises InvalidArtifact."""
    if not isinstance(value, str):
        refuse(where, "the name of a class or label")
    try:
        return class_name(value)
    except InputError as error:
        raise InvalidArtifact(f"{where}: {error}") from error


# the card -------------------------------------------------------------------------------------


def _card(value: Any, where: str) -> None:
    """Known entries have their types; others are any JSON within the limits."""
    known: dict[str, Rule] = {
        "classifier": text(128),
        "version": count(),
        "created_at": _time,
        "examples": count(),
    }
    record(known, may_lack=known)(value, where)
    if len(value) > MAX_CARD_ENTRIES:
        refuse(where, f"at most {MAX_CARD_ENTRIES} entries")
    rest = {key: entry for key, entry in value.items() if key != "report"}
    if len(json.dumps(rest)) > MAX_CARD_BYTES:
        refuse(where, f"at most {MAX_CARD_BYTES} bytes beside the report")


def _time(value: Any, where: str) -> None:
    if not (isinstance(value, str) and _TIME.fullmatch(value)):
        refuse(where, "a time as in RFC 3339")


# heads ----------------------------------------------------------------------------------------


def _check_head(head: dict[str, Any], where: str, dim: int, *, is_single: bool) -> None:
    if is_single:
        items(text(4 * MAX_CLASS_NAME), MAX_CLASSES, least=2)(
            head.get("classes"), f"{where}.classes"
        )
        for place, name in enumerate(head["classes"]):
            _name(name, f"{where}.classes[{place}]")
        if len(set(map(class_name, head["classes"]))) < len(head["classes"]):
            refuse(f"{where}.classes", "different names, two spellings of one name are one class")
    elif head.get("classes") != list(PRESENCE):
        refuse(f"{where}.classes", "absent and present, for the head of a label")
    classes: list[str] = head["classes"]
    own = {
        "weights_CD": _array("<f4", 2, _within(-MAX_WEIGHT, MAX_WEIGHT)),
        "bias_C": _array("<f4", 1, _within(-MAX_WEIGHT, MAX_WEIGHT)),
        "scores_M": _array("<f8", 1, _within(-ROUNDING, 1 + ROUNDING)),
        "labels_M": _array("<i8", 1, _within(0, len(classes) - 1)),
        "prior_P": _array("<f8", 1, _within(-ROUNDING, 1 + ROUNDING), most=PRIOR_POINTS),
    }
    threshold = number(0, 1) if is_single else between(0, 1)
    rules = {
        "label": optional(text()),
        "calibration": CALIBRATION,
        "conformal": record({"method": choice(("lac", "aps"))}),
        "min_margin": number(0, 1),
        "margin_chosen_by": text(),
        "thresholds": mapping(threshold, classes if is_single else PRESENCE[1:]),
        "arrays": record(own, may_lack=("prior_P",)),
    }
    record(rules)(head, where)
    shapes = {name: array["shape"] for name, array in head["arrays"].items() if name in own}
    if shapes["weights_CD"] != [len(classes), dim]:
        refuse(f"{where}.arrays.weights_CD.shape", f"{[len(classes), dim]}, as the anchors have")
    if shapes["bias_C"] != [len(classes)]:
        refuse(f"{where}.arrays.bias_C.shape", f"{[len(classes)]}, one per class")
    if shapes["scores_M"] != shapes["labels_M"] or shapes["scores_M"][0] > MAX_ITEMS:
        refuse(f"{where}.arrays.labels_M.shape", f"one per score, and at most {MAX_ITEMS}")


def _check_novelty(novelty: dict[str, Any], where: str, dim: int) -> None:
    distance = _within(-ROUNDING, 2 + ROUNDING)
    rules = {
        "method": choice(("nearest", "class_mean")),
        "far_from": optional(number(-ROUNDING, 2 + ROUNDING)),
        "arrays": record(
            {
                "anchors_SD": _array("<f4", 2, _unit_rows, most=MAX_ANCHORS * dim),
                "usual_M": _array("<f8", 1, distance, most=MAX_ITEMS),
            }
        ),
    }
    record(rules)(novelty, where)
    usual_M = _values(novelty["arrays"]["usual_M"])
    if (np.diff(usual_M) < 0).any():
        refuse(f"{where}.arrays.usual_M", "ascending distances")


# arrays ---------------------------------------------------------------------------------------

Test = Callable[[npt.NDArray[Any]], str | None]  # what was expected, or None


def _within(low: float, high: float) -> Test:
    def test(values: npt.NDArray[Any]) -> str | None:
        inside = bool(((values >= low) & (values <= high)).all())
        return None if inside else f"values from {low:g} to {high:g}"

    return test


def _unit_rows(values_SD: npt.NDArray[Any]) -> str | None:
    lengths_S = np.linalg.norm(values_SD.astype(np.float64), axis=1)
    is_unit = bool((abs(lengths_S - 1) <= UNIT_ERROR).all())
    return None if is_unit else "rows of unit length"


def _array(dtype: str, axes: int, test: Test | None = None, *, most: int | None = None) -> Rule:
    """An encoded array of so many axes, whose values are finite and pass a test."""
    outline = record(
        {
            "dtype": choice((dtype,)),
            "shape": items(count(2**31), axes, exactly=axes),
            "base64": text(2**31),
        }
    )

    def check(value: Any, where: str) -> None:
        outline(value, where)
        size, itemsize = math.prod(value["shape"]), np.dtype(dtype).itemsize
        if most is not None and size > most:
            refuse(f"{where}.shape", f"at most {most} values")
        # Before anything is decoded: four characters are three bytes.
        if len(value["base64"]) != 4 * math.ceil(size * itemsize / 3):
            refuse(f"{where}.base64", f"{size * itemsize} bytes, as the shape says")
        try:
            values = _values(value)
        except (binascii.Error, ValueError) as error:
            raise InvalidArtifact(f"{where}.base64: expected base64 of the shape") from error
        if not np.isfinite(values).all():
            refuse(f"{where}.base64", "finite values")
        if test is not None and (expected := test(values)) is not None:
            refuse(f"{where}.base64", expected)

    return check


def _values(encoded: dict[str, Any]) -> npt.NDArray[Any]:
    """Raises ValueError, binascii.Error."""
    flat = np.frombuffer(
        base64.b64decode(encoded["base64"], validate=True), _DTYPES[encoded["dtype"]]
    )
    return flat.reshape(encoded["shape"])
