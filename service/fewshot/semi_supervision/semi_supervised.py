"""Let unlabelled scans take part in a fit, where that helps.

Labels spread over the graph of labelled and unlabelled embeddings. The scans on which the graph
and the head of the labelled examples agree then teach a second head, with little weight. Labelled
examples alone judge it: each fold is scored by a head that saw neither its rows, nor the labels
that spread from them, nor unlabelled scans of its groups (inductive, as for a future patient).

Shape suffixes: N labelled examples, U unlabelled scans, M = N + U nodes of the graph, T unlabelled
scans that teach, C classes, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Doubles, Floats, Ints
from service.errors import InputError
from service.fewshot.head import softmax, unit_rows
from service.fewshot.heldout import guesses
from service.fewshot.metrics import balanced_accuracy
from service.fewshot.semi_supervision.propagation import (
    NeighbourGraph,
    centred,
    confidences,
    neighbour_graph,
)
from service.fewshot.solver import SCORING_TOLERANCE, LogisticProblem

MAX_POOL = 20_000  # unlabelled scans of one fit
MIN_POOL_GROUPS = 50  # other patients; a few long cines only repeat themselves
MAX_GROUPS = 100  # labelled ones of each class; measured up to 20, where the gain is nearly gone
NOTHING_TO_GAIN = 0.95  # balanced accuracy of the labelled examples alone
MAX_TAUGHT = 2000  # unlabelled scans that teach one head, which bounds the time of each fold
WEIGHT = 0.3  # of the most certain one beside a labelled example


@dataclass(frozen=True, slots=True)
class UnlabelledScans:
    """Embeddings without labels; ``groups`` are named like those of the labelled examples."""

    embeddings_UD: npt.NDArray[np.floating]
    groups: Sequence[str]

    def __len__(self) -> int:
        return len(self.groups)

    def drawn(self, most: int) -> "UnlabelledScans":
        """All, or a drawn ``most`` of them in the same order."""
        if len(self) <= most:
            return self
        rows_U = np.sort(np.random.default_rng(0).permutation(len(self))[:most])
        return UnlabelledScans(self.embeddings_UD[rows_U], [self.groups[u] for u in rows_U])


@dataclass(frozen=True, slots=True)
class UnlabelledReport:
    """Whether unlabelled scans taught a head, and why.

    Attributes:
        scans: in the graph.
        used: whether the head learnt from them; ``because`` gives the reason.
        taught: scans that taught the head; 0 when not used.
        agreement: share of the scans on which the graph and the labelled examples' head agree.
        gain: balanced accuracy by grouped cross-validation with the scans, minus without.
    """

    scans: int
    used: bool
    because: str
    taught: int = 0
    agreement: float | None = None
    gain: float | None = None


@dataclass(frozen=True, slots=True)
class SemiSupervised:
    """A head that unlabelled scans taught too, and its out-of-fold logits.

    Attributes:
        weights_CD, bias_C: in the axes of the embeddings.
        logits_NC: of each labelled row by a head that had not seen its fold; NaN = not scored.
    """

    weights_CD: Doubles
    bias_C: Doubles
    logits_NC: Doubles


def with_unlabelled(
    labelled: LogisticProblem,
    groups_N: Ints,
    folds: Sequence[Ints],
    plain_NC: Doubles,
    scans: "NumberedScans",
    c: float,
) -> tuple[SemiSupervised | None, UnlabelledReport]:
    """The head that unlabelled scans teach too, or None where it would not help; and why.

    Args:
        labelled: rows at unit length, in the axes of the embeddings.
        plain_NC: out-of-fold logits without the scans, of the same folds; NaN = not scored.
        c: inverse strength of the penalty.
    """
    refused = _refusal(labelled, groups_N, plain_NC, scans)
    if refused:
        return None, UnlabelledReport(len(scans.groups_U), False, refused)
    spread = Propagation(labelled, groups_N, scans, c)
    logits_NC = spread.out_of_fold(folds)
    gain = None
    before, after = (_accuracy(labelled, given_NC) for given_NC in (plain_NC, logits_NC))
    if before is not None and after is not None:
        gain = round(after - before, 4)
    (weights_CD, bias_C), agreement, taught = spread.fitted()
    report = UnlabelledReport(
        len(scans.groups_U), False, _USED, agreement=round(agreement, 4), gain=gain
    )
    if gain is not None and gain < 0:
        return None, replace(report, because=_WORSE)
    if not taught:
        return None, replace(report, because=_DISAGREE)
    because = _USED if gain is not None else _UNTESTED
    report = replace(report, used=True, because=because, taught=taught)
    if gain is None:  # no temperature will be fitted, so the head must not become more certain
        plain_CD, plain_C = labelled.solve(np.arange(labelled.size), c)
        wanted = _certainty(scans.unit_UD @ plain_CD.T + plain_C)
        factor = _factor(scans.unit_UD @ weights_CD.T + bias_C, wanted)
        weights_CD, bias_C = factor * weights_CD, factor * bias_C
    return SemiSupervised(weights_CD, bias_C, logits_NC), report


_HALVINGS = 20
_USED = "grouped cross-validation is not worse with the unlabelled scans"
_UNTESTED = (
    "too few groups for cross-validation; with so few examples unlabelled scans helped on all "
    "sets that were measured"
)
_WORSE = "grouped cross-validation is worse with the unlabelled scans"
_DISAGREE = "the labelled examples and the graph of the scans agree on none of them"


def _certainty(logits_UC: Doubles) -> float:
    """The mean probability of the most probable class."""
    return float(softmax(logits_UC).max(1).mean())


def _factor(logits_UC: Doubles, wanted: float) -> float:
    """The factor, at most 1, with which the logits are no more certain than wanted."""
    low, high = 0.0, 1.0
    if _certainty(logits_UC) <= wanted:
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _certainty(middle * logits_UC) > wanted else (middle, high)
    return low


def _refusal(
    labelled: LogisticProblem, groups_N: Ints, plain_NC: Doubles, scans: "NumberedScans"
) -> str | None:
    """Why the scans are not even tried; None = they are."""
    others = len(np.unique(scans.groups_U[~np.isin(scans.groups_U, groups_N)]))
    if others < MIN_POOL_GROUPS:
        return f"the scans are of {others} other patients; expected at least {MIN_POOL_GROUPS}"
    fewest = min(len(np.unique(groups_N[labelled.labels_N == c])) for c in range(labelled.classes))
    if fewest >= MAX_GROUPS:
        return f"each class has {MAX_GROUPS} labelled groups or more, which are enough"
    accuracy = _accuracy(labelled, plain_NC)
    if accuracy is not None and accuracy >= NOTHING_TO_GAIN:
        return f"grouped cross-validation is at {NOTHING_TO_GAIN} or above without them"
    return None


def _accuracy(labelled: LogisticProblem, logits_NC: Doubles) -> float | None:
    """Balanced accuracy, rows counted as in the fit; None where a class has no scores."""
    guesses_N = guesses(logits_NC)
    scored_N = guesses_N >= 0
    if len(np.unique(labelled.labels_N[scored_N])) < labelled.classes:
        return None
    return balanced_accuracy(labelled.labels_N, guesses_N, labelled.classes, labelled.counts_N)


@dataclass(frozen=True, slots=True)
class NumberedScans:
    """Unlabelled unit rows; a group number of the labelled rows, or one of their own above."""

    unit_UD: Floats
    groups_U: Ints

    @classmethod
    def of(cls, scans: UnlabelledScans, groups: Sequence[str]) -> "NumberedScans":
        """The scans beside labelled rows whose groups are numbered in sorted order.

        Raises:
            InputError: too many scans, or rows that are zero or not finite.
        """
        if len(scans) > MAX_POOL:
            raise InputError(f"expected at most {MAX_POOL} unlabelled scans, got {len(scans)}")
        places = {name: number for number, name in enumerate(sorted(set(groups)))}
        numbers = [places.setdefault(name, len(places)) for name in scans.groups]
        unit_UD = unit_rows(scans.embeddings_UD).astype(np.float32)
        return cls(unit_UD, np.array(numbers, np.int64))


class Propagation:
    """One labelled problem beside unlabelled scans; the graph is made once for all folds.

    Args:
        labelled: rows at unit length, all D axes.
        groups_N: group numbers of its rows.
        c: inverse strength of the penalty.
    """

    def __init__(
        self,
        labelled: LogisticProblem,
        groups_N: Ints,
        scans: NumberedScans,
        c: float,
    ) -> None:
        self._labelled = labelled
        self._groups_N = groups_N
        self._pool_UD = scans.unit_UD
        self._groups_U = scans.groups_U
        # The scans of one patient count once together, as labelled examples do.
        self._counts_U = 1.0 / np.bincount(scans.groups_U)[scans.groups_U]
        self._c = c
        mean_D = scans.unit_UD.mean(0)
        rows_MD = np.concatenate(
            [centred(labelled.rows_NR, mean_D), centred(scans.unit_UD, mean_D)]
        )
        self._graph: NeighbourGraph = neighbour_graph(rows_MD)

    def fitted(self) -> tuple[tuple[Doubles, Doubles], float, int]:
        """Weights (C, D) and bias of the head, the agreement, and how many scans taught it."""
        every_N = np.arange(self._labelled.size)
        every_U = np.ones(len(self._pool_UD), np.bool_)
        problem, agreement = self._taught(every_N, every_U)
        head = problem.solve(np.arange(problem.size), self._c)
        return head, agreement, problem.size - self._labelled.size * self._labelled.views

    def out_of_fold(self, folds: Sequence[Ints]) -> Doubles:
        """(N, C) logits of each fold's rows by a head that knows nothing of their groups."""
        logits_NC = np.full((self._labelled.size, self._labelled.classes), np.nan)
        for test in folds:
            held_U = np.isin(self._groups_U, np.unique(self._groups_N[test]))
            problem, _ = self._taught(self._labelled.without(test), ~held_U)
            weights_CD, bias_C = problem.solve(
                np.arange(problem.size), self._c, tolerance=SCORING_TOLERANCE
            )
            logits_NC[test] = self._labelled.rows_NR[test] @ weights_CD.T + bias_C
        return logits_NC

    def _taught(self, train: Ints, kept_U: Bools) -> tuple[LogisticProblem, float]:
        """The rows that teach for ``train`` with the scans that teach, and the agreement.

        Views of the labelled rows teach as they do alone. The graph holds one embedding of each
        row and scan, so that it compares like with like.
        """
        labelled = self._labelled.part(train)
        is_train_N = np.isin(np.arange(self._labelled.size), train)
        labels_M = np.concatenate([self._labelled.labels_N, np.full(len(kept_U), -1)])
        kept_M = np.concatenate([is_train_N, kept_U])
        shares_UC = self._graph.spread(labels_M, labelled.classes, kept_M)[len(is_train_N) :]
        sure_U = np.where(kept_U, confidences(shares_UC), 0.0)
        weights_CD, bias_C = labelled.solve(
            np.arange(labelled.size), self._c, tolerance=SCORING_TOLERANCE
        )
        spread_U = shares_UC.argmax(1)
        logits_UC = self._pool_UD @ weights_CD.T.astype(np.float32) + bias_C
        agrees_U = spread_U == logits_UC.argmax(1)
        rows_T = np.flatnonzero(agrees_U & (sure_U > 0))
        if len(rows_T) > MAX_TAUGHT:
            rows_T = np.sort(np.random.default_rng(0).permutation(rows_T)[:MAX_TAUGHT])
        rows = labelled.taught(np.arange(labelled.size))
        counts_N = np.ones(rows.size) if rows.counts_N is None else rows.counts_N
        counts_T = WEIGHT * sure_U[rows_T] * self._counts_U[rows_T]
        taught = replace(
            rows,
            rows_NR=np.concatenate([rows.rows_NR, self._pool_UD[rows_T]]),
            labels_N=np.concatenate([rows.labels_N, spread_U[rows_T]]),
            counts_N=np.concatenate([counts_N, counts_T]),
        )
        agreement = float(agrees_U[kept_U].mean()) if kept_U.any() else 0.0
        return taught, agreement
