"""Which labels a person should review: missing, doubtful and conflicting ones.

Shape suffixes: U unlabelled scans, N examples, C classes, L labels, D embedding width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.catalog.interface import Catalog
from service.catalog.records import Scan, ScanFilter, VersionExample
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.examples import group_of
from service.classifiers.requests import ReviewRequest
from service.classifiers.store import ClassifierStore
from service.errors import InputError, NotEnoughExamples
from service.fewshot.classifier import PRESENT_NUMBER
from service.fewshot.duplicates import USUAL_OF_CONFLICTS, similarity_of_copies
from service.fewshot.label_quality import conflicts, next_to_label, suspects


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A scan or example to review, with the guess of the classifier.

    Attributes:
        scan: the unlabelled scan; None for examples.
        example, other: the example, and the one that contradicts it.
        label: of a multi-label classifier, the label in question.
        guess: class that the classifier predicts; ``present`` or ``absent`` for ``label``.
        probabilities: of the guess and its alternatives.
        similarity: cosine of two examples that contradict each other.
    """

    reason: Literal["uncertain", "doubtful_label", "conflicting_labels"]
    scan: Scan | None = None
    example: VersionExample | None = None
    other: VersionExample | None = None
    label: str | None = None
    guess: str | None = None
    probabilities: Mapping[str, float] | None = None
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """The most urgent items first; ``total`` is the number of all, None = not counted."""

    items: tuple[ReviewItem, ...]
    total: int | None


class LabelReview:
    """Reviews labels with the classifiers of one catalog. Blocking."""

    def __init__(
        self, catalog: Catalog, store: ClassifierStore, evaluator: ClassifierEvaluator
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._evaluator = evaluator

    def review(self, workspace_id: str, request: ReviewRequest) -> Review:
        """What to review.

        Raises:
            UnknownItem: no such classifier, version or collection.
            EncoderMismatch: the version or the collection belongs to another encoder.
            InputError: ``next`` without collection and tasks, or more examples than can be
                compared.
            NotEnoughExamples: no example of the version is still kept.
        """
        if request.kind == "next":
            return self._next(workspace_id, request)
        list_items = self._suspects if request.kind == "suspect" else self._conflicts
        items = list_items(workspace_id, request.name, request.number)
        return Review(tuple(items[: request.limit]), len(items))

    def _next(self, workspace_id: str, request: ReviewRequest) -> Review:
        if request.collection is None or not request.tasks:
            raise InputError("expected collection and task for a review of kind next")
        loaded = self._store.open(workspace_id, request.name, request.number)
        scans = self._store.sources.scans_of(workspace_id, request.collection, ScanFilter())
        unlabelled = [s for s in scans if any(task not in s.labels for task in request.tasks)]
        if not unlabelled:
            return Review((), None)
        ids = [scan.scan_id for scan in unlabelled]
        embeddings_UD = self._catalog.embeddings(workspace_id, request.collection, ids)
        groups = [group_of(s.subject_id, s.study_id, s.image.sha256) for s in unlabelled]
        heads = list(loaded.model.heads.items())
        shares = [head.probabilities(embeddings_UD) for _, head in heads]
        # The entropies of independent labels add up, so all columns together have their sum.
        rows = next_to_label(embeddings_UD, np.hstack(shares), groups, request.limit)
        sureness_UL = np.stack([abs(share[:, PRESENT_NUMBER] - 0.5) for share in shares], axis=1)
        items = []
        for row in rows:
            place = int(sureness_UL[row].argmin())  # the least certain label
            label, head = heads[place]
            of_row = dict(zip(head.head.classes, shares[place][row].tolist(), strict=True))
            guess = max(of_row, key=of_row.__getitem__)
            items.append(
                ReviewItem(
                    "uncertain",
                    scan=unlabelled[row],
                    label=label,
                    guess=guess,
                    probabilities=of_row,
                )
            )
        return Review(tuple(items), None)

    def _suspects(self, workspace_id: str, name: str, number: int) -> list[ReviewItem]:
        """Examples with doubtful labels by out-of-fold scores, the worst first."""
        examples, scores = self._evaluator.out_of_fold(workspace_id, name, number)
        doubted = [
            (label, suspect)
            for label, head in scores.heads.items()
            for suspect in suspects(head.nested)
        ]
        return [
            ReviewItem(
                "doubtful_label",
                example=examples[suspect.row],
                label=label,
                guess=suspect.suggested,
                probabilities={
                    suspect.label: suspect.given,
                    suspect.suggested: suspect.probability,
                },
            )
            for label, suspect in sorted(doubted, key=lambda pair: pair[1].given)
        ]

    def _conflicts(self, workspace_id: str, name: str, number: int) -> list[ReviewItem]:
        """Similar examples with different labels, the most similar first."""
        self._store.find(workspace_id, name, number)
        examples = self._store.sources.of_version(workspace_id, name, number)
        if not len(examples):
            raise NotEnoughExamples(f"version {number} has no examples that are still kept")
        stored = self._catalog.version_examples(workspace_id, name, number)
        by_id = {example.example_id: example for example in stored}
        records = [by_id[str(example_id)] for example_id in examples.example_ids]
        embeddings_ND, labels = examples.embeddings_ND, examples.labels
        similarity = similarity_of_copies(embeddings_ND, labels, usual=USUAL_OF_CONFLICTS)
        return [
            ReviewItem(
                "conflicting_labels",
                example=records[pair.first],
                other=records[pair.second],
                similarity=pair.cosine,
            )
            for pair in conflicts(embeddings_ND, labels, min_similarity=similarity)
        ]
