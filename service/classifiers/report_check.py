"""Checks the report on the card of an exported classifier.

The types were checked when it was read; here its numbers are possible, and its names are those of
the heads, so that it can be answered and used like the report of a fit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.classifiers.document_rules import (
    Rule,
    above,
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

WHERE = "classifier"  # the field of the request that holds the document
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0  # a fit gives 0.018 to 55
ROUNDING = 1e-6
MAX_WARNINGS = 5000

_SHARE = number(0, 1)
_SENTENCE = text()
_DISTANCE = number(-ROUNDING, 2 + ROUNDING)
_RELIABILITY = record({"ece": _SHARE, "brier": number(0, 2), "log_loss": number(0, 1000)})
_UNLABELLED = record(
    {
        "scans": count(),
        "used": choice((True, False)),
        "because": _SENTENCE,
        "taught": count(),
        "agreement": optional(_SHARE),
        "gain": optional(number(-1, 1)),
    }
)
CALIBRATION = record(
    {
        "temperature": number(MIN_TEMPERATURE, MAX_TEMPERATURE),
        "groups": count(),
        "before": optional(_RELIABILITY),
        "after": optional(_RELIABILITY),
        "not_calibrated_because": optional(_SENTENCE),
        "missing_groups": count(),
    },
    may_lack=("not_calibrated_because", "missing_groups"),
)


def check_report(
    report: Mapping[str, Any], heads: Sequence[tuple[str | None, Sequence[str]]]
) -> None:
    """A report whose types are right: its numbers are possible, its names those of the heads.

    Args:
        heads: (label, classes) of each head, in order.

    Raises:
        InvalidArtifact: with the place of the value.
    """
    where = f"{WHERE}.card.report"
    labels = [label for label, _ in heads]
    if [head["label"] for head in report["labels"]] != labels:
        refuse(f"{where}.labels", "one entry per head, of its label")
    for place, (head, (label, classes)) in enumerate(zip(report["labels"], heads, strict=True)):
        _head_report(label, classes)(head, f"{where}.labels[{place}]")
    whole: dict[str, Rule] = {
        "examples": count(),
        "examples_without_label": optional(count()),
        "groups": count(),
        "effective_examples": count(),
        "balanced_accuracy": optional(_SHARE),
        "interval_95": optional(_pair(_SHARE)),
        "not_evaluated_because": optional(_SENTENCE),
        "novelty": record(
            {
                "anchors": count(),
                "reference_groups": count(),
                "usual_distance_median": optional(_DISTANCE),
                "far_from": optional(_DISTANCE),
            }
        ),
        "grouping": record(
            {
                "without_ids": count(),
                "joined_by_similarity": count(),
                "similarity": optional(number(-1, 1)),
            }
        ),
        "warnings": items(_SENTENCE, MAX_WARNINGS),
    }
    record(whole)(report, where)


def _pair(rule: Rule) -> Rule:
    """Two values in order."""
    both = items(rule, 2, exactly=2)

    def check(value: Any, where: str) -> None:
        both(value, where)
        if value[0] > value[1]:
            refuse(where, "the lower end first")

    return check


def _estimate(value: Any, where: str) -> None:
    record({"value": _SHARE, "low": _SHARE, "high": _SHARE})(value, where)
    if value["low"] > value["high"]:
        refuse(where, "low below high")


def _head_report(label: str | None, classes: Sequence[str]) -> Rule:
    """The rules of one entry of ``labels``; types are checked already."""
    names, outputs = list(classes), list(classes) if label is None else [label]
    per_class = mapping(count(), names, all_of=True)
    estimate, table = (
        optional(_estimate),
        items(items(count(), 0, exactly=len(names)), 0, exactly=len(names)),
    )
    return record(
        {
            "classes": _exactly(names),
            "examples_per_class": per_class,
            "groups_per_class": per_class,
            "groups": count(),
            "effective_examples": count(),
            "class_weights": optional(mapping(above(0, 1e12), names, all_of=True)),
            "regularisation_c": above(0, 1e12),
            "c_chosen_by": _SENTENCE,
            "n_folds": count(1000),
            "balanced_accuracy": optional(_SHARE),
            "interval_95": optional(_pair(_SHARE)),
            "not_evaluated_because": optional(_SENTENCE),
            "recall_per_class": optional(mapping(_SHARE, names, all_of=True)),
            "confusion": optional(table),
            "chance": _SHARE,
            "warnings": items(_SENTENCE, MAX_WARNINGS),
            "unlabelled": optional(_UNLABELLED),
            "calibration": CALIBRATION,
            "conformal": record({"items": count()}),
            "min_margin": _SHARE,
            "margin_chosen_by": _SENTENCE,
            "metrics": record(
                {
                    "classes": _exactly(names),
                    "balanced_accuracy": estimate,
                    "auroc": estimate,
                    "per_class": _per_class(names),
                    "confusion": table,
                    "not_evaluated_because": optional(_SENTENCE),
                    "missing_groups": mapping(count(), names),
                    "scored": count(),
                }
            ),
            "thresholds": items(_threshold(outputs), len(outputs)),
            "forecast": _forecast(names),
        }
    )


def _exactly(names: list[str]) -> Rule:
    def check(value: Any, where: str) -> None:
        if value != names:
            refuse(where, "the classes of the head, in its order")

    return check


def _per_class(names: list[str]) -> Rule:
    estimate = optional(_estimate)
    of_class = record(
        {
            "name": choice(names),
            "examples": count(),
            "groups": count(),
            "recall": estimate,
            "precision": estimate,
            "auroc": estimate,
            "not_evaluated_because": optional(_SENTENCE),
            "missing_groups": count(),
        }
    )
    return items(of_class, len(names))


def _threshold(outputs: list[str]) -> Rule:
    estimate = optional(_estimate)
    return record(
        {
            "label": choice(outputs),
            "threshold": _SHARE,
            "sensitivity": estimate,
            "specificity": estimate,
            "not_evaluated_because": optional(_SENTENCE),
        }
    )


def _forecast(names: list[str]) -> Rule:
    any_gain = number(-1000, 1000)  # a law that was fitted to few points may leave 0 to 1
    point = record({"groups_per_class": count(), "balanced_accuracy": _SHARE})
    gain = record({"gain": any_gain, "gain_90": _pair(any_gain)})
    return record(
        {
            "curve": items(point, 100),
            "more_groups_per_class": count(10**6),
            "now": optional(any_gain),
            "with_more": optional(any_gain),
            "gain": optional(any_gain),
            "gain_90": optional(_pair(any_gain)),
            "weakest_class": optional(choice(names)),
            "gain_per_class": mapping(gain, names),
            "most_useful_class": optional(choice(names)),
            "not_forecast_because": optional(_SENTENCE),
            "missing_groups": mapping(count(), names),
        }
    )
