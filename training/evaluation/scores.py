"""One encoder on one set: every score that the report shows.

Shape suffixes: N frames, D feature width.
"""

from dataclasses import dataclass

import numpy as np

from service.errors import NotEnoughExamples
from training.evaluation.clusters import Clusters, clusters
from training.evaluation.compare import HeldOutPredictions
from training.evaluation.protocol import (
    FRACTIONS,
    SEEDS,
    SHOTS,
    Floats,
    LabelledSet,
    Retrieval,
    fraction_scores,
    full_probe,
    retrieval,
    shot_scores,
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        shots: labelled frames per class.
        fractions: shares of the labelled groups.
    """

    shots: tuple[int, ...] = SHOTS
    seeds: int = SEEDS
    fractions: tuple[float, ...] = FRACTIONS
    fraction_seeds: int = 5


@dataclass(frozen=True, slots=True)
class SetScores:
    """All scores of one encoder on one set, percent.

    Attributes:
        shots: shots -> one score per seed; without those that the set has too few groups for.
        fractions: share -> scores of the seeds whose split held every class.
        full: held-out guesses of the probe on everything.
    """

    labelled: LabelledSet
    shots: dict[int, list[float]]
    fractions: dict[float, list[float]]
    full: HeldOutPredictions
    retrieval: Retrieval
    clusters: Clusters


def evaluate_set(features_ND: Floats, labelled: LabelledSet, effort: Effort) -> SetScores:
    """Measure everything; the splits depend on the set and the seeds alone."""
    shots: dict[int, list[float]] = {}
    for count in effort.shots:
        try:
            shots[count] = shot_scores(features_ND, labelled, count, effort.seeds)
        except NotEnoughExamples:
            # The same for every encoder: whether a set has the groups is no matter of features.
            continue
    fractions = {
        share: scores
        for share in effort.fractions
        if (scores := fraction_scores(features_ND, labelled, share, effort.fraction_seeds))
    }
    rows, predictions = full_probe(features_ND, labelled)
    return SetScores(
        labelled,
        shots,
        fractions,
        HeldOutPredictions(labelled, rows, predictions),
        retrieval(features_ND, labelled),
        clusters(features_ND, labelled),
    )


def confusion(full: HeldOutPredictions) -> list[list[int]]:
    """Counts, rows = true class, columns = predicted, in the order of ``labelled.classes``."""
    classes = full.labelled.classes
    truth_N = full.labelled.labels_N[full.rows]
    return [
        [int(np.sum((truth_N == true) & (full.predictions == predicted))) for predicted in classes]
        for true in classes
    ]


def unit_rows(features_ND: Floats, centre_D: Floats | None) -> Floats:
    """Rows minus ``centre_D`` (None = as they are), at unit length; zero rows stay zero."""
    rows_ND = features_ND.astype(np.float32)
    if centre_D is not None:
        rows_ND = rows_ND - centre_D.astype(np.float32)
    lengths_N1 = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    scaled_ND: Floats = rows_ND / np.maximum(lengths_N1, 1e-12)
    return scaled_ND
