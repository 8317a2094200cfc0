"""A version ready to answer: its classifier, and the examples it can point at.

Shape suffixes: N examples, Q queries, K neighbours, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.arrays import Floats
from service.catalog.records import Classifier, ClassifierVersion, VersionExample
from service.fewshot.classifier import FewShotClassifier
from service.fewshot.head import cosines, unit_rows
from service.fewshot.novelty import MAX_ANCHORS
from service.fewshot.portable import from_bytes


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

    def nearest(self, embedding_D: Floats, k: int) -> tuple[Neighbour, ...]:
        """The ``k`` most similar examples, best first."""
        if not self.examples or k == 0:
            return ()
        cosines_N = cosines(unit_rows(embedding_D[None]), self.unit_ND)[0]
        best_K = np.argsort(-cosines_N, kind="stable")[:k]
        return tuple(Neighbour(self.examples[i], float(cosines_N[i])) for i in best_K.tolist())


@dataclass(frozen=True, slots=True)
class LoadedClassifier:
    """A version ready to predict. Distances need examples or an import's own anchors.

    Attributes:
        classifier, version: as the catalog holds them.
        model: what predicts.
    """

    classifier: Classifier
    version: ClassifierVersion
    model: FewShotClassifier
    support: Support


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
    """Put together what the catalog holds. Raises ArtifactMismatch: it is damaged.

    Anchors are embeddings of patients. They are read from the examples, so that they are gone when
    a scan is deleted or a subject erased.
    """
    model = from_bytes(version.artifact)
    if support.examples:
        model = model.with_anchors(support.unit_ND)
    return LoadedClassifier(classifier, version, model, support)
