"""The ultrasound region of a frame: declared by the file, found in the pixels, or given.

A frame is often a whole screen: a sector or rectangle of echoes among text, grey bar, ruler, ECG
and buttons. Everything outside the region is blanked before a frame is embedded or stored.

Shape suffixes: T frames, H height, W width, h w of the box of a region.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Pixels
from service.errors import InputError
from service.imaging.analysis.boxes import Box, area_px, clipped, crop, is_inside, shifted
from service.imaging.analysis.pixels import MIN_SIDE_PX, Counts, above, grey, histogram, shrunk
from service.imaging.formats.frames import SPATIAL_2D, DicomRegion

RegionSource: TypeAlias = Literal["declared", "pixels", "motion", "caller", "whole"]

WORK_SIDE_PX = 256  # the outline of a scan is coarse, and the search is quick at this size
BACKGROUND_TOLERANCE = 5  # grey levels; compression makes black a little grey
MIN_AREA_SHARE = 0.015  # of the frame; smaller parts are logos or calipers
WHOLE_SHARE = 0.97  # a region that covers this share is the whole frame
MAX_REGIONS = 8  # of a frame, each embedded separately; machines show at most four
_PASSES = 3  # each pass removes one border of one colour, as around a scan in a window on a page


@dataclass(frozen=True, slots=True)
class Region:
    """One ultrasound region.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the frame.
        source: ``declared`` by DICOM, from the ``pixels``, from the ``motion`` of a clip, given by
            the ``caller``, or the ``whole`` frame when no region was found or requested.
        confidence: 0..1 that box and outline contain the scan and nothing else.
        outline: corners (x, y) of a convex polygon inside the box, in pixels of the frame; empty =
            the box.
        spacing_mm: (row, column) size of a pixel, None when not declared.
    """

    box: Box
    source: RegionSource
    confidence: float
    outline: tuple[tuple[int, int], ...] = ()
    spacing_mm: tuple[float, float] | None = None

    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Inside of the outline, bool (h, w); None when the whole box is inside."""
        if not self.outline:
            return None
        x0, y0, x1, y1 = self.box
        inside_hw = np.zeros((y1 - y0, x1 - x0), np.uint8)
        corners = np.array(self.outline, np.int32) - np.array((x0, y0), np.int32)
        cv2.fillConvexPoly(inside_hw, corners, (1,))
        return inside_hw.astype(bool)


def whole(height_px: int, width_px: int) -> Region:
    """The whole frame."""
    return Region((0, 0, width_px, height_px), "whole", 0.0)


def given(box: Box, height_px: int, width_px: int) -> Region:
    """The box of the caller. Raises InputError: it is outside the frame, or a side is too short."""
    x0, y0, x1, y1 = box
    if min(x0, y0) < 0 or x1 > width_px or y1 > height_px:
        raise InputError(f"expected a region inside {width_px} x {height_px} px, got {list(box)}")
    if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        raise InputError(f"expected region sides of at least {MIN_SIDE_PX} px, got {list(box)}")
    return Region(box, "caller", 1.0)


def declared(regions: Sequence[DicomRegion], height_px: int, width_px: int) -> tuple[Region, ...]:
    """The 2D regions of SequenceOfUltrasoundRegions (DICOM PS3.3 C.8.5.5), largest first.

    Spectra, M-mode, waveforms and graphics are left out, and so is a region inside another one
    (a colour box in its tissue). Boxes are clipped to the frame; the eight largest are used.
    """
    areas = []
    for region in regions:
        box = clipped((region.x0, region.y0, region.x1, region.y1), width_px, height_px)
        is_large = area_px(box) / (height_px * width_px) >= MIN_AREA_SHARE
        if region.spatial_format == SPATIAL_2D and is_large:
            areas.append(Region(box, "declared", 0.9, spacing_mm=region.spacing_mm))
    areas.sort(key=lambda area: -area_px(area.box))
    kept: list[Region] = []
    for area in areas:
        if not any(is_inside(area.box, other.box, share=0.9) for other in kept):
            kept.append(area)
    return tuple(kept[:MAX_REGIONS])


def from_pixels(pixels: Pixels) -> Region:
    """The region of one frame, uint8 (H, W) or (H, W, 3): the hull of lit, textured pixels."""
    return _search(pixels, None)


def within(region: Region, pixels: Pixels) -> Region:
    """A declared region, tightened to the scan inside it: its corners often contain text."""
    x0, y0 = region.box[:2]
    inner = from_pixels(crop(pixels, region.box))
    if inner.source == "whole" or inner.confidence < 0.5:
        return region
    return replace(
        region,
        box=shifted(inner.box, x0, y0),
        outline=tuple((x + x0, y + y0) for x, y in inner.outline),
    )


def from_clip(frames_THW: Pixels) -> Region:
    """The region of a clip: echoes move, and the text and graphics beside them do not.

    Args:
        frames_THW: uint8 greys of at least two frames; a dozen spread over the clip are enough.

    Returns:
        A region from ``motion``, or from the ``pixels`` of the mean frame when too little moves.

    Raises:
        InputError: the frames are not uint8 of three axes.
    """
    if frames_THW.dtype != np.uint8 or frames_THW.ndim != 3 or 0 in frames_THW.shape:
        raise InputError(f"expected uint8 (T, H, W), got {frames_THW.dtype} {frames_THW.shape}")
    scale = _scale(frames_THW.shape[1], frames_THW.shape[2])
    small_Thw = np.stack([shrunk(frame_HW, scale) for frame_HW in frames_THW])
    moving_hw = (np.ptp(small_Thw, axis=0) > 2 * BACKGROUND_TOLERANCE).astype(np.uint8)
    # Close the holes of speckle; remove clocks, ECG traces and digits, which move but are thin.
    moving_hw = _morphed(_morphed(moving_hw, cv2.MORPH_CLOSE, 5), cv2.MORPH_OPEN, 9)
    is_moving = moving_hw.mean() >= MIN_AREA_SHARE
    return _search(frames_THW.mean(0).astype(np.uint8), moving_hw if is_moving else None)


def cut(pixels: Pixels, region: Region) -> Pixels:
    """A copy of the box of the region, black outside its outline."""
    used = crop(pixels, region.box).copy()
    inside_hw = region.mask()
    if inside_hw is not None:
        used[~inside_hw] = 0
    return used


def _search(pixels: Pixels, moving_hw: Pixels | None) -> Region:
    height, width = pixels.shape[:2]
    scale = _scale(height, width)
    small_hw = grey(shrunk(pixels, scale))  # conversion is cheaper at the small size
    rows, columns = small_hw.shape
    box: Box = (0, 0, columns, rows)
    hull, fill = None, 0.0
    for _ in range(_PASSES):
        motion = None if moving_hw is None else crop(moving_hw, box)
        lit_hull = _hull(crop(small_hw, box), motion)
        if lit_hull is None:
            break
        corners, fill = lit_hull
        hull = corners + np.array(box[:2])
        tighter = _around(hull)
        if tighter == box or min(tighter[2] - tighter[0], tighter[3] - tighter[1]) < MIN_SIDE_PX:
            break
        box = tighter
    if hull is None:
        return whole(height, width)
    return _enlarged(hull, fill, scale, height, width, moved=moving_hw is not None)


def _enlarged(
    hull: npt.NDArray[np.int64], fill: float, scale: float, height: int, width: int, *, moved: bool
) -> Region:
    """The region of the frame that a hull in the small picture stands for."""
    # Pixel c of the small picture covers c/scale .. (c+1)/scale of the frame.
    x0, y0, x1, y1 = _around(hull)
    centre = np.array([x0 + x1, y0 + y1]) / 2
    outer = np.where(hull >= centre, hull + 1, hull) / scale
    corners = np.clip(np.rint(outer), 0, [width, height]).astype(np.int64)
    (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
    area = float(cv2.contourArea(corners.astype(np.int32))) / (width * height)
    if area >= WHOLE_SHARE:
        return Region((0, 0, width, height), "pixels", 1.0)
    if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        return whole(height, width)
    confidence = float(np.clip((fill - 0.3) / 0.5, 0.05, 1) * np.clip(area / 0.08, 0.2, 1))
    box_area = (x1 - x0) * (y1 - y0) / (width * height)
    outline = () if area >= WHOLE_SHARE * box_area else tuple((x, y) for x, y in corners.tolist())
    return Region((x0, y0, x1, y1), "motion" if moved else "pixels", confidence, outline)


def _hull(small_hw: Pixels, moving_hw: Pixels | None) -> tuple[npt.NDArray[np.int64], float] | None:
    """Convex hull (corners, 2) of the scan, and the lit share of it; None without a scan."""
    level_hw = np.full_like(small_hw, _background(small_hw))
    lit_hw = above(cv2.absdiff(small_hw, level_hw), BACKGROUND_TOLERANCE)
    side = max(small_hw.shape)
    solid_hw = _morphed(lit_hw, cv2.MORPH_OPEN, max(3, side // 36))
    solid_hw = _morphed(solid_hw, cv2.MORPH_CLOSE, max(3, side // 24))
    flat_hw = _flat(small_hw)
    kept = [
        (area, part_hw)
        for area, part_hw in _parts(solid_hw)
        if area >= MIN_AREA_SHARE * small_hw.size
        and _is_scan(part_hw, small_hw, lit_hw, flat_hw, moving_hw)
    ]
    if not kept:
        return None
    kept.sort(key=lambda item: -item[0])
    large = [part_hw for area, part_hw in kept if area >= 0.15 * kept[0][0]]
    for parts in (large, large[:1]):
        corners = _corners(parts)
        inside_hw = np.zeros(small_hw.shape, np.uint8)
        cv2.fillConvexPoly(inside_hw, corners.astype(np.int32), (1,))
        fill = _share_of(lit_hw, inside_hw)
        if fill >= 0.5 or len(large) == 1:
            break
    return corners, fill


def _parts(solid_hw: Pixels) -> list[tuple[int, Pixels]]:
    """The connected parts: number of pixels, and mask of uint8 0 or 1."""
    outlines, _ = cv2.findContours(solid_hw, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if len(outlines) < 2:  # as in nearly every scan; labelling takes twenty times as long
        area = cv2.countNonZero(solid_hw)
        return [(area, solid_hw)] if area else []
    count, labels_hw, stats, _ = cv2.connectedComponentsWithStats(solid_hw, connectivity=4)
    return [
        (int(stats[label, cv2.CC_STAT_AREA]), (labels_hw == label).astype(np.uint8))
        for label in range(1, count)
        if stats[label, cv2.CC_STAT_AREA] >= MIN_AREA_SHARE * solid_hw.size
    ]


def _is_scan(
    part_hw: Pixels,
    small_hw: Pixels,
    lit_hw: Pixels,
    flat_hw: Pixels,
    moving_hw: Pixels | None,
) -> bool:
    """Whether a part is no grey bar, no banner or button of one colour, and not still in a clip."""
    width, height = cv2.boundingRect(part_hw)[2:]
    long, short = max(width, height), min(width, height)
    if short < 0.09 * max(part_hw.shape) and long > 4 * short:
        return False
    if moving_hw is not None:  # the mean of moving speckle is flat like a button
        return _share_of(moving_hw, part_hw) > 0.1
    lit_part_hw = np.asarray(cv2.bitwise_and(part_hw, lit_hw), np.uint8)
    if _share_of(flat_hw, lit_part_hw) > 0.5:
        return False
    return _one_grey(histogram(small_hw, lit_part_hw)) <= 0.45


def _share_of(mask_hw: Pixels, part_hw: Pixels) -> float:
    """Share of the pixels of a part that are in a mask; both 0 or 1."""
    both = cv2.countNonZero(cv2.bitwise_and(mask_hw, part_hw))
    return both / max(1, cv2.countNonZero(part_hw))


def _background(small_hw: Pixels) -> int:
    """The most frequent grey along the border when it prevails there, else black."""
    border = np.concatenate([small_hw[0], small_hw[-1], small_hw[:, 0], small_hw[:, -1]])
    counts = np.bincount(border, minlength=256)
    near = np.convolve(counts, np.ones(2 * BACKGROUND_TOLERANCE + 1, np.int64), mode="same")
    level = int(counts.argmax())
    return level if near[level] >= 0.4 * len(border) else 0


def _flat(small_hw: Pixels) -> Pixels:
    """1 where the 3 x 3 around a pixel has one grey: such pixels are drawn and not echoes."""
    spread_hw = cv2.morphologyEx(small_hw, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.threshold(spread_hw, 2, 1, cv2.THRESH_BINARY_INV)[1], np.uint8)


def _one_grey(counts: Counts) -> float:
    """Share of the most frequent grey and its neighbours, without saturated echoes."""
    near = np.convolve(counts, np.ones(7, np.int64), mode="same")[:248]
    return float(near.max()) / max(1, int(counts.sum()))


def _corners(parts: Sequence[Pixels]) -> npt.NDArray[np.int64]:
    """Corners (n, 2), as x and y, of the convex hull of some parts."""
    outlines: list[cv2.typing.MatLike] = []
    for part_hw in parts:
        contours, _ = cv2.findContours(part_hw, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        outlines += contours
    hull = cv2.convexHull(np.concatenate(outlines))
    return np.asarray(hull.reshape(-1, 2), np.int64)


def _around(corners: npt.NDArray[np.int64]) -> Box:
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0) + 1
    return int(x0), int(y0), int(x1), int(y1)


def _scale(height_px: int, width_px: int) -> float:
    return min(1.0, WORK_SIDE_PX / max(height_px, width_px))


def _morphed(mask_hw: Pixels, operation: int, side_px: int) -> Pixels:
    """Open or close a mask with a disc."""
    odd = side_px | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (odd, odd))
    return np.asarray(cv2.morphologyEx(mask_hw, operation, disc), np.uint8)
