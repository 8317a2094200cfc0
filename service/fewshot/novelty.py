"""How far an embedding lies from all examples of a classifier.

Distances are 1 - cosine. The usual distances are measured on the examples (the support): from each
one to the examples of other groups, of any class.

Shape suffixes: N rows, S support rows, G groups, D embedding width, M reference distances.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Doubles, Floats, Ints
from service.errors import InputError
from service.fewshot.drift.drift_reference import mean_of_nearest
from service.fewshot.duplicates import fingerprints
from service.fewshot.head import cosines, unit_rows

Method: TypeAlias = Literal["nearest", "class_mean"]

MAX_ANCHORS = 2000  # rows kept to measure distances to
FAR_SHARE = 0.05  # of the support that would be called far
MIN_REFERENCES = 5  # groups; with fewer, nothing is called far


@dataclass(frozen=True, slots=True)
class Novelty:
    """Anchors, and the distances that are usual among them.

    Attributes:
        anchors_SD: unit rows: support examples, or means of classes.
        usual_M: ascending leave-group-out distance of each group of the support (the median of
            its rows).
        far_from: distance above which a row is far from every class; infinity = never.
    """

    method: Method
    anchors_SD: Floats
    usual_M: Doubles
    far_from: float

    def distances(self, embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
        """(N,) to the nearest anchor, in [0, 2].

        Raises:
            InputError: wrong width, zero or non-finite rows.
        """
        return self.nearness(embeddings_ND)[0]

    def nearness(self, embeddings_ND: npt.NDArray[np.floating]) -> tuple[Doubles, Doubles]:
        """``distances``, and (N,) the mean cosine to the nearest 5 anchors. Raises as it."""
        unit_ND = unit_rows(embeddings_ND)
        if unit_ND.shape[1] != self.anchors_SD.shape[1]:
            raise InputError(f"expected width {self.anchors_SD.shape[1]}, got {unit_ND.shape[1]}")
        cosines_NS = cosines(unit_ND, self.anchors_SD)
        distances_N: Doubles = 1 - np.minimum(cosines_NS.max(1), 1).astype(np.float64)
        return distances_N, mean_of_nearest(cosines_NS)

    def percentiles(self, distances_N: Doubles) -> Doubles:
        """(N,) percentage of the usual distances that are smaller; NaN without any."""
        if not len(self.usual_M):
            return np.full(len(distances_N), np.nan)
        below_N = np.searchsorted(self.usual_M, distances_N, side="left")
        shares_N: Doubles = 100 * below_N / len(self.usual_M)
        return shares_N

    def far(self, distances_N: Doubles) -> Bools:
        """(N,) whether a row is far from every class."""
        return np.asarray(distances_N > self.far_from)

    def facts(self) -> "NoveltyFacts":
        """The settings and the usual distances, without the anchors."""
        usual_M = self.usual_M
        return NoveltyFacts(
            method=self.method,
            anchors=len(self.anchors_SD),
            reference_groups=len(usual_M),
            usual_distance_median=float(np.median(usual_M)) if len(usual_M) else None,
            far_from=self.far_from if np.isfinite(self.far_from) else None,
        )


@dataclass(frozen=True, slots=True)
class NoveltyFacts:
    """The usual distances in a report; ``far_from`` is None where nothing is far."""

    method: Method
    anchors: int
    reference_groups: int
    usual_distance_median: float | None
    far_from: float | None


def novelty(
    embeddings_SD: npt.NDArray[np.floating],
    labels_S: Ints,
    groups_S: Ints,
    *,
    method: Method = "nearest",
    seed: int = 0,
) -> Novelty:
    """Measure the usual distances among the support.

    ``far_from`` is the distance that 5 % of the groups exceed when they are left out; with fewer
    than 20 groups it is the greatest distance, with fewer than 5 infinity.

    Raises:
        InputError: zero or non-finite rows, or lengths that differ.
    """
    if not len(embeddings_SD) == len(labels_S) == len(groups_S):
        raise InputError("expected one label and one group per row")
    kept_S = _thinned(embeddings_SD, groups_S, seed)
    unit_SD = unit_rows(embeddings_SD[kept_S])
    labels_S, groups_S = labels_S[kept_S], groups_S[kept_S]
    if method == "nearest":
        anchors_SD, own_S = unit_SD, _nearest_of_other_groups(unit_SD, groups_S)
    else:
        anchors_SD, own_S = _class_means(unit_SD, labels_S, groups_S)
    usual_M = _median_per_group(own_S, groups_S)
    far_from = _far_from(usual_M)
    return Novelty(method, anchors_SD.astype(np.float32), usual_M, far_from)


def _thinned(embeddings_SD: npt.NDArray[np.floating], groups_S: Ints, seed: int) -> Ints:
    """At most ``MAX_ANCHORS`` rows; one of each group comes first.

    The order of the rows does not change which are drawn.
    """
    if len(groups_S) <= MAX_ANCHORS:
        return np.arange(len(groups_S))
    order_S = np.lexsort((fingerprints(embeddings_SD), groups_S))
    order_S = np.random.default_rng(seed).permutation(order_S)
    firsts = order_S[np.unique(groups_S[order_S], return_index=True)[1]]
    rest = np.setdiff1d(order_S, firsts, assume_unique=True)
    return np.sort(np.concatenate([firsts, rest])[:MAX_ANCHORS])


def _nearest_of_other_groups(unit_SD: Doubles, groups_S: Ints) -> Doubles:
    """(S,) distance to the nearest row of another group; NaN when there is none."""
    cosines_SS = unit_SD @ unit_SD.T
    cosines_SS[groups_S[:, None] == groups_S] = -np.inf
    best_S = cosines_SS.max(1)
    distances_S: Doubles = np.where(np.isfinite(best_S), 1 - best_S, np.nan)
    return distances_S


def _class_means(unit_SD: Doubles, labels_S: Ints, groups_S: Ints) -> tuple[Doubles, Doubles]:
    """Unit class means (C, D), and (S,) distance of each row to the nearest mean without its group.

    A class that consists of the group of the row is left out for that row.
    """
    classes = int(labels_S.max()) + 1
    sums_CD = np.stack([unit_SD[labels_S == c].sum(0) for c in range(classes)])
    own_S = np.full(len(unit_SD), np.nan)
    for group in np.unique(groups_S):
        rows = np.flatnonzero(groups_S == group)
        rest_CD = sums_CD.copy()
        np.subtract.at(rest_CD, labels_S[rows], unit_SD[rows])
        lengths_C = np.linalg.norm(rest_CD, axis=1)
        there_C = lengths_C > 1e-6
        if there_C.any():
            means_CD = rest_CD[there_C] / lengths_C[there_C, None]
            own_S[rows] = 1 - (unit_SD[rows] @ means_CD.T).max(1)
    lengths_C1 = np.maximum(np.linalg.norm(sums_CD, axis=1, keepdims=True), 1e-12)
    return sums_CD / lengths_C1, own_S


def _median_per_group(own_S: Doubles, groups_S: Ints) -> Doubles:
    """Ascending; groups without a distance are left out."""
    there_S = np.isfinite(own_S)
    values_S, groups_S = own_S[there_S], groups_S[there_S]
    medians = [np.median(values_S[groups_S == group]) for group in np.unique(groups_S)]
    return np.sort(np.array(medians, np.float64))


def _far_from(usual_M: Doubles) -> float:
    if len(usual_M) < MIN_REFERENCES:
        return float("inf")
    rank = int(np.ceil((len(usual_M) + 1) * (1 - FAR_SHARE) - 1e-9))
    return float(usual_M[min(rank, len(usual_M)) - 1])
