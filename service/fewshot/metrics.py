"""How good held-out scores are, per class and overall, with intervals that respect groups.

Frames of one group and class count once together. With too few groups a figure is left out, and the
result says how many more are needed.

Shape suffixes: N rows, C classes, G groups, B resamples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from service.arrays import Bools, Doubles, Ints
from service.fewshot.head import softmax
from service.fewshot.heldout import HeldOut
from service.fewshot.uncertainty.class_calls import ClassCalls
from service.fewshot.uncertainty.intervals import (
    RESAMPLES,
    Estimate,
    Extremes,
    estimate,
    group_resamples,
    mean_of_present,
    mean_of_shares,
    ratio,
    share_estimate,
    unseen_sum,
    weighted_figures,
)

MIN_GROUPS = 5  # of a class, for a figure about it
MANY_CLASSES, RESAMPLES_OF_MANY = 20, 200  # each resample has a confusion matrix


def recalls(
    labels_N: Ints, guesses_N: Ints, classes: int, shares_N: Doubles | None = None
) -> Doubles:
    """(C,) share of correct rows of each class; NaN for a class without rows.

    Args:
        guesses_N: -1 = no guess; such rows are left out.
        shares_N: how much each row counts; None = 1 each.
    """
    weights_N = np.ones(len(labels_N)) if shares_N is None else shares_N
    scored_N, right_N = guesses_N >= 0, guesses_N == labels_N
    totals_C, right_C = np.zeros(classes), np.zeros(classes)
    np.add.at(totals_C, labels_N[scored_N], weights_N[scored_N])
    np.add.at(right_C, labels_N[right_N], weights_N[right_N])
    return ratio(right_C, totals_C)


def balanced_accuracy(
    labels_N: Ints, guesses_N: Ints, classes: int, shares_N: Doubles | None = None
) -> float:
    """Mean recall over the classes that have rows with a guess; 0 without any."""
    recalls_C = recalls(labels_N, guesses_N, classes, shares_N)
    return float(np.nanmean(recalls_C)) if not np.isnan(recalls_C).all() else 0.0


def balanced_accuracy_estimate(
    labels_N: Ints,
    guesses_N: Ints,
    groups_N: Ints,
    classes: int,
    *,
    shares_N: Doubles | None = None,
    resamples: Doubles | None = None,
    seed: int = 0,
) -> Estimate:
    """Balanced accuracy with its interval; the mean is over the classes of each resample.

    Args:
        guesses_N: -1 = no guess; such rows are left out.
        shares_N: how much each row counts; None = 1 each.
        resamples: of ``group_resamples``; None = drawn by ``seed``.
    """
    times_BG = group_resamples(groups_N, seed) if resamples is None else resamples
    weights_N = np.ones(len(labels_N)) if shares_N is None else shares_N
    calls = ClassCalls.of(labels_N, guesses_N, groups_N, weights_N, times_BG, classes)
    return calls.balanced_accuracy()


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class against the others; figures are None where ``not_evaluated_because`` says why.

    ``precision`` alone may be None too.

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
    not_evaluated_because: str | None
    missing_groups: int


@dataclass(frozen=True, slots=True)
class ClassificationMetrics:
    """Figures of held-out scores.

    Attributes:
        confusion: [true class][predicted class] -> rows.
        missing_groups: class -> how many more groups ``balanced_accuracy`` and ``auroc`` need.
        scored: rows that had scores.
    """

    classes: tuple[str, ...]
    balanced_accuracy: Estimate | None
    auroc: Estimate | None
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    not_evaluated_because: str | None
    missing_groups: dict[str, int]
    scored: int


def compute_metrics(held_out: HeldOut, *, seed: int = 0) -> ClassificationMetrics:
    """Figures of the rows that have scores.

    Args:
        held_out: ``Fit.scores.nested``, or logits of an evaluation set by a fitted head; for
            calibrated probabilities give their logarithm, which changes AUROC only.
    """
    scored = held_out.scored()
    missing_C = np.maximum(MIN_GROUPS - scored.groups_per_class(), 0)
    accuracy = auroc = None
    enough = not missing_C.any()
    if len(scored.labels_N):
        resamples = RESAMPLES if len(scored.classes) <= MANY_CLASSES else RESAMPLES_OF_MANY
        times_BG = group_resamples(scored.groups_N, seed, resamples)
        calls = ClassCalls.of(
            scored.labels_N,
            scored.guesses(),
            scored.groups_N,
            scored.shares(),
            times_BG,
            len(scored.classes),
        )
        areas_BC = _areas(scored, times_BG)
        placements = _placements(scored)
        per_class = tuple(_per_class(scored, missing_C, calls, areas_BC, placements))
        if enough:
            accuracy = calls.balanced_accuracy()
            auroc = _mean_area(areas_BC, int(scored.groups_per_class().min()), placements)
    else:
        per_class = tuple(_per_class(scored, missing_C, None, None, []))
    pairs = zip(held_out.classes, missing_C.tolist(), strict=True)
    return ClassificationMetrics(
        classes=held_out.classes,
        balanced_accuracy=accuracy,
        auroc=auroc,
        per_class=per_class,
        confusion=tuple(tuple(len(cell) for cell in row) for row in confusion_rows(scored)),
        not_evaluated_because=None if enough else f"a class has fewer than {MIN_GROUPS} groups",
        missing_groups={name: lacking for name, lacking in pairs if lacking},
        scored=len(scored.labels_N),
    )


def area_under_roc(scores_N: Doubles, positive_N: Bools, weights_BN: Doubles) -> Doubles:
    """(B,) chance that a positive row outscores a negative one, ties half; NaN without both."""
    order_N = np.argsort(scores_N, kind="stable")
    starts_U = np.unique(scores_N[order_N], return_index=True)[1]
    sorted_BN, positive_N = weights_BN[:, order_N], positive_N[order_N]
    above_BU = np.add.reduceat(sorted_BN * positive_N, starts_U, axis=1)
    below_BU = np.add.reduceat(sorted_BN * ~positive_N, starts_U, axis=1)
    beaten_BU = np.cumsum(below_BU, axis=1) - below_BU / 2
    won_B, all_B = (above_BU * beaten_BU).sum(1), above_BU.sum(1) * below_BU.sum(1)
    return ratio(won_B, all_B)


def _areas(scored: HeldOut, times_BG: Doubles) -> Doubles:
    """(B, C) area under the ROC curve of each class against all others."""
    scores_NC = softmax(scored.logits_NC)

    def areas(weights_BN: Doubles) -> Doubles:
        of_class = [
            area_under_roc(scores_NC[:, c], scored.labels_N == c, weights_BN)
            for c in range(len(scored.classes))
        ]
        return np.stack(of_class, axis=1)

    return weighted_figures(areas, times_BG, scored.groups_N, scored.shares())


def _placements(scored: HeldOut) -> list[Extremes]:
    """Of each class: the least and the most part of the other side that a group is ranked beyond.

    Their mean over groups is the area under the ROC curve.
    """
    scores_NC, shares_N = softmax(scored.logits_NC), scored.shares()
    group_N = np.unique(scored.groups_N, return_inverse=True)[1]
    found = []
    for c in range(len(scored.classes)):
        is_own_N = scored.labels_N == c
        place_N = np.unique(scores_NC[:, c], return_inverse=True)[1]
        sums, totals = [], []
        for side_N, sign in ((is_own_N, 1), (~is_own_N, -1)):
            others_U = np.bincount(place_N, shares_N * ~side_N)
            others_U = others_U[::sign]
            below_U = (np.cumsum(others_U) - others_U / 2)[::sign]
            beaten_N = below_U[place_N] / max(others_U.sum(), 1e-300)
            weights_N = shares_N * side_N
            totals.append(np.bincount(group_N, weights_N).astype(np.float64))
            sums.append(np.bincount(group_N, weights_N * beaten_N).astype(np.float64))
        found.append(Extremes.of(np.concatenate(sums), np.concatenate(totals)))
    return found


def _mean_area(areas_BC: Doubles, fewest: int, placements: list[Extremes]) -> Estimate:
    """The mean over classes. Areas share their rows, so what they leave open adds up."""
    bound = unseen_sum(np.array([fewest]))
    below, above = (
        bound * np.mean(weights) for weights in zip(*(p.weights for p in placements), strict=True)
    )
    return estimate(mean_of_present(areas_BC), fewest, unseen=(float(below), float(above)))


def _per_class(
    scored: HeldOut,
    missing_C: Ints,
    calls: ClassCalls | None,
    areas_BC: Doubles | None,
    placements: list[Extremes],
) -> Iterator[ClassMetrics]:
    """Args: calls, areas_BC: None when no row has scores."""
    groups_C = scored.groups_per_class()
    examples_C = np.bincount(scored.labels_N, minlength=len(scored.classes))
    for c, name in enumerate(scored.classes):
        lacking, rest = int(missing_C[c]), int(groups_C.sum() - groups_C[c])
        recall = precision = auroc = reason = None
        if lacking or rest < MIN_GROUPS or calls is None or areas_BC is None:
            where = "the class has" if lacking else "the other classes together have"
            reason = f"{where} fewer than {MIN_GROUPS} groups with scores"
        else:
            own = int(groups_C[c])
            recall, precision = _rates(calls, c)
            if precision is None:
                reason = "no example with scores was given this class, so it has no precision"
            # As many pairs of a positive and a negative group are independent of each other.
            auroc = share_estimate(areas_BC[:, c], min(own, rest), placements[c])
        yield ClassMetrics(
            name=name,
            examples=int(examples_C[c]),
            groups=int(groups_C[c]),
            recall=recall,
            precision=precision,
            auroc=auroc,
            not_evaluated_because=reason,
            missing_groups=lacking,
        )


def _rates(calls: ClassCalls, chosen: int) -> tuple[Estimate, Estimate | None]:
    """Recall, and precision at equal frequency of the classes.

    A class that no row was given has no precision. The ends of its interval follow from those of
    the recall and of the share of the other classes that is called so, which are of other groups.
    """
    shares_BC, extremes = calls.of_class(chosen)
    groups_C, right_B = calls.groups, shares_BC[:, chosen]
    own = Extremes(extremes.least[chosen], extremes.greatest[chosen])
    recall = share_estimate(right_B, float(groups_C[chosen]), own)
    there_C = np.isfinite(shares_BC[0]) & (np.arange(len(groups_C)) != chosen)
    calls_BX, count = shares_BC[:, there_C], int(there_C.sum())
    others = Extremes(extremes.least[there_C], extremes.greatest[there_C])
    mean = mean_of_shares(calls_BX, groups_C[there_C], others)
    wrong = Estimate(*(count * end for end in (mean.value, mean.low, mean.high)))
    precision_B = ratio(right_B, right_B + count * mean_of_present(calls_BX))
    if np.isnan(precision_B[0]):
        return recall, None
    # Groups with rows of several classes tie recall and wrong calls together, as resamples do.
    tied = estimate(precision_B, float(groups_C[groups_C > 0].min()))
    low, high = _least_part(recall, wrong), 1 - _least_part(wrong, recall)
    return recall, Estimate(tied.value, min(tied.low, low), max(tied.high, high))


def _least_part(part: Estimate, other: Estimate) -> float:
    """The lower end of part / (part + other) of independent figures (Zou and Donner 2008)."""
    product = part.value * other.value
    lowest = part.value**2 - (part.value - part.low) ** 2
    other_end = other.value**2 - (other.high - other.value) ** 2
    beside = product + float(np.sqrt(max(0.0, product**2 - lowest * other_end)))
    return lowest / (lowest + beside) if lowest > 0 else 0.0


def confusion_rows(held_out: HeldOut) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """[true class][predicted class] -> numbers of the rows that have scores, ascending."""
    rows_N = np.flatnonzero(held_out.is_scored)
    labels_N, guesses_N = held_out.labels_N[rows_N], held_out.guesses()[rows_N]
    order_N = np.argsort(labels_N * len(held_out.classes) + guesses_N, kind="stable")
    cells: dict[tuple[int, int], list[int]] = {}
    for row, true, guess in zip(
        rows_N[order_N].tolist(),
        labels_N[order_N].tolist(),
        guesses_N[order_N].tolist(),
        strict=True,
    ):
        cells.setdefault((true, guess), []).append(row)
    count = range(len(held_out.classes))
    return tuple(tuple(tuple(cells.get((t, g), ())) for g in count) for t in count)
