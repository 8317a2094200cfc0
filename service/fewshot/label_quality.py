"""Which labels to check again, and which frames to label next.

Shape suffixes: N rows, C classes, D embedding width, U unlabelled rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.arrays import Doubles
from service.errors import ConflictingLabels, InputError
from service.fewshot.duplicates import alike, closest, fingerprints
from service.fewshot.head import softmax, unit_rows
from service.fewshot.heldout import HeldOut
from service.fewshot.uncertainty.intervals import (
    Estimate,
    Extremes,
    effective_groups,
    estimate,
    group_resamples,
    ratio,
    unseen_sum,
    weighted_figures,
)

DOUBTFUL = 0.2  # probability of its label below which a row is worth a second look
MAX_POOL = 20_000
SAME_PIXELS = 1e-5  # 1 - cosine of two float32 embeddings of equal pixels
NAMED_CONFLICTS = 3  # pairs that an error names


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row whose label is improbable to a head that had not seen it.

    Attributes:
        given: out-of-fold probability of its label.
        suggested: a more probable class; ``probability`` is its probability.
    """

    row: int
    label: str
    given: float
    suggested: str
    probability: float


def suspects(held_out: HeldOut, probabilities_NC: Doubles | None = None) -> list[Suspect]:
    """Rows whose own label is improbable and another is not, the most doubtful first.

    Args:
        probabilities_NC: calibrated, of the same rows; None = the softmax of the logits.
    """
    shares_NC = softmax(held_out.logits_NC) if probabilities_NC is None else probabilities_NC
    rows = np.flatnonzero(np.isfinite(shares_NC).all(axis=1))
    given_N = shares_NC[rows, held_out.labels_N[rows]]
    best_N = shares_NC[rows].argmax(1) if len(rows) else held_out.labels_N[:0]
    doubted = np.flatnonzero((given_N < DOUBTFUL) & (best_N != held_out.labels_N[rows]))
    order = doubted[np.argsort(given_N[doubted], kind="stable")]
    return [
        Suspect(
            row=int(rows[i]),
            label=held_out.classes[held_out.labels_N[rows[i]]],
            given=float(given_N[i]),
            suggested=held_out.classes[best_N[i]],
            probability=float(shares_NC[rows[i], best_N[i]]),
        )
        for i in order
    ]


def doubts(held_out: HeldOut, probabilities_NC: Doubles | None = None) -> Doubles:
    """(N,) how improbable the own label of each row is to heads without it; NaN = no scores.

    Args: as ``suspects``.
    """
    shares_NC = softmax(held_out.logits_NC) if probabilities_NC is None else probabilities_NC
    doubts_N: Doubles = 1.0 - shares_NC[np.arange(len(shares_NC)), held_out.labels_N]
    return doubts_N


@dataclass(frozen=True, slots=True)
class LabelConflict:
    """Two similar rows with different labels; cosine 1 = the same embedding."""

    first: int
    second: int
    cosine: float


def conflicts(
    embeddings_ND: npt.NDArray[np.floating],
    labels: Sequence[str],
    *,
    min_similarity: float,
) -> list[LabelConflict]:
    """Near-duplicates of different labels, the most alike first.

    Raises:
        InputError: lengths differ, or as ``duplicates.alike``.
    """
    if len(embeddings_ND) != len(labels):
        raise InputError(f"expected {len(embeddings_ND)} labels, got {len(labels)}")
    pairs = alike(embeddings_ND, min_similarity=min_similarity)
    return [
        LabelConflict(int(first), int(second), float(cosine))
        for first, second, cosine in zip(pairs.first_P, pairs.second_P, pairs.cosine_P, strict=True)
        if labels[first] != labels[second]
    ]


def refuse_conflicts(
    embeddings_ND: npt.NDArray[np.floating],
    labels: Sequence[str],
    names: Sequence[str] | None = None,
) -> None:
    """Refuse equal embeddings with different labels.

    Args:
        names: of the rows, for the error; None = their numbers.

    Raises:
        ConflictingLabels: naming at most three pairs of rows that contradict each other.
        InputError: lengths differ.
    """
    if len(embeddings_ND) != len(labels) or len(names or labels) != len(labels):
        raise InputError(f"expected {len(embeddings_ND)} labels and names, got {len(labels)}")
    called = names or [str(row) for row in range(len(labels))]
    _, firsts, number_N = np.unique(
        fingerprints(embeddings_ND), return_index=True, return_inverse=True
    )
    first_N = firsts[number_N].tolist()
    pairs = [
        (called[first], called[row])
        for row, first in enumerate(first_N)
        if labels[first] != labels[row] and np.array_equal(embeddings_ND[first], embeddings_ND[row])
    ]
    if pairs:
        raise ConflictingLabels(in_conflict(pairs))


def in_conflict(pairs: Sequence[tuple[str, str]]) -> str:
    """The message about equal examples with different labels."""
    shown = "; ".join(f"{first} and {second}" for first, second in pairs[:NAMED_CONFLICTS])
    more = len(pairs) - NAMED_CONFLICTS
    rest = f"; and {more} more pairs" if more > 0 else ""
    return f"equal examples carry different labels: {shown}{rest}"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well two readers agree beyond chance.

    Attributes:
        kappa: Cohen 1960, unweighted, with a bootstrap interval over groups; None when both
            readers used one class only.
        agreed: share of rows with the same label.
        disagreed_rows: row numbers.
    """

    kappa: Estimate | None
    agreed: float
    disagreed_rows: tuple[int, ...]


def agreement(
    one: Sequence[str], other: Sequence[str], groups: Sequence[str] | None = None, *, seed: int = 0
) -> Agreement:
    """Compare the labels of two readers for the same rows.

    Args:
        groups: patients, for the interval; None = one per row.

    Raises:
        InputError: lengths differ, or no rows.
    """
    groups = [str(i) for i in range(len(one))] if groups is None else groups
    if not 0 < len(one) == len(other) == len(groups):
        raise InputError(f"expected as many labels of both readers, got {len(one)}, {len(other)}")
    classes, numbers = np.unique([*one, *other], return_inverse=True)
    one_N, other_N = numbers[: len(one)], numbers[len(one) :]
    same_N = (one_N == other_N).astype(np.float64)
    truth_NC, guess_NC = np.eye(len(classes))[one_N], np.eye(len(classes))[other_N]

    def kappas(weights_BN: Doubles) -> Doubles:
        shares_BN = weights_BN / weights_BN.sum(1, keepdims=True)
        chance_B = ((shares_BN @ truth_NC) * (shares_BN @ guess_NC)).sum(1)
        return ratio(shares_BN @ same_N - chance_B, 1 - chance_B)

    group_N = np.unique(groups, return_inverse=True)[1]
    kappas_B = weighted_figures(kappas, group_resamples(group_N, seed), group_N, np.ones(len(one)))
    kappa = None
    if len(classes) > 1:
        sizes_G = np.bincount(group_N).astype(np.float64)
        count = float(effective_groups(sizes_G))
        # What readers who agree on all rows, or on none, leave open, on the scale of kappa.
        chance = float((truth_NC.mean(0) * guess_NC.mean(0)).sum())
        bound = unseen_sum(np.array([count])) / (1 - chance)
        extremes = Extremes.of(np.bincount(group_N, same_N).astype(np.float64), sizes_G)
        below, above = extremes.weights
        unseen = (bound * float(below), bound * float(above))
        kappa = estimate(kappas_B, count, unseen=unseen, least=-1.0)
    rows = tuple(np.flatnonzero(same_N == 0).tolist())
    return Agreement(kappa, float(same_N.mean()), rows)


def next_to_label(
    embeddings_UD: npt.NDArray[np.floating],
    probabilities_UC: Doubles,
    groups: Sequence[str],
    count: int,
) -> list[int]:
    """Rows whose labels would help most: uncertain, and unlike those already picked.

    Each step takes the row with the greatest product of entropy and distance to the nearest picked
    row, at most one row per group.

    Args:
        embeddings_UD: unlabelled rows.
        groups: patients, studies or cines.
        count: rows to pick; fewer when there are fewer groups.

    Raises:
        InputError: lengths differ, too many rows, a count below 1, or rows that are zero or not
            finite.
    """
    if not len(embeddings_UD) == len(probabilities_UC) == len(groups) <= MAX_POOL:
        raise InputError(f"expected as many groups as rows, and at most {MAX_POOL}")
    if count < 1:
        raise InputError(f"expected a count of 1 or more, got {count}")
    unit_UD = unit_rows(embeddings_UD)
    group_U = np.unique(groups, return_inverse=True)[1]
    safe_UC = np.maximum(probabilities_UC, 1e-12)
    entropy_U = -(safe_UC * np.log(safe_UC)).sum(1) + 1e-9
    nearest_U, free_U = np.full(len(unit_UD), 1.0), np.ones(len(unit_UD), bool)
    picked: list[int] = []
    while len(picked) < count and free_U.any():
        worth_U = np.where(free_U, entropy_U * (nearest_U + 1e-9), -np.inf)
        row = int(worth_U.argmax())
        picked.append(row)
        free_U &= group_U != group_U[row]
        nearest_U = np.minimum(nearest_U, 1 - unit_UD @ unit_UD[row])
    return picked


def farthest_rows(
    embeddings_UD: npt.NDArray[np.floating],
    groups: Sequence[str],
    count: int,
    *,
    known_MD: npt.NDArray[np.floating] | None = None,
    known_groups: Sequence[str] = (),
) -> list[int]:
    """Rows that differ most from each other and from the known ones; no classifier is needed.

    Greedy farthest points (Gonzalez 1985, "Clustering to minimize the maximum intercluster
    distance"): each step takes the row that is farthest from all known and picked ones, of a group
    that has fewest of them. The first row without any known one is the most typical, because the
    farthest would be an outlier. Rows that equal a known or picked one are left out.

    Args:
        groups: patients, studies or images.
        count: rows to pick.
        known_MD: labelled rows; None = none.
        known_groups: their groups.

    Raises:
        InputError: lengths differ, too many rows, a count below 1, or rows that are zero or not
            finite.
    """
    if not len(embeddings_UD) == len(groups) <= MAX_POOL:
        raise InputError(f"expected as many groups as rows, and at most {MAX_POOL}")
    if count < 1:
        raise InputError(f"expected a count of 1 or more, got {count}")
    if not len(groups):
        return []
    unit_UD = unit_rows(embeddings_UD).astype(np.float32)
    number_U = np.unique([*groups, *known_groups], return_inverse=True)[1]
    taken_G = np.bincount(number_U[len(groups) :], minlength=int(number_U.max()) + 1)
    number_U = number_U[: len(groups)]
    mean_D = unit_UD.mean(0)
    distance_U = unit_UD @ mean_D  # for the first step: the most typical is the "farthest"
    if known_MD is not None and len(known_MD):
        distance_U = 1 - closest(unit_UD, known_MD)[1]
    picked: list[int] = []
    is_free_U = np.ones(len(unit_UD), bool)
    while len(picked) < count:
        if picked or known_groups:
            is_free_U &= distance_U > SAME_PIXELS
        if not is_free_U.any():
            break
        fewest = taken_G[number_U[is_free_U]].min()
        row = int(np.where(is_free_U & (taken_G[number_U] == fewest), distance_U, -np.inf).argmax())
        nearest_U = 1 - unit_UD @ unit_UD[row]
        is_first = not picked and not known_groups
        distance_U = nearest_U if is_first else np.minimum(distance_U, nearest_U)
        taken_G[number_U[row]] += 1
        is_free_U[row] = False
        picked.append(row)
    return picked
