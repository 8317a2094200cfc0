"""A version that is ready to predict, with the examples that it can show.

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
    """A labelled example; ``similarity`` is its cosine with the query."""

    example: VersionExample
    similarity: float


@dataclass(frozen=True, slots=True)
class Support:
    """Kept examples of a version, at most 2000, and their unit embeddings."""

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
    """A version that is ready to predict: its records, its model and its kept examples."""

    classifier: Classifier
    version: ClassifierVersion
    model: FewShotClassifier
    support: Support

    @property
    def asks_views(self) -> bool:
        """Whether it is asked with the mean embedding of views."""
        return self.model.asked_with == "views"


def support_of(examples: Sequence[VersionExample], embeddings_ND: Floats) -> Support:
    """The kept examples with their vectors, or a drawn 2000 of them, the same in any order."""
    chosen = np.arange(len(examples))
    if len(examples) > MAX_ANCHORS:
        names = [example.sha256 or example.example_id for example in examples]
        order_N = np.array(sorted(range(len(names)), key=names.__getitem__))
        chosen = np.sort(np.random.default_rng(0).permutation(order_N)[:MAX_ANCHORS])
    if not len(chosen):
        return Support((), embeddings_ND)
    unit_ND = unit_rows(embeddings_ND[chosen]).astype(np.float32)
    return Support(tuple(examples[i] for i in chosen.tolist()), unit_ND)


def load_classifier(
    classifier: Classifier, version: ClassifierVersion, support: Support
) -> LoadedClassifier:
    """Decode a version. Raises ArtifactMismatch: it is damaged.

    Anchors are embeddings of patients. They come from the examples, so that they disappear when a
    scan is deleted or a subject erased. An imported version has anchors of its own.
    """
    model = from_bytes(version.artifact)
    if support.examples:
        model = model.with_anchors(support.unit_ND)
    return LoadedClassifier(classifier, version, model, support)
