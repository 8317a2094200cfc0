"""The report of a fit, for each head and for the whole classifier.

Shape suffixes: N examples, C classes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

import numpy as np

from service.arrays import Doubles, Ints
from service.errors import NotEnoughExamples
from service.fewshot.calibrator import Calibration
from service.fewshot.classifier import CalibratedHead, effective_thresholds
from service.fewshot.conformal import Method
from service.fewshot.forecast import Forecast
from service.fewshot.heldout import HeadScores, in_groups, shares_of_pairs
from service.fewshot.metrics import (
    ClassificationMetrics,
    balanced_accuracy_estimate,
    compute_metrics,
    recalls,
)
from service.fewshot.novelty import Novelty, NoveltyFacts
from service.fewshot.operating_points import at_threshold
from service.fewshot.semi_supervision.semi_supervised import UnlabelledReport
from service.fewshot.uncertainty.intervals import Estimate

FEW_GROUPS = 5


@dataclass(frozen=True, slots=True)
class FitReport:
    """How a head was fitted, and its figures by grouped cross-validation.

    Attributes:
        balanced_accuracy: mean recall over classes on held-out groups, examples counted as in the
            fit; None where ``not_evaluated_because`` says why.
        interval_95: percentile bootstrap over groups.
        confusion: numbers of examples, rows = true class, columns = predicted, in the order of
            ``classes``.
        chance: balanced accuracy of guessing.
        groups: patients, studies or images.
        effective_examples: frames of one group and class count as one.
        class_weights: class -> relative weight, mean 1; None = all the same.
        unlabelled: None = the fit was given no unlabelled scans.
    """

    classes: tuple[str, ...]
    examples_per_class: dict[str, int]
    groups_per_class: dict[str, int]
    regularisation_c: float
    c_chosen_by: str
    n_folds: int
    balanced_accuracy: float | None
    interval_95: tuple[float, float] | None
    not_evaluated_because: str | None
    recall_per_class: dict[str, float] | None
    confusion: tuple[tuple[int, ...], ...] | None
    chance: float
    warnings: tuple[str, ...]
    groups: int = 0
    effective_examples: int = 0
    class_weights: dict[str, float] | None = None
    unlabelled: UnlabelledReport | None = None


@dataclass(frozen=True, slots=True)
class ConformalFacts:
    """How prediction sets are made; ``items`` is the number of independent examples."""

    method: Method
    items: int


@dataclass(frozen=True, slots=True)
class ThresholdReport:
    """A threshold of a class or label, with its figures on out-of-fold scores.

    Attributes:
        sensitivity, specificity: None where ``not_evaluated_because`` says why.
    """

    label: str
    threshold: float
    sensitivity: Estimate | None
    specificity: Estimate | None
    not_evaluated_because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadReport(FitReport):
    """The report of one head of a classifier.

    Attributes:
        label: of a multi-label classifier; None = the head of a single-label one.
        metrics: from the out-of-fold scores.
    """

    label: str | None
    calibration: Calibration
    conformal: ConformalFacts
    min_margin: float
    margin_chosen_by: str
    metrics: ClassificationMetrics
    thresholds: tuple[ThresholdReport, ...]
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class GroupingReport:
    """How examples became groups: how many have no ids, and how many of them joined as copies."""

    without_ids: int
    joined_by_similarity: int
    similarity: float | None


@dataclass(frozen=True, slots=True)
class ClassifierReport:
    """The report of a fit; figures are means over ``labels``, None when one of them has none.

    Attributes:
        examples_without_label: number of examples without any label; None = single-label.
    """

    examples: int
    examples_without_label: int | None
    groups: int
    effective_examples: int
    balanced_accuracy: float | None
    interval_95: tuple[float, float] | None
    not_evaluated_because: str | None
    novelty: NoveltyFacts
    labels: tuple[HeadReport, ...]
    warnings: tuple[str, ...] = ()
    grouping: GroupingReport = field(default_factory=lambda: GroupingReport(0, 0, None))


def classifier_report(
    heads: tuple[HeadReport, ...], novelty: Novelty, examples: int
) -> ClassifierReport:
    """The report of all heads together."""
    scores = [head.balanced_accuracy for head in heads if head.balanced_accuracy is not None]
    reasons = [_named_label(h, h.not_evaluated_because) for h in heads if h.not_evaluated_because]
    return ClassifierReport(
        examples=examples,
        examples_without_label=None,
        groups=max(head.groups for head in heads),
        effective_examples=max(head.effective_examples for head in heads),
        balanced_accuracy=None if reasons else round(float(np.mean(scores)), 4),
        interval_95=heads[0].interval_95 if len(heads) == 1 else None,
        not_evaluated_because=reasons[0] if reasons else None,
        novelty=novelty.facts(),
        labels=heads,
        warnings=tuple(_named_label(head, text) for head in heads for text in head.warnings),
    )


def _named_label(head: HeadReport, text: str) -> str:
    return text if head.label is None else f"label {head.label!r}: {text}"


def head_report(
    label: str | None,
    report: FitReport,
    head: CalibratedHead,
    scores: HeadScores,
    forecast: Forecast,
    *,
    seed: int = 0,
) -> HeadReport:
    """The whole report of a head."""
    calibrator = head.calibrator
    sets = calibrator.conformal
    return HeadReport(
        **{item.name: getattr(report, item.name) for item in fields(report)},
        label=label,
        calibration=calibrator.calibration,
        conformal=ConformalFacts(sets.method, len(sets.scores_M)),
        min_margin=calibrator.min_margin,
        margin_chosen_by=calibrator.margin_chosen_by,
        metrics=compute_metrics(scores.nested, seed=seed),
        thresholds=tuple(_threshold_reports(label, head, scores, seed)),
        forecast=forecast,
    )


def _threshold_reports(
    label: str | None, head: CalibratedHead, scores: HeadScores, seed: int
) -> Iterator[ThresholdReport]:
    shares_NC = head.calibrator.calibration.probabilities(scores.chosen.logits_NC)
    for name, value in effective_thresholds(label, head).items():
        output = name if label is None else label
        try:
            point = at_threshold(scores.chosen, shares_NC, name, value, seed=seed)
        except NotEnoughExamples as error:
            yield ThresholdReport(output, value, None, None, str(error))
            continue
        yield ThresholdReport(output, value, point.sensitivity, point.specificity, None)


def fit_report(
    labels_N: Ints,
    groups_N: Ints,
    guesses_N: Ints,
    classes: tuple[str, ...],
    chosen_c: float,
    n_folds: int,
    seed: int,
    counts_N: Doubles | None = None,
) -> FitReport:
    """The report on held-out guesses (-1 = none), without figures when a class has no guess.

    Args:
        counts_N: weight of each example in the fit; where they differ, the examples of one group
            and class count as one. None = 1 each.
    """
    count = len(classes)
    shares_N = _shares(labels_N, groups_N, counts_N)
    recalls_C = recalls(labels_N, guesses_N, count, shares_N)
    examples_per_class, groups_per_class = _counts(labels_N, groups_N, classes)
    report = FitReport(
        classes=classes,
        examples_per_class=examples_per_class,
        groups_per_class=groups_per_class,
        regularisation_c=chosen_c,
        c_chosen_by="grouped cross-validation" if n_folds else "default: too few groups",
        n_folds=n_folds,
        balanced_accuracy=None,
        interval_95=None,
        not_evaluated_because="a class has examples of a single group only",
        recall_per_class=None,
        confusion=None,
        chance=round(1 / count, 4),
        warnings=tuple(_warnings(groups_per_class)),
    )
    if n_folds == 0 or np.isnan(recalls_C).any():
        return report
    estimate = balanced_accuracy_estimate(
        labels_N, guesses_N, groups_N, count, shares_N=shares_N, seed=seed
    )
    recall_C = [round(recall, 4) for recall in recalls_C.tolist()]
    return replace(
        report,
        balanced_accuracy=round(float(recalls_C.mean()), 4),
        interval_95=(round(estimate.low, 4), round(estimate.high, 4)),
        not_evaluated_because=None,
        recall_per_class=dict(zip(classes, recall_C, strict=True)),
        confusion=_confusion(labels_N, guesses_N, count),
    )


def _shares(labels_N: Ints, groups_N: Ints, counts_N: Doubles | None) -> Doubles | None:
    """(N,) how much each of the reported rows counts, of which a sample may hold a part only."""
    if counts_N is None or (counts_N == 1).all():
        return None
    return shares_of_pairs(labels_N, groups_N)


def sample_report(report: FitReport, labels_N: Ints, groups_N: Ints) -> FitReport:
    """A report on some of the rows, with the counts of all rows and a warning."""
    count = sum(report.examples_per_class.values())
    sample = f"{count} of {len(labels_N)} examples"
    examples_per_class, groups_per_class = _counts(labels_N, groups_N, report.classes)
    return replace(
        report,
        examples_per_class=examples_per_class,
        groups_per_class=groups_per_class,
        c_chosen_by=f"{report.c_chosen_by}, on {sample}",
        warnings=(f"evaluated on a drawn sample: {sample}", *_warnings(groups_per_class)),
    )


def _counts(
    labels_N: Ints, groups_N: Ints, classes: tuple[str, ...]
) -> tuple[dict[str, int], dict[str, int]]:
    """Examples, and distinct groups, of each class."""
    rows = {name: labels_N == c for c, name in enumerate(classes)}
    return (
        {name: int(rows_N.sum()) for name, rows_N in rows.items()},
        {name: len(np.unique(groups_N[rows_N])) for name, rows_N in rows.items()},
    )


def _confusion(labels_N: Ints, guesses_N: Ints, classes: int) -> tuple[tuple[int, ...], ...]:
    scored_N = guesses_N >= 0
    cells = Counter(zip(labels_N[scored_N].tolist(), guesses_N[scored_N].tolist(), strict=True))
    return tuple(tuple(cells[row, column] for column in range(classes)) for row in range(classes))


def _warnings(groups_per_class: dict[str, int]) -> Iterator[str]:
    for name, groups in groups_per_class.items():
        if groups < FEW_GROUPS:
            yield f"class {name!r} has examples of {in_groups(groups)}; fewer than {FEW_GROUPS}"
