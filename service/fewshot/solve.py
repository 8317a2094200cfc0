"""Class-balanced multinomial logistic regression on a few rows, many times over.

scikit-learn's estimator gives the same solution (a test compares them) and spends most of its
time on checks when a problem has 100 rows and cross-validation solves it 50 times.

Shape suffixes: N rows, M rows of one fit, C classes, R features.
"""

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.fewshot.descent import Loss, lowest

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
MAX_STEPS = 500
MANY_ROWS = 5000  # above it a step through all rows is worth being prepared
ROWS_TO_START = 4000
GRADIENT_TOLERANCE = 1e-4
JUDGING_TOLERANCE = 1e-3  # which class wins is settled long before the weights are


@dataclass(frozen=True)
class LogisticProblem:
    """Rows with integer labels 0..classes-1, from which subsets are fitted.

    Attributes:
        rows_NR: float64; float32 where there are very many.
        counts_N: how much each row counts before classes are balanced; None = 1 each.
        class_weights_C: weight of each class beside the others; None = all the same.
    """

    rows_NR: npt.NDArray[np.floating]
    labels_N: Ints
    classes: int
    counts_N: Doubles | None = None
    class_weights_C: Doubles | None = None

    @property
    def size(self) -> int:
        """N."""
        return len(self.labels_N)

    def part(self, rows_M: Ints) -> "LogisticProblem":
        """Some rows; the problem itself when they are all."""
        if len(rows_M) == self.size:
            return self
        return replace(
            self,
            rows_NR=self.rows_NR[rows_M],
            labels_N=self.labels_N[rows_M],
            counts_N=None if self.counts_N is None else self.counts_N[rows_M],
        )

    def without(self, rows: Ints) -> Ints:
        """All other row numbers, ascending."""
        return np.setdiff1d(np.arange(self.size), rows, assume_unique=True)

    def has_all_classes(self, rows: Ints) -> bool:
        """Whether every class has at least one of the rows."""
        return bool((np.bincount(self.labels_N[rows], minlength=self.classes) > 0).all())

    def shares(self, rows_M: Ints) -> Doubles:
        """(M,) weight of each row in the loss; they sum to the counts of the rows.

        Classes weigh the same in sum, or as ``class_weights_C`` says.
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
        weights_CR, bias_C = self.solve(train, c, tolerance=JUDGING_TOLERANCE)
        scores: Doubles = self.rows_NR[test] @ weights_CR.T + bias_C
        return scores

    def solve(
        self, train: Ints, c: float, *, tolerance: float = GRADIENT_TOLERANCE
    ) -> tuple[Doubles, Doubles]:
        """weights_CR and bias_C that minimise the balanced cross-entropy + ||W||^2 / (2 c).

        Rows weigh as ``shares`` says; the bias is not penalised. ``train`` must hold all classes.
        """
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
        """The lowest table of very many rows, which correct what a few of them have found."""
        rough = self._loss(*self._few(train, total, 0.0), c)
        many = max(1.0, total / MANY_ROWS)  # the loss is a sum
        zeros_CW = np.zeros(loss.shape)
        start_CW = lowest(rough, zeros_CW, steps=MAX_STEPS, tolerance=tolerance * many)
        # Of other rows: those that were learnt from are too certain, and seem too flat.
        curvature_WW = self._loss(*self._few(train, total, 0.5), c).curvature(start_CW)
        slope = tolerance * math.sqrt(many)
        return lowest(loss, start_CW, steps=MAX_STEPS, tolerance=slope, curvature_WW=curvature_WW)

    def _few(self, train: Ints, total: float, offset: float) -> tuple[Ints, Doubles]:
        """Some rows of each class, far apart, and shares by which they weigh ``total``."""
        found = []
        for c in range(self.classes):
            rows = train[self.labels_N[train] == c]
            step = -(-len(rows) * self.classes // ROWS_TO_START)
            found.append(rows[min(int(offset * step), len(rows) - 1) :: step])
        few = np.concatenate(found)
        share_F = self.shares(few)
        return few, share_F * (total / share_F.sum())

    def _loss(self, rows_M: Ints, share_M: Doubles, c: float) -> Loss:
        whole = len(rows_M) == self.size  # ascending, so taken as they are: no second 400 MB
        rows_MR = self.rows_NR if whole else self.rows_NR[rows_M]
        return Loss(rows_MR, self.labels_N[rows_M], share_M, self.classes, c)
