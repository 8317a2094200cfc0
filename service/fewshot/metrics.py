"""How good held-out scores are, per class and in all, with intervals that respect groups.

Frames of one group and class count once together. A figure for which there are too few groups is
not given; the refusal says how many more would give it.

Shape suffixes: N rows, C classes, G groups, B resamples.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.fewshot.bootstrap import RESAMPLES, Estimate, estimate, over_rows, ratio, resampled
from service.fewshot.heldout import HeldOut, softmax

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

LEAST_GROUPS = 5  # of a class, for a figure about it
MANY_CLASSES, RESAMPLES_OF_MANY = 20, 200  # a confusion matrix per resample grows by the square


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class against the others; a figure is None where ``not_judged_because`` says why.

    Attributes:
        auroc: of the class's probability, the class against all others.
        precision: as if all classes were equally frequent.
        missing_groups: how many more groups (patients) of the class the figures need.
    """

    name: str
    examples: int
    groups: int
    recall: Estimate | None
    precision: Estimate | None
    auroc: Estimate | None
    not_judged_because: str | None
    missing_groups: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, under the field names."""
        figures = {"recall": self.recall, "precision": self.precision, "auroc": self.auroc}
        return {
            "name": self.name,
            "examples": self.examples,
            "groups": self.groups,
            **{name: figure and figure.to_json() for name, figure in figures.items()},
            "not_judged_because": self.not_judged_because,
            "missing_groups": self.missing_groups,
        }


@dataclass(frozen=True, slots=True)
class ClassificationMetrics:
    """What held-out scores are worth.

    Attributes:
        confusion_rows: [true class][predicted class] -> row numbers, in the caller's order.
        missing_groups: class -> how many more groups ``balanced_accuracy`` and ``auroc`` need.
        judged: rows that had scores.
    """

    classes: tuple[str, ...]
    balanced_accuracy: Estimate | None
    auroc: Estimate | None
    per_class: tuple[ClassMetrics, ...]
    confusion_rows: tuple[tuple[tuple[int, ...], ...], ...]
    not_judged_because: str | None
    missing_groups: dict[str, int]
    judged: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, under the field names."""
        return {
            "classes": list(self.classes),
            "balanced_accuracy": self.balanced_accuracy and self.balanced_accuracy.to_json(),
            "auroc": self.auroc and self.auroc.to_json(),
            "per_class": [one.to_json() for one in self.per_class],
            "confusion": [[len(cell) for cell in row] for row in self.confusion_rows],
            "confusion_rows": [[list(cell) for cell in row] for row in self.confusion_rows],
            "not_judged_because": self.not_judged_because,
            "missing_groups": self.missing_groups,
            "judged": self.judged,
            "interval_method": "95 %, percentile bootstrap over groups",
        }


def compute_metrics(held_out: HeldOut, *, seed: int = 0) -> ClassificationMetrics:
    """Figures of the rows that have scores.

    Args:
        held_out: ``Fit.held_out``, or logits of an evaluation set by a fitted head; for
            calibrated probabilities give their logarithm (it changes AUROC alone).
    """
    judged = held_out.judged()
    groups_C = judged.groups_per_class()
    missing_C = np.maximum(LEAST_GROUPS - groups_C, 0)
    guesses_N = judged.logits_NC.argmax(1) if len(judged.labels_N) else judged.labels_N
    times_BG = _times(judged, seed)
    per_class = _per_class(judged, guesses_N, missing_C, times_BG)
    enough = not missing_C.any()
    pairs = zip(held_out.classes, missing_C.tolist(), strict=True)
    return ClassificationMetrics(
        classes=held_out.classes,
        balanced_accuracy=_balanced(judged, guesses_N, times_BG) if enough else None,
        auroc=_mean_auroc(judged, times_BG) if enough else None,
        per_class=per_class,
        confusion_rows=_cells(held_out, guesses_N),
        not_judged_because=None if enough else f"a class has fewer than {LEAST_GROUPS} groups",
        missing_groups={name: int(lacking) for name, lacking in pairs if lacking},
        judged=len(judged.labels_N),
    )


def confusion_by_group(judged: HeldOut, guesses_N: Ints, shares_N: Doubles) -> Doubles:
    """(G, C, C) weight of each true and predicted class in each group."""
    number_N = np.unique(judged.groups_N, return_inverse=True)[1]
    count = len(judged.classes)
    table_GCC = np.zeros((int(number_N.max()) + 1, count, count))
    np.add.at(table_GCC, (number_N, judged.labels_N, guesses_N), shares_N)
    return table_GCC


def area_under_roc(
    scores_N: Doubles, positive_N: npt.NDArray[np.bool_], weights_BN: Doubles
) -> Doubles:
    """(B,) chance that a positive row outscores a negative one, ties half; NaN without both."""
    order_N = np.argsort(scores_N, kind="stable")
    starts_U = np.unique(scores_N[order_N], return_index=True)[1]
    sorted_BN, positive_N = weights_BN[:, order_N], positive_N[order_N]
    above_BU = np.add.reduceat(sorted_BN * positive_N, starts_U, axis=1)
    below_BU = np.add.reduceat(sorted_BN * ~positive_N, starts_U, axis=1)
    beaten_BU = np.cumsum(below_BU, axis=1) - below_BU / 2
    won_B, all_B = (above_BU * beaten_BU).sum(1), above_BU.sum(1) * below_BU.sum(1)
    return ratio(won_B, all_B)


def _balanced(judged: HeldOut, guesses_N: Ints, times_BG: Doubles) -> Estimate:
    table_BCC = _tables(judged, guesses_N, times_BG)
    recalls_BC = ratio(np.diagonal(table_BCC, axis1=1, axis2=2), table_BCC.sum(2))
    return estimate(_mean_of_present(recalls_BC))


def _times(judged: HeldOut, seed: int) -> Doubles:
    """One set of resamples for all figures; (1, 0) when nothing was judged."""
    resamples = RESAMPLES if len(judged.classes) <= MANY_CLASSES else RESAMPLES_OF_MANY
    empty = not len(judged.groups_N)
    return np.ones((1, 0)) if empty else resampled(judged.groups_N, seed, resamples)


def _tables(judged: HeldOut, guesses_N: Ints, times_BG: Doubles) -> Doubles:
    table_GCC = confusion_by_group(judged, guesses_N, judged.shares())
    table_BCC: Doubles = np.einsum("bg,gij->bij", times_BG, table_GCC, optimize=True)
    return table_BCC


def _mean_of_present(values_BC: Doubles) -> Doubles:
    """A resample may miss a class, which is then left out of that resample's mean."""
    there_BC = np.isfinite(values_BC)
    return ratio(np.where(there_BC, values_BC, 0).sum(1), there_BC.sum(1).astype(np.float64))


def _one_against_all(judged: HeldOut, times_BG: Doubles, chosen: int) -> Estimate:
    scores_N = softmax(judged.logits_NC)[:, chosen]
    positive_N = judged.labels_N == chosen
    return over_rows(
        lambda weights_BN: area_under_roc(scores_N, positive_N, weights_BN),
        times_BG,
        judged.groups_N,
        judged.shares(),
    )


def _mean_auroc(judged: HeldOut, times_BG: Doubles) -> Estimate:
    scores_NC = softmax(judged.logits_NC)

    def means(weights_BN: Doubles) -> Doubles:
        areas = [
            area_under_roc(scores_NC[:, c], judged.labels_N == c, weights_BN)
            for c in range(len(judged.classes))
        ]
        return _mean_of_present(np.stack(areas, axis=1))

    return over_rows(means, times_BG, judged.groups_N, judged.shares())


def _per_class(
    judged: HeldOut, guesses_N: Ints, missing_C: Ints, times_BG: Doubles
) -> tuple[ClassMetrics, ...]:
    groups_C = judged.groups_per_class()
    examples_C = np.bincount(judged.labels_N, minlength=len(judged.classes))
    empty = not len(judged.labels_N)
    table_BCC = None if empty else _tables(judged, guesses_N, times_BG)
    found = []
    for c, name in enumerate(judged.classes):
        lacking, rest = int(missing_C[c]), int(groups_C.sum() - groups_C[c])
        judgeable = table_BCC is not None and not lacking and rest >= LEAST_GROUPS
        recall, precision = _rates(table_BCC, c) if table_BCC is not None else (None, None)
        found.append(
            ClassMetrics(
                name=name,
                examples=int(examples_C[c]),
                groups=int(groups_C[c]),
                recall=recall if judgeable else None,
                precision=precision if judgeable else None,
                auroc=_one_against_all(judged, times_BG, c) if judgeable else None,
                not_judged_because=None if judgeable else _why(lacking),
                missing_groups=lacking,
            )
        )
    return tuple(found)


def _why(lacking: int) -> str:
    where = "the class has" if lacking else "the other classes together have"
    return f"{where} fewer than {LEAST_GROUPS} judged groups"


def _rates(table_BCC: Doubles, chosen: int) -> tuple[Estimate, Estimate]:
    """Recall, and precision at equal frequency of the classes."""
    shares_BCC = ratio(table_BCC, np.broadcast_to(table_BCC.sum(2, keepdims=True), table_BCC.shape))
    called_BC = np.nan_to_num(shares_BCC[:, :, chosen])
    right_B = shares_BCC[:, chosen, chosen]
    return estimate(right_B), estimate(ratio(np.nan_to_num(right_B), called_BC.sum(1)))


def _cells(held_out: HeldOut, guesses_N: Ints) -> tuple[tuple[tuple[int, ...], ...], ...]:
    rows_N = np.flatnonzero(held_out.is_judged)
    labels_N = held_out.labels_N[rows_N]
    count = range(len(held_out.classes))
    return tuple(
        tuple(tuple(rows_N[(labels_N == t) & (guesses_N == g)].tolist()) for g in count)
        for t in count
    )
