"""Which labels a person should review: missing, doubtful and conflicting ones.

Shape suffixes: U unlabelled scans, N examples, C classes, L labels, D embedding width, S scans.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.arrays import Bools, Doubles
from service.catalog.interface import Catalog
from service.catalog.records import Scan, VersionExample
from service.classifiers.evaluation import MAX_COMPARED, ClassifierEvaluator
from service.classifiers.examples import Examples
from service.classifiers.label_source import LabelSource
from service.classifiers.labelling.near_duplicates import (
    NearDuplicates,
    PairRequest,
    near_duplicates,
)
from service.classifiers.labelling.unlabelled import NextScans, Pool, is_new, next_scans, pool_of
from service.classifiers.requests import ReviewRequest
from service.classifiers.store import ClassifierStore
from service.errors import InputError, NotEnoughExamples
from service.fewshot.classifier import PRESENT_NUMBER
from service.fewshot.duplicates import USUAL_OF_CONFLICTS, similarity_of_copies
from service.fewshot.heldout import HeldOut
from service.fewshot.label_quality import conflicts, doubts, next_to_label, suspects

SCORED_AT_ONCE = 4_096  # embeddings in memory


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
    """The most urgent items first; ``total`` is the number of all, None = not counted.

    Attributes:
        left_out: of kind ``next``: unlabelled scans that the version has learnt already, or that
            copy a labelled one.
    """

    items: tuple[ReviewItem, ...]
    total: int | None
    left_out: int | None = None


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
            InputError: ``next`` without collection and tasks, and a version without a source; or
                more examples than can be compared.
            NotEnoughExamples: no example of the version is still kept.
        """
        if request.kind == "next":
            return self._next(workspace_id, request)
        list_items = self._suspects if request.kind == "suspect" else self._conflicts
        items = list_items(workspace_id, request.name, request.number)
        return Review(tuple(items[: request.limit]), len(items))

    def next_scans(
        self, workspace_id: str, collection: str, tasks: Sequence[str], limit: int
    ) -> NextScans:
        """Scans to label without a classifier. Raises as ``unlabelled.next_scans``."""
        sources = self._store.sources
        return next_scans(self._catalog, sources, workspace_id, collection, tasks, limit)

    def near_duplicates(
        self, workspace_id: str, collection: str, request: PairRequest
    ) -> NearDuplicates:
        """Pairs of scans that nearly repeat each other. Raises as ``near_duplicates``."""
        sources = self._store.sources
        sources.check_collection(workspace_id, collection)
        cosine = sources.near_duplicate_cosine
        return near_duplicates(self._catalog, workspace_id, collection, request, cosine)

    def doubts(
        self, workspace_id: str, name: str, collection: str, scan_ids: Sequence[str]
    ) -> Doubles:
        """(S,) how doubtful each scan is to the published version, 0 to 1.

        Of its examples: how improbable their own label is to heads that had not seen them. Of
        other scans: 1 minus the highest probability.

        Raises:
            UnknownItem: no such classifier, collection or scan.
            EncoderMismatch: the version or the collection belongs to another encoder.
        """
        loaded = self._store.open(workspace_id, name)
        self._store.sources.check_collection(workspace_id, collection)
        doubts_S = np.zeros(len(scan_ids))
        for start in range(0, len(scan_ids), SCORED_AT_ONCE):
            some = scan_ids[start : start + SCORED_AT_ONCE]
            embeddings_SD = self._catalog.embeddings(workspace_id, collection, some)
            # Of several labels the most doubtful one counts.
            doubts_S[start : start + len(some)] = np.max(
                [1.0 - h.probabilities(embeddings_SD).max(1) for h in loaded.model.heads.values()],
                axis=0,
            )
        number = loaded.version.number
        places = {scan_id: place for place, scan_id in enumerate(scan_ids)}
        for scan_id, doubt in self._example_doubts(workspace_id, name, number, collection):
            if scan_id in places:
                doubts_S[places[scan_id]] = doubt
        return doubts_S

    def _example_doubts(
        self, workspace_id: str, name: str, number: int, collection: str
    ) -> list[tuple[str, float]]:
        """(scan id, doubt) of the examples from a collection; none of an imported version."""
        try:
            examples, scored = self._scored(workspace_id, name, number)
        except NotEnoughExamples:
            return []
        doubts_N = np.max([doubts(*of_head) for of_head in scored.values()], axis=0)
        return [
            (example.scan[1], float(doubt))
            for example, doubt in zip(examples, doubts_N, strict=True)
            if example.scan and example.scan[0] == collection and np.isfinite(doubt)
        ]

    def _next(self, workspace_id: str, request: ReviewRequest) -> Review:
        loaded = self._store.open(workspace_id, request.name, request.number)
        collection, tasks = request.collection, request.tasks
        if collection is None and not tasks:
            source = LabelSource.of_version(loaded.version)
            collection = source.collection if source else None
            tasks = _tasks_of(source)
        if collection is None or not tasks:
            raise InputError("expected collection and task for a review of kind next")
        sources = self._store.sources
        pool = pool_of(self._catalog, sources, workspace_id, collection, tasks)
        pool = pool.take(self._teaches(workspace_id, request, pool))
        if not pool.scans:
            return Review((), None, pool.left_out)
        heads = list(loaded.model.heads.items())
        shares = [head.probabilities(pool.embeddings_UD) for _, head in heads]
        # The entropies of independent labels add up, so all columns together have their sum.
        rows = next_to_label(pool.embeddings_UD, np.hstack(shares), pool.groups, request.limit)
        sureness_UL = np.stack([abs(share[:, PRESENT_NUMBER] - 0.5) for share in shares], axis=1)
        items = []
        for row in rows:
            place = int(sureness_UL[row].argmin())  # the least certain label
            label, head = heads[place]
            of_row = dict(zip(head.head.classes, shares[place][row].tolist(), strict=True))
            guess = max(of_row, key=of_row.__getitem__)
            scan = pool.scans[row]
            items.append(
                ReviewItem("uncertain", scan, label=label, guess=guess, probabilities=of_row)
            )
        return Review(tuple(items), None, pool.left_out)

    def _teaches(self, workspace_id: str, request: ReviewRequest, pool: Pool) -> Bools:
        """Which scans the version has not learnt, and nobody has labelled a copy of."""
        where = (workspace_id, request.name, request.number)
        examples = self._catalog.version_examples(*where)
        kept = Examples.of(())
        if len(examples) <= MAX_COMPARED:
            kept = self._store.sources.of_version(*where)
        scans = frozenset(example.scan for example in examples)
        sha256s = frozenset(example.sha256 for example in examples)
        cosine = self._store.sources.near_duplicate_cosine
        learnt_U = is_new(pool, kept, scans, sha256s, cosine)
        return learnt_U & is_new(pool, pool.labelled, frozenset(), frozenset(), cosine)

    def _suspects(self, workspace_id: str, name: str, number: int) -> list[ReviewItem]:
        """Examples with doubtful labels by out-of-fold scores, the worst first."""
        examples, scored = self._scored(workspace_id, name, number)
        doubted = [
            (label, suspect) for label, of_head in scored.items() for suspect in suspects(*of_head)
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

    def _scored(
        self, workspace_id: str, name: str, number: int
    ) -> tuple[list[VersionExample], dict[str | None, tuple[HeldOut, Doubles]]]:
        """Examples that are kept; of each head their scores and calibrated probabilities.

        Logits of few examples are short: without the temperature, a wrong label looks possible.
        """
        examples, scores = self._evaluator.out_of_fold(workspace_id, name, number)
        heads = self._store.open(workspace_id, name, number).model.heads
        scored = {}
        for label, head in scores.heads.items():
            calibration = heads[label].calibrator.calibration
            scored[label] = (head.chosen, calibration.probabilities(head.chosen.logits_NC))
        return examples, scored

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
        similarity = similarity_of_copies(
            embeddings_ND,
            labels,
            min_similarity=self._store.sources.near_duplicate_cosine,
            usual=USUAL_OF_CONFLICTS,
        )
        return [
            ReviewItem(
                "conflicting_labels",
                example=records[pair.first],
                other=records[pair.second],
                similarity=pair.cosine,
            )
            for pair in conflicts(embeddings_ND, labels, min_similarity=similarity)
        ]


def _tasks_of(source: LabelSource | None) -> tuple[str, ...]:
    if source is None:
        return ()
    return (source.task,) if source.task is not None else tuple(source.tasks)
