"""Heads that the few-shot report compares: each maps a support and tested rows to scores.

Shape suffixes: N frames, M frames of the support, Q tested frames, C classes, D embedding width,
R rank of the support.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from fewshot_data import Doubles, Ints

from service.fewshot.crossval import choose_c, grouped_folds
from service.fewshot.solver import LogisticProblem

Head: TypeAlias = Callable[[Doubles, Ints, Ints, Doubles], Doubles]


def logistic(c: float | None) -> Head:
    """Class-balanced logistic regression; C by grouped cross-validation where none is given."""

    def scores(rows_MD: Doubles, labels_M: Ints, groups_M: Ints, tested_QD: Doubles) -> Doubles:
        axes_RD = np.linalg.svd(rows_MD, full_matrices=False)[2]
        problem = LogisticProblem(rows_MD @ axes_RD.T, labels_M, int(labels_M.max()) + 1)
        chosen = c or choose_c(problem, grouped_folds(problem, groups_M, 0))
        weights_CR, bias_C = problem.solve(np.arange(len(labels_M)), chosen)
        return tested_QD @ axes_RD.T @ weights_CR.T + bias_C

    return scores


def nearest_mean(rows_MD: Doubles, labels_M: Ints, groups_M: Ints, tested_QD: Doubles) -> Doubles:
    """Cosine with the mean of each class."""
    means_CD = np.stack([rows_MD[labels_M == c].mean(0) for c in range(labels_M.max() + 1)])
    return tested_QD @ (means_CD / np.linalg.norm(means_CD, axis=1, keepdims=True)).T


def ridge(penalty: float) -> Head:
    """Least squares to one-hot targets, closed form, rows centred on the support."""

    def scores(rows_MD: Doubles, labels_M: Ints, groups_M: Ints, tested_QD: Doubles) -> Doubles:
        mean_D = rows_MD.mean(0)
        centred_MD, truth_MC = rows_MD - mean_D, np.eye(labels_M.max() + 1)[labels_M]
        gram_MM = centred_MD @ centred_MD.T + penalty * np.eye(len(labels_M))
        return (tested_QD - mean_D) @ centred_MD.T @ np.linalg.solve(gram_MM, truth_MC)

    return scores


REFERENCE = "logistic C=10"
HEADS: dict[str, Head] = {
    "logistic C=1": logistic(1.0),
    REFERENCE: logistic(10.0),
    "logistic C=100": logistic(100.0),
    "logistic C by CV": logistic(None),
    "nearest class mean": nearest_mean,
    "ridge 0.1": ridge(0.1),
    "ridge 1": ridge(1.0),
}
