"""A version ready to answer: head, trust, and the examples it can point at.

Shape suffixes: N examples, Q queries, K neighbours, D embedding width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.records import Classifier, ClassifierVersion, VersionExample
from service.fewshot.calibrator import FALLBACK_MARGIN, Answer, Calibrator
from service.fewshot.conformal import Conformal, PredictionSets
from service.fewshot.head import LinearHead, cosines, from_npz, unit_rows
from service.fewshot.novelty import MAX_ANCHORS, Novelty
from service.fewshot.portable import from_bytes, to_bytes
from service.fewshot.temperature import Calibration

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
UNKNOWN = "the version was stored before held-out scores were kept"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A labelled example that resembles the query; ``similarity`` is the cosine."""

    example: VersionExample
    similarity: float


@dataclass(frozen=True, slots=True)
class Support:
    """Examples of a version that are still kept, at most 2000; unit rows, float32."""

    examples: tuple[VersionExample, ...]
    unit_ND: Floats

    def nearest(self, embedding_D: Floats, k: int) -> list[Neighbour]:
        """The ``k`` most similar examples, best first."""
        if not self.examples or k == 0:
            return []
        cosines_N = cosines(unit_rows(embedding_D[None]), self.unit_ND)[0]
        best_K = np.argsort(-cosines_N, kind="stable")[:k]
        return [Neighbour(self.examples[i], float(cosines_N[i])) for i in best_K.tolist()]


@dataclass(frozen=True, slots=True)
class LoadedClassifier:
    """A version ready to predict. Distances need examples or an import's own anchors."""

    classifier: Classifier
    version: ClassifierVersion
    head: LinearHead
    trust: Calibrator
    support: Support

    @property
    def knows_distances(self) -> bool:
        """Whether it can tell how far a query is from what was taught."""
        return len(self.trust.novelty.anchors_SD) > 0

    def answers(
        self, embeddings_QD: Floats, coverage: float
    ) -> tuple[list[Answer], PredictionSets]:
        """Classes, doubts and prediction sets of the queries.

        Raises:
            InputError: coverage outside 0.5 to 0.999.
        """
        trust = self.trust
        if not self.knows_distances:
            anchor_1D = np.eye(1, self.head.weights_CD.shape[1], dtype=np.float32)
            nowhere = Novelty("nearest", anchor_1D, np.empty(0), math.inf)
            trust = replace(trust, novelty=nowhere)
        probabilities_QC = trust.probabilities(self.head, embeddings_QD)
        answers = trust.answers_for(self.head.classes, probabilities_QC, embeddings_QD)
        return answers, trust.sets(probabilities_QC, coverage)


def support_of(examples: Sequence[VersionExample], embeddings_ND: Floats) -> Support:
    """Of the kept examples with their vectors; a drawn 2000 when there are more."""
    chosen = np.arange(len(examples))
    if len(examples) > MAX_ANCHORS:
        drawn = np.random.default_rng(0).permutation(len(examples))[:MAX_ANCHORS]
        chosen = np.sort(drawn)
    if not len(chosen):
        return Support((), embeddings_ND)
    unit_ND = unit_rows(embeddings_ND[chosen]).astype(np.float32)
    return Support(tuple(examples[i] for i in chosen.tolist()), unit_ND)


def load_classifier(
    classifier: Classifier, version: ClassifierVersion, support: Support
) -> LoadedClassifier:
    """Put together what the catalog holds. Raises ArtifactMismatch: it is damaged."""
    if not version.trust_npz:
        head = from_npz(version.head_npz)
        trust = _without_scores(head)
    else:
        found = from_bytes(version.trust_npz)
        head, trust = found.head, found.trust
    if len(support.examples):
        trust = replace(trust, novelty=replace(trust.novelty, anchors_SD=support.unit_ND))
    return LoadedClassifier(classifier, version, head, trust, support)


def kept_trust(head: LinearHead, trust: Calibrator) -> bytes:
    """For the catalog: everything but the anchors.

    Those are embeddings of patients; they are read from the examples, so that they are gone
    when a scan is deleted or a subject erased.
    """
    nothing_SD = np.empty((0, head.weights_CD.shape[1]), np.float32)
    return to_bytes(head, replace(trust, novelty=replace(trust.novelty, anchors_SD=nothing_SD)))


def _without_scores(head: LinearHead) -> Calibrator:
    nothing_SD = np.empty((0, head.weights_CD.shape[1]), np.float32)
    return Calibrator(
        Calibration(1.0, 0, None, None, UNKNOWN),
        Conformal("lac", head.classes, np.empty(0), np.empty(0, np.int64)),
        Novelty("nearest", nothing_SD, np.empty(0), math.inf),
        FALLBACK_MARGIN,
        f"default: {UNKNOWN}",
    )
