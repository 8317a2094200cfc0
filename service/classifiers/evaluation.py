"""How good a version is. Blocking.

Nothing here fits: a version holds the out-of-fold scores of its fit. Rows whose examples are gone
are left out.

Shape suffixes: N examples, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.arrays import Doubles
from service.catalog.interface import Catalog
from service.catalog.records import ClassifierVersion, Scan, ScanFilter, VersionExample
from service.classifiers.examples import Examples, group_of, labels_of, without_repetitions
from service.classifiers.grouping import grouped
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.store import ClassifierStore
from service.errors import InputError, NotEnoughExamples
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
    """Figures on labelled examples; ``known`` of them took part in the fit."""

    examples: int
    known: int
    labels: tuple[HeadEvaluation, ...]

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean over labels; None where one has none."""
        return mean_balanced_accuracy(self.labels)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions on the examples that both have with the same labels."""

    shared: int
    first: tuple[HeadEvaluation, ...]
    second: tuple[HeadEvaluation, ...]


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
    ) -> Evaluation:
        """Evaluate a version on labelled examples.

        Raises:
            InputError: examples that took part in the fit (same image, subject or study) without
                ``allow_known``, or an unknown label.
            NotEnoughExamples: no examples.
        """
        examples = without_repetitions(examples)
        if not len(examples):
            raise NotEnoughExamples("expected labelled examples to evaluate on, got none")
        where = (workspace_id, loaded.classifier.name, loaded.version.number)
        known = _known(self._catalog.version_examples(*where), examples)
        if known and not allow_known:
            raise InputError(
                f"{known} of {len(examples)} examples share image, subject or study with what the "
                "version was fitted from; leave them out, or send allow_known"
            )
        return Evaluation(len(examples), known, tuple(_evaluated(loaded, examples)))

    def compare(self, workspace_id: str, name: str, first: int, second: int) -> Comparison:
        """Compare two versions by their out-of-fold scores of the examples that both have.

        Raises:
            NotEnoughExamples: no example has the same labels in both.
        """
        stored = [self.out_of_fold(workspace_id, name, number) for number in (first, second)]
        labels = [{e.example_id: e.label for e in examples} for examples, _ in stored]
        shared = {key for key, label in labels[0].items() if labels[1].get(key) == label}
        if not shared:
            raise NotEnoughExamples("the two versions share no example under the same labels")
        heads, others = (_on_shared(examples, scores, shared) for examples, scores in stored)
        return Comparison(len(shared), heads, others)

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
            [group_of(s.subject_id, s.study_id, s.image.sha256) for s in both],
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


def _evaluated(loaded: LoadedClassifier, examples: Examples) -> Iterator[HeadEvaluation]:
    """Raises InputError: a label that the version does not know."""
    truths = _truths(loaded.model, examples)
    groups_N = np.unique(grouped(examples).groups, return_inverse=True)[1]
    for label, head in loaded.model.heads.items():
        shares_NC = head.probabilities(examples.embeddings_ND)
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
    """The class of each example for each head. Raises InputError: an unknown class or label."""
    if None in model.heads:
        unknown = sum(label not in model.labels for label in examples.labels)
        if unknown:
            raise InputError(f"{unknown} of {len(examples)} labels are no class of the version")
        return {None: list(examples.labels)}
    labels = [labels_of(key) for key in examples.labels]
    unknown = len(frozenset[str]().union(*labels) - set(model.labels))
    if unknown:
        raise InputError(f"the version does not know {unknown} labels of the examples")
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


def _on_shared(
    examples: Sequence[VersionExample], scores: OutOfFold, shared: set[str]
) -> tuple[HeadEvaluation, ...]:
    rows = np.array([i for i, example in enumerate(examples) if example.example_id in shared])
    return tuple(
        HeadEvaluation(label, compute_metrics(head.nested))
        for label, head in scores.rows(rows).heads.items()
    )


def _known(fitted: Sequence[VersionExample], examples: Examples) -> int:
    """How many examples share image, scan, subject or study with the examples of the fit."""
    images = {e.sha256 for e in fitted} | {e.scan for e in fitted}
    subjects, studies = {e.subject_id for e in fitted}, {e.study_id for e in fitted}
    for ids in (images, subjects, studies):
        ids.discard(None)
    columns = (examples.sha256s, examples.scans, examples.subject_ids, examples.study_ids)
    return sum(
        sha256 in images or scan in images or subject_id in subjects or study_id in studies
        for sha256, scan, subject_id, study_id in zip(*columns, strict=True)
    )
