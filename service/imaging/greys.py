"""Counts of greys: one pass over a picture instead of many. h, w: rows and columns."""

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Pixels: TypeAlias = npt.NDArray[np.uint8]
Counts: TypeAlias = npt.NDArray[np.int64]


def histogram(greys_hw: Pixels, mask_hw: Pixels | None = None) -> Counts:
    """How often each of 256 greys is there, int64 (256,), where a mask is not 0."""
    counts = cv2.calcHist([greys_hw], [0], mask_hw, [256], [0, 256])
    found: Counts = np.rint(counts).astype(np.int64).ravel()
    return found
