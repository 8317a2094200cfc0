"""Which labels a person should look at: the next to give, doubtful ones, contradicting ones.

Shape suffixes: U unlabelled scans, C classes, L labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from service.catalog.interface import Catalog
from service.catalog.records import ClassifierVersion, Scan, VersionExample
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.registry import ClassifierRegistry
from service.classifiers.requests import ReviewRequest
from service.classifiers.store import ClassifierStore
from service.errors import InputError


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """One thing to look at, and what the classifier makes of it.

    Attributes:
        scan: the unlabelled scan; None for examples.
        example, other: the example, and the one that it contradicts.
        label: of a multi-label classifier: the label in question.
        guess: class that the classifier gives; ``present`` or ``absent`` for ``label``.
        probabilities: of the guess and of what competes with it.
        similarity: cosine of two contradicting examples.
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
    """The items that were asked for, most urgent first; ``total`` is how many there are."""

    version: ClassifierVersion
    items: tuple[ReviewItem, ...]
    total: int | None


class LabelReview:
    """Reviews labels with the classifiers of one catalog. Blocking."""

    def __init__(
        self,
        catalog: Catalog,
        store: ClassifierStore,
        evaluator: ClassifierEvaluator,
        registry: ClassifierRegistry,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._evaluator = evaluator
        self._registry = registry

    def review(self, workspace_id: str, request: ReviewRequest) -> Review:
        """What to look at.

        Raises:
            UnknownItem: no such classifier, version or collection.
            EncoderMismatch: of the version or the collection.
            InputError: ``next`` without collection and tasks, or more examples than can be
                compared.
            NotEnoughExamples: no example of the version is still kept.
        """
        number = self._registry.number(workspace_id, request.name, request.version)
        if request.kind == "next":
            return self._next(workspace_id, request, number)
        _, version = self._store.find(workspace_id, request.name, number)
        if request.kind == "suspect":
            items = self._suspects(workspace_id, request.name, number)
        else:
            items = self._conflicts(workspace_id, request.name, number)
        return Review(version, tuple(items[: request.limit]), len(items))

    def _next(self, workspace_id: str, request: ReviewRequest, number: int) -> Review:
        if request.collection is None or not request.tasks:
            raise InputError("expected collection and task for a review of kind next")
        loaded = self._store.open(workspace_id, request.name, number)
        chosen = self._evaluator.next_to_label(
            workspace_id, loaded, request.collection, request.tasks, request.limit
        )
        if not chosen:
            return Review(loaded.version, (), None)
        ids = [scan.scan_id for scan, _ in chosen]
        embeddings_UD = self._catalog.embeddings(workspace_id, request.collection, ids)
        shares = []
        for row, (_, label) in enumerate(chosen):
            head = loaded.model.heads[label]
            shares_C = head.probabilities(embeddings_UD[row : row + 1])[0].tolist()
            shares.append(dict(zip(head.head.classes, shares_C, strict=True)))
        items = [
            ReviewItem(
                "uncertain",
                scan=scan,
                label=label,
                guess=max(share, key=share.__getitem__),
                probabilities=share,
            )
            for (scan, label), share in zip(chosen, shares, strict=True)
        ]
        return Review(loaded.version, tuple(items), None)

    def _suspects(self, workspace_id: str, name: str, number: int) -> list[ReviewItem]:
        return [
            ReviewItem(
                "doubtful_label",
                example=issue.example,
                label=issue.label,
                guess=issue.suspect.suggested,
                probabilities={
                    issue.suspect.label: issue.suspect.given,
                    issue.suspect.suggested: issue.suspect.probability,
                },
            )
            for issue in self._evaluator.suspects(workspace_id, name, number)
        ]

    def _conflicts(self, workspace_id: str, name: str, number: int) -> list[ReviewItem]:
        return [
            ReviewItem("conflicting_labels", example=first, other=second, similarity=cosine)
            for first, second, cosine in self._evaluator.conflicts(workspace_id, name, number)
        ]
