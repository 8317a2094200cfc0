"""Boxes of pixels: x0, y0, x1, y1, half open."""

from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Box: TypeAlias = tuple[int, int, int, int]
Value = TypeVar("Value", bound=np.generic)


def crop(frame: npt.NDArray[Value], box: Box) -> npt.NDArray[Value]:
    """A view of the part of a frame or mask inside the box."""
    x0, y0, x1, y1 = box
    return frame[y0:y1, x0:x1]


def area_px(box: Box) -> int:
    """Pixels of the box; 0 when its corners are out of order."""
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def clipped(box: Box, width_px: int, height_px: int) -> Box:
    """The part of the box inside a frame."""
    return max(0, box[0]), max(0, box[1]), min(width_px, box[2]), min(height_px, box[3])


def shifted(box: Box, x: int, y: int) -> Box:
    """The box moved to the right and down."""
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def grown(box: Box, share: float) -> Box:
    """The box with a share of its sides more on each side; it may reach outside the frame."""
    x0, y0, x1, y1 = box
    across, down = round((x1 - x0) * share), round((y1 - y0) * share)
    return x0 - across, y0 - down, x1 + across, y1 + down


def is_inside(inner: Box, outer: Box, *, share: float) -> bool:
    """Whether at least this share of a box lies in another."""
    across = min(inner[2], outer[2]) - max(inner[0], outer[0])
    down = min(inner[3], outer[3]) - max(inner[1], outer[1])
    return across > 0 and down > 0 and across * down >= share * area_px(inner)
