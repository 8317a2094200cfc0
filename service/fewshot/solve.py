"""Class-balanced multinomial logistic regression on a few rows, many times over.

scikit-learn's estimator gives the same solution (a test compares them) and spends most of its
time on checks when a problem has 100 rows and cross-validation solves it 50 times.

Shape suffixes: N rows, M rows of one fit, C classes, R features.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
MAX_STEPS = 500
MANY_ROWS, MAX_STEPS_OF_MANY = 5000, 60  # 100,000 rows take a tenth of a second a step
ROWS_TO_START = 4000
GRADIENT_TOLERANCE = 1e-4
JUDGING_TOLERANCE = 1e-3  # which class wins is settled long before the weights are


@dataclass(frozen=True)
class Problem:
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

    def part(self, rows_M: Ints) -> "Problem":
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

    def _start(self, train: Ints, c: float) -> Doubles:
        """Where the descent begins: the solution of some of very many rows, else zeros."""
        some = train[:: -(-len(train) // ROWS_TO_START)]
        start = np.zeros((self.classes, self.rows_NR.shape[1] + 1))
        if len(train) > MANY_ROWS and self.has_all_classes(some):
            # The penalty weighs as much beside the loss of a few rows as beside that of all.
            c = c * float(self.shares(train).sum() / self.shares(some).sum())
            start[:, :-1], start[:, -1] = self.part(some).solve(np.arange(len(some)), c)
        return start.ravel()

    def solve(
        self, train: Ints, c: float, *, tolerance: float = GRADIENT_TOLERANCE
    ) -> tuple[Doubles, Doubles]:
        """weights_CR and bias_C that minimise the balanced cross-entropy + ||W||^2 / (2 c).

        Rows weigh as ``shares`` says; the bias is not penalised. ``train`` must hold all classes.
        """
        from scipy.optimize import minimize  # half a second that a starting service saves

        whole = len(train) == self.size  # ascending, so taken as they are: no second 400 MB
        rows_MR = self.rows_NR if whole else self.rows_NR[train]
        labels_M = self.labels_N[train]
        share_M = self.shares(train)
        truth_MC, logits_MC = np.zeros((2, len(train), self.classes))
        truth_MC[np.arange(len(train)), labels_M] = 1
        width = self.rows_NR.shape[1]

        def loss_and_gradient(flat: Doubles) -> tuple[float, Doubles]:
            table_C = flat.reshape(self.classes, width + 1)
            weights_CR, beyond_C = table_C[:, :width], table_C[:-1] - table_C[-1]
            # Softmax sees differences alone, so those to the last class will do: with two
            # classes a product with a vector, twice as fast as one with two columns.
            # A product of float32 and float64 would copy all rows as float64 first.
            logits_MC[:, :-1] = rows_MR @ beyond_C[:, :width].T.astype(rows_MR.dtype)
            logits_MC[:, :-1] += beyond_C[:, width]
            logits_MC[:, -1] = 0
            logits_MC[...] -= logits_MC.max(1, keepdims=True)
            powers_MC = np.exp(logits_MC)
            sums_M = powers_MC.sum(1)
            entropy_M = np.log(sums_M) - (logits_MC * truth_MC).sum(1)
            error_MC = (powers_MC / sums_M[:, None] - truth_MC) * share_M[:, None]
            gradient = np.empty_like(table_C)
            gradient[:-1, :width] = error_MC[:, :-1].T.astype(rows_MR.dtype) @ rows_MR
            gradient[-1, :width] = -gradient[:-1, :width].sum(0)  # the errors of a row sum to 0
            gradient[:, :width] += weights_CR / c
            gradient[:, width] = error_MC.sum(0)
            loss = share_M @ entropy_M + (weights_CR * weights_CR).sum() / (2 * c)
            return float(loss), gradient.ravel()

        start = self._start(train, c)
        steps = MAX_STEPS if len(train) <= MANY_ROWS else MAX_STEPS_OF_MANY
        many = max(1.0, float(share_M.sum()) / MANY_ROWS)  # the loss is a sum, and so its gradient
        options = {"maxiter": steps, "gtol": tolerance * many}
        found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
        table_C = found.x.reshape(self.classes, width + 1)
        return table_C[:, :width], table_C[:, width]
