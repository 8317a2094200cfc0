"""How good a version is. Blocking.

Nothing here fits: a version holds the out-of-fold scores of its fit. Rows whose examples are gone
are left out.

Shape suffixes: N examples, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.arrays import Doubles, Floats
from service.catalog.filter_records import ScanFilter
from service.catalog.interface import Catalog
from service.catalog.records import ClassifierVersion, Scan, VersionExample
from service.classifiers.examples import Examples, labels_of, without_repetitions
from service.classifiers.fitting import grouped
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.refusals import (
    LEARNT,
    LISTED,
    OnRefused,
    RefusalReason,
    RefusedExample,
    examples_refused,
    learnt_of,
    named,
    refusal_reasons,
    take_indices,
)
from service.classifiers.store import ClassifierStore
from service.errors import NotEnoughExamples
from service.fewshot.calibrator import Reliability, reliability
from service.fewshot.classifier import (
    CalibratedHead,
    FewShotClassifier,
    effective_thresholds,
)
from service.fewshot.forecast import Forecast
from service.fewshot.heldout import HeldOut, OutOfFold
from service.fewshot.label_quality import Agreement, agreement
from service.fewshot.metrics import ClassificationMetrics, compute_metrics, confusion_rows
from service.fewshot.portable import from_plain

MAX_COMPARED = 50_000  # examples of a fit whose copies are searched for


@dataclass(frozen=True, slots=True)
class ThresholdCounts:
    """How often a class or label is called at its threshold, among positives and negatives."""

    label: str
    threshold: float
    positives: int
    positives_called: int
    negatives: int
    negatives_called: int


@dataclass(frozen=True, slots=True)
class HeadEvaluation:
    """Figures of one head.

    Attributes:
        label: of a multi-label classifier; None = the head of a single-label one.
        reliability: of its probabilities; None in comparisons.
        thresholds: of its thresholds.
    """

    label: str | None
    metrics: ClassificationMetrics
    reliability: Reliability | None = None
    thresholds: tuple[ThresholdCounts, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures on labelled examples; ``known`` of them took part in the fit.

    Attributes:
        left_out: number of examples that were refused; ``refused`` lists the first 50.
    """

    examples: int
    known: int
    labels: tuple[HeadEvaluation, ...]
    left_out: int = 0
    refused: tuple[RefusedExample, ...] = ()

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean over labels; None where one has none."""
        return mean_balanced_accuracy(self.labels)


@dataclass(frozen=True, slots=True)
class ConfusionCell:
    """Examples of one actual class that out-of-fold scores assign to one predicted class.

    Attributes:
        label: the classes are ``present`` and ``absent`` of it; None = single-label.
    """

    label: str | None
    actual: str
    predicted: str
    examples: tuple[VersionExample, ...]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Cells that are not empty, of ``scored`` examples; ``classes`` may be labels."""

    classes: tuple[str, ...]
    scored: int
    cells: tuple[ConfusionCell, ...]


class ClassifierEvaluator:
    """Evaluates the versions of one catalog."""

    def __init__(self, catalog: Catalog, store: ClassifierStore) -> None:
        self._catalog = catalog
        self._store = store

    def evaluate(
        self,
        workspace_id: str,
        loaded: LoadedClassifier,
        examples: Examples,
        *,
        allow_known: bool,
        on_refused: OnRefused = "fail",
        unusable: Sequence[RefusedExample] = (),
    ) -> Evaluation:
        """Evaluate a version on labelled examples.

        Args:
            allow_known: also use examples that took part in the fit: same scan, image, subject or
                study, or a near copy.
            on_refused: whether to fail for the sake of refused examples, or to leave them out.
            unusable: examples that have no embedding.

        Raises:
            ExamplesRefused: examples that took part in the fit, or of an unknown class, or
                ``unusable``; only with ``on_refused`` fail.
            NotEnoughExamples: no examples, or all are refused.
        """
        examples = without_repetitions(examples)
        where = (workspace_id, loaded.classifier.name, loaded.version.number)
        fitted = self._store.sources.under_stored_ids(
            workspace_id, self._catalog.version_examples(*where)
        )
        cosine = self._store.sources.near_duplicate_cosine
        learnt = learnt_of(loaded, fitted, self._kept(loaded, *where), cosine)
        reasons = refusal_reasons(loaded, examples, learnt)
        allowed = LEARNT if allow_known else frozenset[RefusalReason]()
        refused = [*unusable, *(r for r in named(examples, reasons) if r.reason not in allowed)]
        total = len(examples) + len(unusable)
        if refused and on_refused == "fail":
            raise examples_refused(refused, total)
        used = examples.take(take_indices(reasons, allowed))
        if not len(used):
            raise NotEnoughExamples(
                f"expected labelled examples to evaluate on, got none: {len(refused)} of {total} "
                "were refused"
            )
        known = sum(reason in allowed for reason in reasons)
        rows_ND = self._store.views.query_rows(workspace_id, loaded.asks_views, used)
        heads = tuple(_evaluated(loaded, used, rows_ND, cosine))
        return Evaluation(len(used), known, heads, len(refused), tuple(refused[:LISTED]))

    def _kept(self, loaded: LoadedClassifier, *where: Any) -> Examples:
        if loaded.version.examples > MAX_COMPARED:  # the ids and digests of all still count
            return Examples.of(())
        return self._store.sources.of_version(*where)

    def confusion(self, workspace_id: str, name: str, number: int) -> Confusion:
        """The examples behind each cell of the out-of-fold confusion."""
        examples, scores = self.out_of_fold(workspace_id, name, number)
        version = self._catalog.get_version(workspace_id, name, number)
        cells = [
            cell
            for label, head in scores.heads.items()
            for cell in _cells(examples, head.nested, label)
        ]
        scored = max(int(head.nested.is_scored.sum()) for head in scores.heads.values())
        return Confusion(version.classes, scored, tuple(cells))

    def forecasts(self, workspace_id: str, name: str, number: int) -> dict[str | None, Forecast]:
        """The stored forecast of each label; None = single-label.

        Raises:
            UnknownItem: no such classifier or version.
            NotEnoughExamples: an import without a report.
        """
        version = self._catalog.get_version(workspace_id, name, number)
        heads: list[dict[str, Any]] = version.report.get("labels", [])
        if not heads:
            raise NotEnoughExamples(f"version {number} was imported without a report")
        return {head["label"]: from_plain(Forecast, head["forecast"]) for head in heads}

    def out_of_fold(
        self, workspace_id: str, name: str, number: int
    ) -> tuple[list[VersionExample], OutOfFold]:
        """The examples of a version that are still kept, and their out-of-fold scores.

        Raises:
            UnknownItem: no such classifier or version.
            EncoderMismatch: it was fitted on another encoder's embeddings.
            NotEnoughExamples: none is kept.
        """
        version = self._catalog.get_version(workspace_id, name, number)
        self._store.require_encoder(version.encoder_id)
        stored = self._catalog.version_examples(workspace_id, name, number)
        kept = [row for row, example in enumerate(stored) if example.is_kept]
        if not kept or not version.out_of_fold:
            raise NotEnoughExamples(f"version {number} has no examples that are still kept")
        scores = OutOfFold.from_bytes(version.out_of_fold)
        return [stored[row] for row in kept], scores.rows(np.array(kept))

    def agreement(
        self, workspace_id: str, collection: str, one: str, other: str
    ) -> tuple[Agreement, list[Scan]]:
        """Kappa of two label tasks over the scans that carry both, and those scans.

        Raises:
            NotEnoughExamples: no scan carries both.
        """
        scans = self._store.sources.scans_of(workspace_id, collection, ScanFilter())
        both = [scan for scan in scans if one in scan.labels and other in scan.labels]
        if not both:
            raise NotEnoughExamples("no scan of the collection carries labels of both tasks")
        kappa = agreement(
            [scan.labels[one] for scan in both],
            [scan.labels[other] for scan in both],
            self._store.sources.groups_of(workspace_id, both),
        )
        return kappa, both


def mean_balanced_accuracy(heads: Sequence[HeadEvaluation]) -> float | None:
    """Mean over labels; None where one has none."""
    figures = [head.metrics.balanced_accuracy for head in heads]
    values = [figure.value for figure in figures if figure is not None]
    return float(np.mean(values)) if figures and len(values) == len(figures) else None


def _cells(
    examples: Sequence[VersionExample], held_out: HeldOut, label: str | None
) -> Iterator[ConfusionCell]:
    for actual, row in zip(held_out.classes, confusion_rows(held_out), strict=True):
        for predicted, rows in zip(held_out.classes, row, strict=True):
            if rows:
                named = tuple(examples[number] for number in rows)
                yield ConfusionCell(label, actual, predicted, named)


def _evaluated(
    loaded: LoadedClassifier, examples: Examples, rows_ND: Floats, near_duplicate_cosine: float
) -> Iterator[HeadEvaluation]:
    truths = _truths(loaded.model, examples)
    groups = grouped(examples, near_duplicate_cosine).groups
    groups_N = np.unique(groups, return_inverse=True)[1]
    for label, head in loaded.model.heads.items():
        shares_NC = head.probabilities(rows_ND)
        held_out = HeldOut(
            head.head.classes,
            np.log(np.maximum(shares_NC, 1e-300)),
            np.array([head.head.classes.index(name) for name in truths[label]]),
            groups_N,
            _class_weights(loaded.version, label, head),
        )
        yield HeadEvaluation(
            label,
            compute_metrics(held_out),
            reliability(shares_NC, held_out.labels_N, held_out.balanced_shares()),
            tuple(_counts(label, head, held_out, shares_NC)),
        )


def _truths(model: FewShotClassifier, examples: Examples) -> dict[str | None, list[str]]:
    """The class of each example for each head; the version knows all of them."""
    if None in model.heads:
        return {None: list(examples.labels)}
    labels = [labels_of(key) for key in examples.labels]
    return {
        label: [head.head.classes[label in labels_of_example] for labels_of_example in labels]
        for label, head in model.heads.items()
    }


def _counts(
    label: str | None, head: CalibratedHead, held_out: HeldOut, shares_NC: Doubles
) -> Iterator[ThresholdCounts]:
    for name, threshold in effective_thresholds(label, head).items():
        chosen = held_out.classes.index(name)
        called_N = shares_NC[:, chosen] >= threshold
        positive_N = held_out.labels_N == chosen
        yield ThresholdCounts(
            label=name if label is None else label,
            threshold=threshold,
            positives=int(positive_N.sum()),
            positives_called=int((positive_N & called_N).sum()),
            negatives=int((~positive_N).sum()),
            negatives_called=int((~positive_N & called_N).sum()),
        )


def _class_weights(
    version: ClassifierVersion, label: str | None, head: CalibratedHead
) -> Doubles | None:
    reports: list[Mapping[str, Any]] = version.report.get("labels", [])
    by_label = {report["label"]: report["class_weights"] for report in reports}
    weights = by_label.get(label)
    return np.array([weights[name] for name in head.head.classes]) if weights else None
