"""How much examples count: groups once, classes equally or as the caller wishes.

Shape suffixes: N examples, C classes.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import InputError

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Counted: TypeAlias = Literal["groups", "frames"]

GREATEST_WEIGHT = 1000.0  # of a class, as a multiple of another's; beyond it the other is ignored


def counts_of(labels_N: Ints, groups_N: Ints, counted: Counted = "groups") -> Doubles:
    """(N,) what each example counts: 1 / examples of the same group and class, or 1.

    The sum is the number of examples that count: a cine of 30 frames of one class is one.
    """
    if counted == "frames":
        return np.ones(len(labels_N))
    keys_N = groups_N * (int(labels_N.max()) + 1) + labels_N
    _, pair_N, rows_P = np.unique(keys_N, return_inverse=True, return_counts=True)
    counts_N: Doubles = 1.0 / rows_P[pair_N]
    return counts_N


def class_weights(classes: tuple[str, ...], wanted: Mapping[str, float] | None) -> Doubles | None:
    """(C,) factors with mean 1 beside balanced classes; None when all are the same.

    Args:
        wanted: class -> how much it counts beside the others; a class that is left out has 1.

    Raises:
        InputError: a class that has no examples, or a weight that is not finite, not above 0, or
            over 1000 times another.
    """
    if not wanted:
        return None
    strange = len(set(wanted) - set(classes))
    if strange:
        raise InputError(f"{strange} of {len(wanted)} class weights name a class without examples")
    weights_C = np.array([float(wanted.get(name, 1.0)) for name in classes])
    good = np.isfinite(weights_C).all() and (weights_C > 0).all()
    if not good or weights_C.max() > GREATEST_WEIGHT * weights_C.min():
        raise InputError(
            f"expected finite class weights above 0, none over {GREATEST_WEIGHT:g} times another"
        )
    scaled_C: Doubles = weights_C / weights_C.mean()
    return None if np.allclose(scaled_C, 1) else scaled_C
