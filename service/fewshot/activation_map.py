"""Where in a frame a class's logit comes from: an exact class activation map.

The encoder's embedding is the mean over places of the feature map, divided by the length of that
mean (see the bundle's format), and the head is linear in it. So the logit's image term is the mean
over places of w . f(y, x) / |mean f|: the map whose mean it is needs no approximation.

Shape suffixes: N rows, C classes, D embedding width, h w places.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.fewshot.head import LEAST_LENGTH, LinearHead

Doubles: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ActivationMaps:
    """One map per class.

    Attributes:
        maps_Chw: float64; the mean of each is the image term of that class's logit.
        bias_C: the rest of the logit.
    """

    maps_Chw: Doubles
    bias_C: Doubles

    @property
    def logits(self) -> Doubles:
        """(C,) what the head gives this frame, before calibration."""
        logits_C: Doubles = self.maps_Chw.mean((1, 2)) + self.bias_C
        return logits_C


def activation_maps(head: LinearHead, feature_map_Dhw: npt.NDArray[np.floating]) -> ActivationMaps:
    """Share the logits of one frame out among its places.

    Args:
        feature_map_Dhw: the encoder's, whose mean over places has the embedding's direction.

    Raises:
        InputError: another width, not three axes, not finite, or a mean of length 0.
    """
    wide_Dhw = np.asarray(feature_map_Dhw, np.float64)
    width = head.weights_CD.shape[1]
    if wide_Dhw.ndim != 3 or len(wide_Dhw) != width or 0 in wide_Dhw.shape:
        raise InputError(f"expected a feature map of shape ({width}, h, w), got {wide_Dhw.shape}")
    length = float(np.linalg.norm(wide_Dhw.mean((1, 2))))
    if not np.isfinite(wide_Dhw).all() or length <= LEAST_LENGTH:
        raise InputError("expected a finite feature map whose mean has a length above 0")
    weights_CD = head.weights_CD.astype(np.float64)
    maps_Chw = np.tensordot(weights_CD, wide_Dhw, axes=1) / length
    return ActivationMaps(maps_Chw, head.bias_C.astype(np.float64))


def contrast(maps_Chw: Doubles, chosen: int) -> Doubles:
    """(h, w) what speaks for a class rather than for the others: its map minus their mean.

    Softmax sees differences of logits alone; what raises all classes explains nothing.

    Raises:
        InputError: no such class.
    """
    if not 0 <= chosen < len(maps_Chw):
        raise InputError(f"expected a class number of 0 to {len(maps_Chw) - 1}, got {chosen}")
    others_hw = np.delete(maps_Chw, chosen, axis=0).mean(0)
    difference_hw: Doubles = maps_Chw[chosen] - others_hw
    return difference_hw
