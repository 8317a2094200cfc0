"""A version of a multi-label classifier ready to answer.

Shape suffixes: N examples, Q queries, L labels, D embedding width.
"""

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.records import Classifier, ClassifierVersion
from service.classifiers.loaded import Support
from service.fewshot.conformal import PredictionSets
from service.fewshot.multilabel_answers import LabelsAnswer, MultiLabel
from service.fewshot.multilabel_files import from_labels_bytes, to_labels_bytes
from service.fewshot.novelty import Novelty

Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class OpenedLabels:
    """As ``opened.Opened``, with one head per label."""

    classifier: Classifier
    version: ClassifierVersion
    made: MultiLabel
    support: Support

    @property
    def knows_distances(self) -> bool:
        """Whether it can tell how far a query is from what was taught."""
        return len(self.made.novelty.anchors_SD) > 0

    @property
    def calibrated(self) -> bool:
        """Whether every label is."""
        return all(head.trust.calibration.calibrated for head in self.made.heads)

    def answers(
        self, embeddings_QD: Floats, coverage: float
    ) -> tuple[list[LabelsAnswer], dict[str, PredictionSets]]:
        """Labels, doubts and prediction sets of the queries.

        Raises:
            InputError: coverage outside 0.5 to 0.999.
        """
        made = self.made
        if not self.knows_distances:
            anchor_1D = np.eye(1, made.width, dtype=np.float32)
            made = replace(made, novelty=Novelty("nearest", anchor_1D, np.empty(0), math.inf))
        return made.answers(embeddings_QD, coverage), made.sets(embeddings_QD, coverage)


def opened_labels(
    classifier: Classifier, version: ClassifierVersion, support: Support
) -> OpenedLabels:
    """Put together what the catalog holds. Raises ArtifactMismatch: it is damaged."""
    made = from_labels_bytes(version.trust_npz)
    if len(support.examples):
        made = _with_anchors(made, support.unit_ND)
    return OpenedLabels(classifier, version, made, support)


def kept_labels(made: MultiLabel) -> bytes:
    """For the catalog: everything but the anchors, which are embeddings of patients."""
    return to_labels_bytes(_with_anchors(made, np.empty((0, made.width), np.float32)))


def _with_anchors(made: MultiLabel, anchors_SD: Floats) -> MultiLabel:
    usual = replace(made.novelty, anchors_SD=anchors_SD)
    heads = tuple(replace(h, trust=replace(h.trust, novelty=usual)) for h in made.heads)
    return replace(made, heads=heads, novelty=usual)
