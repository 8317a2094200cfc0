"""The loss of class-balanced multinomial logistic regression, and the way down it.

Rows are walked through in blocks: what the logits of a block have brought into the processor's
cache serves its gradient too, where two products with all rows would read them twice.

Shape suffixes: M rows, B rows of a block, C classes, R features, W = R + 1 columns, bias last.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

_BLOCK = 1024
_REMEMBERED = 30  # steps: far cheaper than walking through the rows once more
_LEAST_CURVATURE = 1e-9  # of the bias, which no penalty holds


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
        """(W, W) about the second derivative of any class beside the others, at a table."""
        width = self.shape[1]
        found_WW = np.diag(np.full(width, 1 / self._c))
        found_WW[-1, -1] = _LEAST_CURVATURE
        for block in self._blocks(table_CW):
            chances_BC = block.chances_BC
            spread_B = (chances_BC * (1 - chances_BC)).sum(1) / (self._classes - 1)
            wide_BW = np.ones((len(chances_BC), width))
            wide_BW[:, :-1] = block.rows_BR
            wide_BW *= np.sqrt(spread_B * block.share_B)[:, None]
            found_WW += wide_BW.T @ wide_BW
        return found_WW

    def _blocks(self, table_CW: Doubles) -> Iterator["_Block"]:
        # Softmax sees differences alone, so those to the last class will do: with two classes a
        # product with a vector, twice as fast as one with two columns. A product of float32 and
        # float64 would copy all rows as float64 first.
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
        steps: most of them.
        tolerance: greatest slope at the end; by coordinates in which ``curvature_WW`` is 1 where
            that is given.
        curvature_WW: of every class, roughly: the fewer steps are needed the better it fits.
    """
    from scipy.linalg import solve_triangular  # half a second that a starting service saves
    from scipy.optimize import minimize

    root_WW = None if curvature_WW is None else np.linalg.cholesky(curvature_WW)

    def table_of(flat: Doubles) -> Doubles:
        table_CW = flat.reshape(loss.shape)
        if root_WW is None:
            return table_CW
        found_CW: Doubles = solve_triangular(root_WW, table_CW.T, lower=True, trans="T").T
        return found_CW

    def loss_and_slope(flat: Doubles) -> tuple[float, Doubles]:
        value, slope_CW = loss(table_of(flat))
        if root_WW is not None:
            slope_CW = solve_triangular(root_WW, slope_CW.T, lower=True).T
        return value, slope_CW.ravel()

    begin_CW = start_CW if root_WW is None else start_CW @ root_WW
    how: dict[str, Any] = {"maxiter": steps, "gtol": tolerance, "maxcor": _REMEMBERED}
    found = minimize(loss_and_slope, begin_CW.ravel(), jac=True, method="L-BFGS-B", options=how)
    return table_of(found.x)
