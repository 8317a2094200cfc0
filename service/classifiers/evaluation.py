"""How good a version is, where its labels are doubtful, and what to label next. Blocking.

Shape suffixes: N examples, C classes, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.catalog.interface import Catalog
from service.catalog.records import ClassifierVersion, Scan, ScanFilter, VersionExample
from service.classifiers.examples import Example, group_of, without_repetitions
from service.classifiers.fitting import MULTI, fit_multi, fit_single, options_of, stacked, to_fit
from service.classifiers.grouping import grouped
from service.classifiers.label_evaluation import compared_labels, doubt_by_label, judged_labels
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.loaded_labels import OpenedLabels
from service.classifiers.store import ClassifierStore
from service.errors import InputError, NotEnoughExamples
from service.fewshot.duplicates import USUAL_OF_CONFLICTS, likeness_of_copies
from service.fewshot.fit import Fit
from service.fewshot.forecast import Forecast, forecast
from service.fewshot.heldout import HeldOut
from service.fewshot.label_quality import (
    Agreement,
    Suspect,
    agreement,
    conflicts,
    next_to_label,
    suspects,
)
from service.fewshot.metrics import compute_metrics
from service.fewshot.temperature import reliability


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures on labelled examples; ``known`` of them the version was fitted from."""

    examples: int
    known: int
    judgement: dict[str, Any]
    reliability: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """An example whose label is doubted.

    Attributes:
        concerns: the label that is doubtfully ``present`` or ``absent``; None = single-label.
    """

    example: Example
    suspect: Suspect
    concerns: str | None


@dataclass(frozen=True, slots=True)
class ConfusionCell:
    """Examples of one true class that heads without their groups gave one class.

    Attributes:
        concerns: the label that is ``present`` or ``absent``; None = single-label.
    """

    label: str
    predicted: str
    examples: tuple[Example, ...]
    concerns: str | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Cells that hold examples; ``judged`` in all. ``classes`` may be labels."""

    classes: tuple[str, ...]
    judged: int
    cells: tuple[ConfusionCell, ...]


class ClassifierEvaluator:
    """Judges the versions of one catalog; ``store`` opens them."""

    def __init__(self, catalog: Catalog, store: ClassifierStore) -> None:
        self._catalog = catalog
        self._store = store

    def evaluate(
        self,
        workspace_id: str,
        loaded: LoadedClassifier | OpenedLabels,
        given: Sequence[Example],
        *,
        allow_known: bool,
    ) -> Evaluation:
        """Evaluate a version on labelled examples.

        Raises:
            InputError: examples that the version was fitted from (same image, subject or study)
                and not ``allow_known``; a label that it does not know; no examples.
        """
        examples = without_repetitions(given)
        if not examples:
            raise NotEnoughExamples("expected labelled examples to judge on, got none")
        where = (workspace_id, loaded.classifier.name, loaded.version.number)
        known = _known(self._catalog.version_examples(*where), examples)
        if known and not allow_known:
            raise InputError(
                f"{known} of {len(examples)} examples share image, subject or study with what the "
                "version was fitted from; leave them out, or send allow_known"
            )
        if isinstance(loaded, OpenedLabels):
            figures, exactness = judged_labels(loaded, examples)
        else:
            figures, exactness = _judged(loaded, examples)
        return Evaluation(len(examples), known, figures, exactness)

    def compare(
        self, workspace_id: str, name: str, first: int, second: int
    ) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """Compare two versions by their out-of-fold guesses on the examples that both have.

        Returns:
            How many they share under one label, and the judgement of each on those.

        Raises:
            NotEnoughExamples: none.
        """
        if self._catalog.get_version(workspace_id, name, first).kind == MULTI:
            return self._compared_labels(workspace_id, name, first, second)
        fits = [self._single(workspace_id, name, number) for number in (first, second)]
        labels = [{e.example_id: e.label for e in examples} for examples, _ in fits]
        shared = {key for key, label in labels[0].items() if labels[1].get(key) == label}
        if not shared:
            raise NotEnoughExamples("the two versions share no example under one label")
        one, other = (_judged_on(examples, found, shared) for examples, found in fits)
        return len(shared), one, other

    def _compared_labels(
        self, workspace_id: str, name: str, first: int, second: int
    ) -> tuple[int, dict[str, Any], dict[str, Any]]:
        made = []
        for number in (first, second):
            version, examples = self._kept(workspace_id, name, number)
            options = options_of(version.kind, version.settings)
            wanted = to_fit(examples, options, version.encoder_id)
            made.append((examples, fit_multi(examples, wanted)))
        return compared_labels(*made)

    def suspects(self, workspace_id: str, name: str, number: int) -> list[LabelIssue]:
        """Examples whose labels a head that had not seen their group doubts, worst first."""
        examples, fits = self.fits(workspace_id, name, number)
        found = [
            LabelIssue(examples[suspect.row], suspect, concerns)
            for concerns, fit in fits.items()
            for suspect in suspects(fit.held_out)
        ]
        return sorted(found, key=lambda doubt: doubt.suspect.given)

    def conflicts(
        self, workspace_id: str, name: str, number: int
    ) -> list[tuple[Example, Example, float]]:
        """Examples that look alike and carry different labels, with their cosine, worst first.

        Raises:
            InputError: more than 20,000 examples, of which not all pairs can be compared.
        """
        examples = self._kept(workspace_id, name, number)[1]
        embeddings_ND, labels = stacked(examples), [example.label for example in examples]
        likeness = likeness_of_copies(embeddings_ND, labels, usual=USUAL_OF_CONFLICTS)
        found = conflicts(embeddings_ND, labels, likeness=likeness)
        return [(examples[c.first], examples[c.second], c.cosine) for c in found]

    def confusion(self, workspace_id: str, name: str, number: int) -> Confusion:
        """The examples behind each cell of the held-out confusion. Raises as ``fits``."""
        examples, fits = self.fits(workspace_id, name, number)
        cells = [cell for concerns, fit in fits.items() for cell in _cells(examples, fit, concerns)]
        labels = tuple(concerns for concerns in fits if concerns is not None)
        judged = max(int((fit.held_out_N >= 0).sum()) for fit in fits.values())
        return Confusion(labels or fits[None].head.classes, judged, tuple(cells))

    def forecast(self, workspace_id: str, name: str, number: int) -> dict[str | None, Forecast]:
        """What more examples would give, by label; None = single-label. Raises as ``fits``."""
        examples, fits = self.fits(workspace_id, name, number)
        embeddings_ND = stacked(examples)
        return {
            concerns: forecast(embeddings_ND, found.held_out) for concerns, found in fits.items()
        }

    def fits(
        self, workspace_id: str, name: str, number: int
    ) -> tuple[list[Example], dict[str | None, Fit]]:
        """The examples of a version that are still kept, and their fits with held-out scores.

        Returns:
            One fit under None for a single-label version; else each label's against the rest.

        Raises:
            UnknownItem: no such classifier or version.
            EncoderMismatch: it was fitted on another encoder's embeddings.
            NotEnoughExamples: none is kept, or of a single class.
        """
        version, examples = self._kept(workspace_id, name, number)
        wanted = to_fit(examples, options_of(version.kind, version.settings), version.encoder_id)
        if version.kind == MULTI:
            return examples, dict[str | None, Fit](fit_multi(examples, wanted).fits.items())
        return examples, {None: fit_single(examples, wanted)}

    def _single(self, workspace_id: str, name: str, number: int) -> tuple[list[Example], Fit]:
        examples, fits = self.fits(workspace_id, name, number)
        return examples, fits[None]

    def _kept(
        self, workspace_id: str, name: str, number: int
    ) -> tuple[ClassifierVersion, list[Example]]:
        """The version, and its examples that are still there with their labels."""
        version = self._catalog.get_version(workspace_id, name, number)
        self._store.require_encoder(version.encoder_id)
        kept = self._store.sources.of_version(workspace_id, name, number)
        examples = [example for example in kept if example.label]
        if not examples:
            raise NotEnoughExamples(f"version {number} has no examples that are still kept")
        return version, examples

    def next_to_label(
        self,
        workspace_id: str,
        loaded: LoadedClassifier | OpenedLabels,
        collection: str,
        tasks: Sequence[str],
        count: int,
    ) -> list[tuple[Scan, str | None]]:
        """Scans that lack a label for any of ``tasks`` and would teach the version most.

        Returns:
            Scans, each with the label that a multi-label version is least certain of.
        """
        scans = self._store.sources.scans_of(workspace_id, collection, ScanFilter())
        unlabelled = [scan for scan in scans if any(task not in scan.labels for task in tasks)]
        if not unlabelled:
            return []
        ids = [scan.scan_id for scan in unlabelled]
        embeddings_UD = self._catalog.embeddings(workspace_id, collection, ids)
        groups = [group_of(s.subject_id, s.study_id, s.image.sha256) for s in unlabelled]
        if isinstance(loaded, OpenedLabels):
            shares_UC, concerns = doubt_by_label(loaded, embeddings_UD)
        else:
            shares_UC = loaded.trust.probabilities(loaded.head, embeddings_UD)
            concerns = [None] * len(unlabelled)
        rows = next_to_label(embeddings_UD, shares_UC, groups, count)
        return [(unlabelled[row], concerns[row]) for row in rows]

    def agreement(
        self, workspace_id: str, collection: str, one: str, other: str
    ) -> tuple[Agreement, list[Scan]]:
        """Kappa of two label tasks over the scans that carry both, and those scans.

        Raises:
            NotEnoughExamples: none does.
        """
        scans = self._store.sources.scans_of(workspace_id, collection, ScanFilter())
        both = [scan for scan in scans if one in scan.labels and other in scan.labels]
        if not both:
            raise NotEnoughExamples("no scan of the collection carries labels of both tasks")
        found = agreement(
            [scan.labels[one] for scan in both],
            [scan.labels[other] for scan in both],
            [group_of(s.subject_id, s.study_id, s.image.sha256) for s in both],
        )
        return found, both


def _cells(examples: Sequence[Example], found: Fit, concerns: str | None) -> list[ConfusionCell]:
    classes = found.head.classes
    rows_by_cell: dict[tuple[int, int], list[int]] = {}
    for row, (true, guess) in enumerate(
        zip(found.held_out.labels_N.tolist(), found.held_out_N.tolist(), strict=True)
    ):
        if guess >= 0:
            rows_by_cell.setdefault((true, guess), []).append(row)
    return [
        ConfusionCell(classes[true], classes[guess], tuple(examples[row] for row in rows), concerns)
        for (true, guess), rows in sorted(rows_by_cell.items())
    ]


def _judged(
    loaded: LoadedClassifier, examples: Sequence[Example]
) -> tuple[dict[str, Any], dict[str, float]]:
    """Judgement and reliability. Raises InputError: a label that the version does not know."""
    classes = loaded.head.classes
    numbers = {name: number for number, name in enumerate(classes)}
    strange = sum(example.label not in numbers for example in examples)
    if strange:
        raise InputError(f"{strange} of {len(examples)} labels are no class of the version")
    embeddings_ND = stacked(examples)
    shares_NC = loaded.trust.probabilities(loaded.head, embeddings_ND)
    weights = loaded.version.report.get("class_weights")
    held_out = HeldOut(
        classes,
        np.log(np.maximum(shares_NC, 1e-300)),
        np.array([numbers[example.label] for example in examples]),
        np.unique(grouped(examples, embeddings_ND).groups, return_inverse=True)[1],
        np.array([weights[name] for name in classes]) if weights else None,
    )
    exactness = reliability(shares_NC, held_out.labels_N, held_out.balanced_shares())
    return compute_metrics(held_out).to_json(), exactness.to_json()


def _judged_on(examples: Sequence[Example], found: Fit, shared: set[str | None]) -> dict[str, Any]:
    rows = np.array([i for i, example in enumerate(examples) if example.example_id in shared])
    held_out = found.held_out
    return compute_metrics(held_out.rows(rows)).to_json()


def _known(learnt: Sequence[VersionExample], examples: Sequence[Example]) -> int:
    """How many examples share image, scan, subject or study with what was learnt from."""
    images = {e.sha256 for e in learnt} | {e.scan for e in learnt}
    subjects, studies = {e.subject_id for e in learnt}, {e.study_id for e in learnt}
    for seen in (images, subjects, studies):
        seen.discard(None)
    return sum(
        e.sha256 in images or e.scan in images or e.subject_id in subjects or e.study_id in studies
        for e in examples
    )
