"""Frames whose pixels are not square -> frames whose pixels are.

Machines store such frames when they record a television signal or sample depth and width
differently. ``reader.read`` squares them, so that everything after decoding, and every box of a
caller, speaks of square pixels. The coarser axis is enlarged; the finer one is shrunk only where
the frame would exceed the limit on pixels.
"""

import math
from dataclasses import replace

import cv2
import numpy as np

from service.imaging.formats.frames import Correction, DecodedFrame, DicomRegion, ImageInfo
from service.imaging.formats.limits import DecodeLimits, check_size

SQUARE_TOLERANCE = 0.02  # nearly square frames stay as they are, so their embeddings do not change
MAX_ASPECT = 5.0  # anamorphic video has 2 at most, sampled scan lines 4; more is a mistake


def squared_info(info: ImageInfo, limits: DecodeLimits) -> ImageInfo:
    """The same file with square pixels: size, regions and spacing change together.

    An impossible aspect is not believed, and becomes a correction.

    Raises:
        ImageTooLarge, CorruptImage: no size with square pixels is within the limits.
    """
    aspect = info.pixel_aspect
    if not _is_credible(aspect):
        declared = aspect if math.isfinite(aspect) else None
        correction = Correction("pixel_shape", declared, 1.0)
        return replace(info, pixel_aspect=1.0, corrections=(*info.corrections, correction))
    if abs(math.log(aspect)) <= SQUARE_TOLERANCE:
        return replace(info, pixel_aspect=1.0)
    across, down = max(1.0, 1 / aspect), max(1.0, aspect)
    if round(info.width_px * across) * round(info.height_px * down) > limits.max_pixels:
        across, down = min(1.0, 1 / aspect), min(1.0, aspect)
    width, height = round(info.width_px * across), round(info.height_px * down)
    check_size(width, height, limits)
    spacing = info.spacing_mm
    return replace(
        info,
        width_px=width,
        height_px=height,
        regions=tuple(_scaled(region, across, down) for region in info.regions),
        spacing_mm=None if spacing is None else _evened(spacing[0] / down, spacing[1] / across),
        pixel_aspect=1.0,
    )


def squared_frame(frame: DecodedFrame, info: ImageInfo) -> DecodedFrame:
    """The frame in the size that ``squared_info`` tells; unchanged when it has that size."""
    height, width = frame.pixels.shape[:2]
    if (width, height) == (info.width_px, info.height_px):
        return frame
    is_enlarged = width <= info.width_px and height <= info.height_px
    way = cv2.INTER_LINEAR if is_enlarged else cv2.INTER_AREA  # neither overshoots at letters
    size = (info.width_px, info.height_px)
    pixels = cv2.resize(np.ascontiguousarray(frame.pixels), size, interpolation=way)
    return replace(frame, pixels=np.asarray(pixels, np.uint8))


def _is_credible(aspect: float) -> bool:
    return math.isfinite(aspect) and 1 / MAX_ASPECT <= aspect <= MAX_ASPECT


def _scaled(region: DicomRegion, across: float, down: float) -> DicomRegion:
    delta_x = None if region.delta_x is None else region.delta_x / across
    delta_y = None if region.delta_y is None else region.delta_y / down
    if delta_x and delta_y and region.spacing_mm is not None:
        row, column = _evened(abs(delta_y), abs(delta_x))
        delta_x, delta_y = math.copysign(column, delta_x), math.copysign(row, delta_y)
    return replace(
        region,
        x0=round(region.x0 * across),
        y0=round(region.y0 * down),
        x1=round(region.x1 * across),
        y1=round(region.y1 * down),
        delta_x=delta_x,
        delta_y=delta_y,
    )


def _evened(row: float, column: float) -> tuple[float, float]:
    """Two sizes that differ by rounding only become equal."""
    if abs(math.log(row / column)) > SQUARE_TOLERANCE:
        return row, column  # of a region with another aspect than the frame
    middle = math.sqrt(row * column)
    return middle, middle
