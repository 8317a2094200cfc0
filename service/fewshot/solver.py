"""Class-balanced multinomial logistic regression, solved many times on few rows.

scikit-learn's estimator gives the same solution (a test compares them), but spends most of its time
on checks when a problem has 100 rows and cross-validation solves it 50 times.

The loss takes the rows in blocks: the gradient of a block then finds its rows in the processor's
cache, where products with all rows would read them twice from memory.

Shape suffixes: N rows, M rows of one fit, B rows of a block, C classes, R features,
W = R + 1 columns, bias last, V views of a row.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from service.arrays import Doubles, Ints

MAX_STEPS = 500
MANY_ROWS = 5000  # with more, a good start and a preconditioner save time
ROWS_TO_START = 4000
GRADIENT_TOLERANCE = 1e-4
SCORING_TOLERANCE = 1e-3  # the most probable class converges long before the weights
_BLOCK = 1024
_REMEMBERED = 30  # steps: far cheaper than one more pass through the rows
_MIN_CURVATURE = 1e-9  # of the bias, which is not penalised
_BIAS = 10.0  # constant feature of kernels: so large that the penalty hardly affects the bias
_MOMENTUM = 0.6
_CELLS = 4_000_000  # of the kernels of small fits that are solved together, 32 MB


class Loss:
    """Balanced cross-entropy + ||weights||^2 / (2 c) of a table (C, W), and its gradient.

    Args:
        rows_MR: float64 or float32.
        share_M: weight of each row.
        c: inverse strength of the penalty; the bias is not penalised.
    """

    def __init__(
        self,
        rows_MR: npt.NDArray[np.floating],
        labels_M: Ints,
        share_M: Doubles,
        classes: int,
        c: float,
    ) -> None:
        self._rows_MR = rows_MR
        self._labels_M = labels_M
        self._share_M = share_M
        self._classes = classes
        self._c = c

    @property
    def shape(self) -> tuple[int, int]:
        """(C, W)."""
        return self._classes, self._rows_MR.shape[1] + 1

    def __call__(self, table_CW: Doubles) -> tuple[float, Doubles]:
        """The loss at a table, and its gradient (C, W)."""
        weights_CR = table_CW[:, :-1]
        loss = (weights_CR * weights_CR).sum() / (2 * self._c)
        gradient_CW = np.zeros_like(table_CW)
        gradient_CW[:, :-1] = weights_CR / self._c
        for block in self._blocks(table_CW):
            loss += block.share_B @ block.entropy_B
            error_BC = block.chances_BC
            error_BC[np.arange(len(error_BC)), block.labels_B] -= 1
            error_BC *= block.share_B[:, None]
            # The errors of a row sum to 0: with two classes one product serves both.
            slope_CR = error_BC[:, :-1].T.astype(block.rows_BR.dtype) @ block.rows_BR
            gradient_CW[:-1, :-1] += slope_CR
            gradient_CW[-1, :-1] -= slope_CR.sum(0)
            gradient_CW[:, -1] += error_BC.sum(0)
        return float(loss), gradient_CW

    def curvature(self, table_CW: Doubles) -> Doubles:
        """(W, W) roughly the second derivative for any class, at a table."""
        width = self.shape[1]
        curvature_WW = np.diag(np.full(width, 1 / self._c))
        curvature_WW[-1, -1] = _MIN_CURVATURE
        for block in self._blocks(table_CW):
            chances_BC = block.chances_BC
            spread_B = (chances_BC * (1 - chances_BC)).sum(1) / (self._classes - 1)
            wide_BW = np.ones((len(chances_BC), width))
            wide_BW[:, :-1] = block.rows_BR
            wide_BW *= np.sqrt(spread_B * block.share_B)[:, None]
            curvature_WW += wide_BW.T @ wide_BW
        return curvature_WW

    def _blocks(self, table_CW: Doubles) -> Iterator["_Block"]:
        # Softmax depends on differences only, so those to the last class suffice. With two classes
        # that is a product with a vector, twice as fast as one with two columns. A product of
        # float32 and float64 would copy all rows as float64 first.
        beyond_CW = table_CW[:-1] - table_CW[-1]
        beyond_RC = np.ascontiguousarray(beyond_CW[:, :-1].T, self._rows_MR.dtype)
        for start in range(0, len(self._labels_M), _BLOCK):
            place = slice(start, start + _BLOCK)
            rows_BR, labels_B = self._rows_MR[place], self._labels_M[place]
            logits_BC = np.zeros((len(rows_BR), self._classes))
            logits_BC[:, :-1] = rows_BR @ beyond_RC
            logits_BC[:, :-1] += beyond_CW[:, -1]
            logits_BC -= logits_BC.max(1, keepdims=True)
            true_B = logits_BC[np.arange(len(rows_BR)), labels_B]
            powers_BC = np.exp(logits_BC, out=logits_BC)
            sums_B = powers_BC.sum(1)
            powers_BC /= sums_B[:, None]
            share_B = self._share_M[place]
            yield _Block(rows_BR, labels_B, share_B, powers_BC, np.log(sums_B) - true_B)


class _Block(NamedTuple):
    """Some rows at one table; ``chances_BC`` may be written to."""

    rows_BR: npt.NDArray[np.floating]
    labels_B: Ints
    share_B: Doubles
    chances_BC: Doubles
    entropy_B: Doubles


def lowest(
    loss: Loss,
    start_CW: Doubles,
    *,
    steps: int,
    tolerance: float,
    curvature_WW: Doubles | None = None,
) -> Doubles:
    """The table (C, W) of the least loss.

    Args:
        steps: at most.
        tolerance: greatest slope at the end, in coordinates that make ``curvature_WW`` the
            identity where it is set.
        curvature_WW: rough curvature of every class; the better it is, the fewer steps are needed.
    """
    from scipy.linalg import solve_triangular  # the import takes half a second
    from scipy.optimize import minimize

    root_WW = None if curvature_WW is None else np.linalg.cholesky(curvature_WW)

    def table_of(flat: Doubles) -> Doubles:
        table_CW = flat.reshape(loss.shape)
        if root_WW is None:
            return table_CW
        solved_CW: Doubles = solve_triangular(root_WW, table_CW.T, lower=True, trans="T").T
        return solved_CW

    def loss_and_slope(flat: Doubles) -> tuple[float, Doubles]:
        value, slope_CW = loss(table_of(flat))
        if root_WW is not None:
            slope_CW = solve_triangular(root_WW, slope_CW.T, lower=True).T
        return value, slope_CW.ravel()

    begin_CW = start_CW if root_WW is None else start_CW @ root_WW
    options: dict[str, Any] = {"maxiter": steps, "gtol": tolerance, "maxcor": _REMEMBERED}
    result = minimize(
        loss_and_slope, begin_CW.ravel(), jac=True, method="L-BFGS-B", options=options
    )
    return table_of(result.x)


@dataclass(frozen=True)
class LogisticProblem:
    """Rows with integer labels 0..classes-1, of which subsets are fitted.

    Attributes:
        rows_NR: float64, or float32 for very many rows.
        counts_N: weight of each row before classes are balanced; None = 1 each.
        class_weights_C: weight of each class relative to the others; None = all the same.
        views_NVR: rows that teach in the place of ``rows_NR``, V of each, which share its weight;
            ``rows_NR`` are then only asked. None = each row teaches itself.
    """

    rows_NR: npt.NDArray[np.floating]
    labels_N: Ints
    classes: int
    counts_N: Doubles | None = None
    class_weights_C: Doubles | None = None
    views_NVR: npt.NDArray[np.floating] | None = None

    @property
    def size(self) -> int:
        """N."""
        return len(self.labels_N)

    @property
    def views(self) -> int:
        """The number of rows that teach for each row."""
        return 1 if self.views_NVR is None else int(self.views_NVR.shape[1])

    def part(self, rows_M: Ints) -> "LogisticProblem":
        """The problem of some rows; this one when they are all."""
        if len(rows_M) == self.size:
            return self
        return replace(
            self,
            rows_NR=self.rows_NR[rows_M],
            labels_N=self.labels_N[rows_M],
            counts_N=None if self.counts_N is None else self.counts_N[rows_M],
            views_NVR=None if self.views_NVR is None else self.views_NVR[rows_M],
        )

    def taught(self, train: Ints) -> "LogisticProblem":
        """The problem of the rows that teach for ``train``: their views, where there are any."""
        part = self.part(train)
        if part.views_NVR is None:
            return part
        views, width = part.views, part.views_NVR.shape[2]
        counts_M = np.ones(part.size) if part.counts_N is None else part.counts_N
        return replace(
            part,
            rows_NR=part.views_NVR.reshape(-1, width),
            labels_N=np.repeat(part.labels_N, views),
            counts_N=np.repeat(counts_M / views, views),
            views_NVR=None,
        )

    def without(self, rows: Ints) -> Ints:
        """All other row numbers, ascending."""
        return np.setdiff1d(np.arange(self.size), rows, assume_unique=True)

    def has_all_classes(self, rows: Ints) -> bool:
        """Whether every class has at least one of the rows."""
        return bool((np.bincount(self.labels_N[rows], minlength=self.classes) > 0).all())

    def shares(self, rows_M: Ints) -> Doubles:
        """(M,) weight of each row in the loss; they sum to the counts of the rows.

        The sums of all classes are equal, or proportional to ``class_weights_C``.
        """
        labels_M = self.labels_N[rows_M]
        counts_M = np.ones(len(rows_M)) if self.counts_N is None else self.counts_N[rows_M]
        sums_C = np.bincount(labels_M, weights=counts_M, minlength=self.classes)
        wanted_C = np.ones(self.classes) if self.class_weights_C is None else self.class_weights_C
        scale_C = wanted_C / (wanted_C.sum() * np.maximum(sums_C, 1e-300))
        shares_M: Doubles = counts_M * scale_C[labels_M] * counts_M.sum()
        return shares_M

    def logits(self, train: Ints, test: Ints, c: float) -> Doubles:
        """Scores (test rows, classes) by the solution on ``train``."""
        weights_CR, bias_C = self.solve(train, c, tolerance=SCORING_TOLERANCE)
        scores: Doubles = self.rows_NR[test] @ weights_CR.T + bias_C
        return scores

    def solve(
        self, train: Ints, c: float, *, tolerance: float = GRADIENT_TOLERANCE
    ) -> tuple[Doubles, Doubles]:
        """weights_CR and bias_C that minimise the balanced cross-entropy + ||W||^2 / (2 c).

        Rows are weighted by ``shares``; the bias is not penalised. ``train`` must hold all classes.
        """
        if self.views_NVR is not None:
            views = self.taught(train)
            return views.solve(np.arange(views.size), c, tolerance=tolerance)
        share_M = self.shares(train)
        loss = self._loss(train, share_M, c)
        if len(train) <= MANY_ROWS:
            start_CW = np.zeros(loss.shape)
            table_CW = lowest(loss, start_CW, steps=MAX_STEPS, tolerance=tolerance)
        else:
            table_CW = self._prepared(loss, train, float(share_M.sum()), c, tolerance)
        return table_CW[:, :-1], table_CW[:, -1]

    def _prepared(
        self, loss: Loss, train: Ints, total: float, c: float, tolerance: float
    ) -> Doubles:
        """The table of the least loss of very many rows, starting from the solution of a few."""
        rough = self._loss(*self._few(train, total, 0.0), c)
        many = max(1.0, total / MANY_ROWS)  # the loss is a sum
        zeros_CW = np.zeros(loss.shape)
        start_CW = lowest(rough, zeros_CW, steps=MAX_STEPS, tolerance=tolerance * many)
        # From other rows: those that were fitted are too certain, so their curvature is too small.
        curvature_WW = self._loss(*self._few(train, total, 0.5), c).curvature(start_CW)
        slope = tolerance * math.sqrt(many)
        return lowest(loss, start_CW, steps=MAX_STEPS, tolerance=slope, curvature_WW=curvature_WW)

    def _few(self, train: Ints, total: float, offset: float) -> tuple[Ints, Doubles]:
        """Some rows of each class, far apart, and shares that sum to ``total``."""
        parts = []
        for c in range(self.classes):
            rows = train[self.labels_N[train] == c]
            step = -(-len(rows) * self.classes // ROWS_TO_START)
            parts.append(rows[min(int(offset * step), len(rows) - 1) :: step])
        few = np.concatenate(parts)
        share_F = self.shares(few)
        return few, share_F * (total / share_F.sum())

    def _loss(self, rows_M: Ints, share_M: Doubles, c: float) -> Loss:
        whole = len(rows_M) == self.size  # ascending, so no copy of up to 400 MB is needed
        rows_MR = self.rows_NR if whole else self.rows_NR[rows_M]
        return Loss(rows_MR, self.labels_N[rows_M], share_M, self.classes, c)


def kernel_of(rows_NR: npt.NDArray[np.floating]) -> Doubles:
    """(N, N) products of the rows, each with a constant feature that serves as bias."""
    kernel_NN: Doubles = rows_NR @ rows_NR.T + _BIAS**2
    return kernel_NN


def kernel_logits(
    problem: LogisticProblem,
    kernel_NN: Doubles,
    splits: Sequence[tuple[Ints, Ints]],
    c: float,
) -> list[Doubles]:
    """Scores (test rows, classes) of many small fits, each given by its train and test rows.

    The solutions are those of ``LogisticProblem.logits``. A hundred fits of 100 rows take a fifth
    of the time, because all of them take their steps together.
    """
    count = max(len(train) for train, _ in splits)
    rows_SM, share_SM = np.zeros((len(splits), count), np.int64), np.zeros((len(splits), count))
    for s, (train, _) in enumerate(splits):  # rows behind the last one have no share
        rows_SM[s, : len(train)] = train
        share_SM[s, : len(train)] = problem.shares(train)
    step = max(1, _CELLS // count**2)
    duals = [
        dual
        for start in range(0, len(splits), step)
        for dual in _dual_weights(
            problem, kernel_NN, rows_SM[start : start + step], share_SM[start : start + step], c
        )
    ]
    return [
        kernel_NN[np.ix_(test, rows_M)] @ dual_MC
        for (_, test), rows_M, dual_MC in zip(splits, rows_SM, duals, strict=True)
    ]


def _dual_weights(
    problem: LogisticProblem, kernel_NN: Doubles, rows_SM: Ints, share_SM: Doubles, c: float
) -> Doubles:
    """(S, M, C) weights of the training rows, whose sum of rows is the weights of each fit.

    Each step solves a quadratic that lies above the loss: half of the shares bounds its curvature
    (Böhning 1992, "Multinomial logistic regression algorithm"). One factorisation serves all steps,
    and momentum (Nesterov 1983) halves their number.
    """
    kernel_SMM = kernel_NN[rows_SM[:, :, None], rows_SM[:, None, :]]
    bound_SMM = share_SM[:, :, None] * kernel_SMM / 2
    bound_SMM += np.eye(rows_SM.shape[1]) / c
    inverse_SMM = np.linalg.inv(bound_SMM)
    truth_SMC = np.eye(problem.classes)[problem.labels_N[rows_SM]]
    duals_SMC = np.zeros(truth_SMC.shape)
    ahead_SMC = duals_SMC
    for step in range(MAX_STEPS):
        powers_SMC = kernel_SMM @ ahead_SMC
        powers_SMC -= powers_SMC.max(2, keepdims=True)
        np.exp(powers_SMC, out=powers_SMC)
        powers_SMC /= powers_SMC.sum(2, keepdims=True)
        slope_SMC = share_SM[:, :, None] * (powers_SMC - truth_SMC) + ahead_SMC / c
        if abs(slope_SMC).max() < GRADIENT_TOLERANCE:
            break
        next_SMC = ahead_SMC - inverse_SMM @ slope_SMC
        momentum = min(step / (step + 3), _MOMENTUM)
        ahead_SMC = next_SMC + momentum * (next_SMC - duals_SMC)
        duals_SMC = next_SMC
    return ahead_SMC
