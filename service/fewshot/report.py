"""What a fit says of itself: balanced accuracy over groups, in the caller's words.

Shape suffixes: N examples, C classes, G groups, B resamples.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

FEW_GROUPS = 5
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class FitReport:
    """How the head was fitted and what grouped cross-validation says of it.

    Attributes:
        balanced_accuracy: mean recall over classes on held-out groups; None when it cannot be
            judged, with ``not_judged_because``.
        interval_95: percentile bootstrap over groups of the held-out predictions.
        confusion: counts, rows = true class, columns = predicted, in the order of ``classes``.
        chance: balanced accuracy of guessing.
        groups: patients, studies or images.
        effective_examples: how many count: frames of one group and class are one together.
        class_weights: class -> weight beside the others, mean 1; None = all the same.
    """

    classes: tuple[str, ...]
    examples_per_class: dict[str, int]
    groups_per_class: dict[str, int]
    regularisation_c: float
    c_chosen_by: str
    n_folds: int
    balanced_accuracy: float | None
    interval_95: tuple[float, float] | None
    not_judged_because: str | None
    recall_per_class: dict[str, float] | None
    confusion: tuple[tuple[int, ...], ...] | None
    chance: float
    warnings: tuple[str, ...]
    groups: int = 0
    effective_examples: int = 0
    class_weights: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, under the field names."""
        return {
            "classes": list(self.classes),
            "examples_per_class": self.examples_per_class,
            "groups_per_class": self.groups_per_class,
            "regularisation_c": self.regularisation_c,
            "c_chosen_by": self.c_chosen_by,
            "n_folds": self.n_folds,
            "balanced_accuracy": self.balanced_accuracy,
            "interval_95": None if self.interval_95 is None else list(self.interval_95),
            "interval_method": f"percentile bootstrap over groups, {RESAMPLES} resamples",
            "not_judged_because": self.not_judged_because,
            "recall_per_class": self.recall_per_class,
            "confusion": None if self.confusion is None else [list(r) for r in self.confusion],
            "chance": self.chance,
            "warnings": list(self.warnings),
            "groups": self.groups,
            "effective_examples": self.effective_examples,
            "class_weights": self.class_weights,
        }


def recalls(labels_N: Ints, guesses_N: Ints, classes: int) -> Doubles:
    """Share of each class's judged examples that is right; NaN for a class without any."""
    judged_N = guesses_N >= 0
    totals_C = np.bincount(labels_N[judged_N], minlength=classes)
    right_C = np.bincount(labels_N[judged_N & (guesses_N == labels_N)], minlength=classes)
    shares_C: Doubles = np.where(totals_C > 0, right_C / np.maximum(totals_C, 1), np.nan)
    return shares_C


def balanced(labels_N: Ints, guesses_N: Ints, classes: int) -> float:
    """Mean recall over the classes that have judged examples; 0 without any."""
    recalls_C = recalls(labels_N, guesses_N, classes)
    return float(np.nanmean(recalls_C)) if not np.isnan(recalls_C).all() else 0.0


def interval(
    labels_N: Ints, groups_N: Ints, guesses_N: Ints, classes: int, seed: int
) -> tuple[float, float]:
    """Resample whole groups: frames of one patient are not independent."""
    rng = np.random.default_rng(seed)
    judged_N = guesses_N >= 0
    group_ids = np.unique(groups_N, return_inverse=True)[1]
    totals_GC = np.zeros((group_ids.max() + 1, classes))
    right_GC = np.zeros_like(totals_GC)
    np.add.at(totals_GC, (group_ids[judged_N], labels_N[judged_N]), 1)
    right_N = judged_N & (guesses_N == labels_N)
    np.add.at(right_GC, (group_ids[right_N], labels_N[right_N]), 1)
    groups = len(totals_GC)
    times_BG = rng.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    totals_BC, right_BC = times_BG @ totals_GC, times_BG @ right_GC
    # A resample may miss a class: its recall is then left out of that resample's mean.
    present_BC = totals_BC > 0
    recalls_BC = right_BC / np.maximum(totals_BC, 1)
    scores_B = recalls_BC.sum(1) / np.maximum(present_BC.sum(1), 1)
    low, high = np.percentile(scores_B, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def report(
    labels_N: Ints,
    groups_N: Ints,
    guesses_N: Ints,
    classes: tuple[str, ...],
    chosen_c: float,
    n_folds: int,
    seed: int,
) -> FitReport:
    """What held-out guesses (-1 = not judged) say; nothing where a class was not judged."""
    count = len(classes)
    recalls_C = recalls(labels_N, guesses_N, count)
    judged = n_folds > 0 and not np.isnan(recalls_C).any()
    groups_per_class = {name: len(set(groups_N[labels_N == c])) for c, name in enumerate(classes)}
    return FitReport(
        classes=classes,
        examples_per_class={n: int((labels_N == c).sum()) for c, n in enumerate(classes)},
        groups_per_class=groups_per_class,
        regularisation_c=chosen_c,
        c_chosen_by="grouped cross-validation" if n_folds else "default: too few groups",
        n_folds=n_folds,
        balanced_accuracy=round(float(recalls_C.mean()), 4) if judged else None,
        interval_95=interval(labels_N, groups_N, guesses_N, count, seed) if judged else None,
        not_judged_because=None if judged else "a class has examples of a single group only",
        recall_per_class=_named(classes, recalls_C) if judged else None,
        confusion=_confusion(labels_N, guesses_N, count) if judged else None,
        chance=round(1 / count, 4),
        warnings=tuple(_warnings(groups_per_class)),
    )


def of_a_sample(made: FitReport, labels_N: Ints, groups_N: Ints) -> FitReport:
    """A report on some of the rows, with the counts of all and a word on it."""
    judged = sum(made.examples_per_class.values())
    sample = f"{judged} of {len(labels_N)} examples"
    names = enumerate(made.classes)
    groups_per_class = {n: len(np.unique(groups_N[labels_N == c])) for c, n in names}
    return replace(
        made,
        examples_per_class={n: int((labels_N == c).sum()) for c, n in enumerate(made.classes)},
        groups_per_class=groups_per_class,
        c_chosen_by=f"{made.c_chosen_by}, on {sample}",
        warnings=(f"judged on a drawn sample: {sample}", *_warnings(groups_per_class)),
    )


def _named(classes: tuple[str, ...], values_C: Doubles) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(classes, values_C, strict=True)}


def _confusion(labels_N: Ints, guesses_N: Ints, classes: int) -> tuple[tuple[int, ...], ...]:
    judged_N = guesses_N >= 0
    cells = Counter(zip(labels_N[judged_N].tolist(), guesses_N[judged_N].tolist(), strict=True))
    return tuple(tuple(cells[row, column] for column in range(classes)) for row in range(classes))


def _warnings(groups_per_class: dict[str, int]) -> Iterator[str]:
    for name, groups in groups_per_class.items():
        if groups < FEW_GROUPS:
            yield f"class {name!r} has examples of {groups} group(s); fewer than {FEW_GROUPS}"
