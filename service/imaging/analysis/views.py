"""Several views of one used region, whose embeddings together say more than that of one.

Shape suffixes: h w used region, V views.
"""

import cv2
import numpy as np

from service.arrays import Pixels

KEPT_SHARE = 0.85  # of each side, in a crop
CORNERS = ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0))  # of the crops: share of what is cut off, x and y
GAMMAS = (0.8, 1.25)
VIEWS = 2 + len(CORNERS) + len(GAMMAS)


def views_of(used_hw: Pixels) -> tuple[Pixels, ...]:
    """The region itself, mirrored, three crops of 85 % of its sides, and two gammas of it."""
    height, width = used_hw.shape
    down, across = max(1, round(height * KEPT_SHARE)), max(1, round(width * KEPT_SHARE))
    crops = []
    for right, below in CORNERS:
        top, left = round((height - down) * below), round((width - across) * right)
        crops.append(np.ascontiguousarray(used_hw[top : top + down, left : left + across]))
    levels = np.arange(256) / 255
    greys = [np.rint(255 * levels**gamma).astype(np.uint8) for gamma in GAMMAS]
    curved = [np.asarray(cv2.LUT(used_hw, table), np.uint8) for table in greys]
    return (used_hw, np.ascontiguousarray(used_hw[:, ::-1]), *crops, *curved)
