"""Where in a frame the scan is: told by the file, found from the pixels, or given by the caller.

A frame of a machine is a screen: a sector or rectangle of echoes among text, grey bar, ruler, ECG
and buttons. What lies outside the region is blanked before anything is embedded or kept.

Shape suffixes: T frames, H height, W width, h w of a region's box. Boxes are half open pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.imaging.analysis.grey_levels import Counts, histogram
from service.imaging.formats.frames import SPATIAL_2D, DicomRegion

Pixels: TypeAlias = npt.NDArray[np.uint8]
Box: TypeAlias = tuple[int, int, int, int]
Found: TypeAlias = Literal["declared", "pixels", "motion", "caller", "whole"]

WORK_SIDE_PX = 256  # the scan's outline is coarse; its search is quick at this size
BACKGROUND_TOLERANCE = 5  # grey levels; compression leaves black a little grey
MIN_AREA_SHARE = 0.015  # of the frame; less is a logo or a caliper
WHOLE_SHARE = 0.97  # a region that covers this much is the frame
MIN_SIDE_PX = 8
MAX_REGIONS = 8  # of a frame, each embedded by itself; machines show four at most
MM_PER_CM = 10.0
_PASSES = 3  # a scan in a window on a page: each pass takes one frame of one colour away


@dataclass(frozen=True, slots=True)
class Region:
    """One scan area.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the frame.
        found: ``declared`` by DICOM, from ``pixels``, from the ``motion`` of a clip, given by the
            ``caller``, or the ``whole`` frame because nothing was found or asked for.
        confidence: 0..1 that box and outline hold the scan and nothing but it.
        outline: corners (x, y) of a convex polygon inside the box, frame pixels; empty = the box.
        spacing_mm: (row, column) size of a pixel, None when not told.
    """

    box: Box
    found: Found
    confidence: float
    outline: tuple[tuple[int, int], ...] = ()
    spacing_mm: tuple[float, float] | None = None

    @property
    def width_px(self) -> int:
        """Columns of the box."""
        return self.box[2] - self.box[0]

    @property
    def height_px(self) -> int:
        """Rows of the box."""
        return self.box[3] - self.box[1]

    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Inside of the outline, bool (h, w); None when the whole box is inside."""
        if not self.outline:
            return None
        inside_hw = np.zeros((self.height_px, self.width_px), np.uint8)
        corners = np.array(self.outline, np.int32) - np.array(self.box[:2], np.int32)
        cv2.fillConvexPoly(inside_hw, corners, (1,))
        return inside_hw.astype(bool)


def whole(height_px: int, width_px: int) -> Region:
    """The frame as it is."""
    return Region((0, 0, width_px, height_px), "whole", 0.0)


def given(box: Box, height_px: int, width_px: int) -> Region:
    """The caller's own box.

    Raises:
        InputError: outside the frame, or a side under 8 px.
    """
    x0, y0, x1, y1 = box
    if min(x0, y0) < 0 or x1 > width_px or y1 > height_px:
        raise InputError(f"expected a region inside {width_px} x {height_px} px, got {list(box)}")
    if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        raise InputError(f"expected region sides of at least {MIN_SIDE_PX} px, got {list(box)}")
    return Region(box, "caller", 1.0)


def declared(regions: Sequence[DicomRegion], height_px: int, width_px: int) -> tuple[Region, ...]:
    """The 2D regions of SequenceOfUltrasoundRegions (DICOM PS3.3 C.8.5.5), largest first.

    Spectra, M-mode, waveforms and graphics are left out, and so is a region inside another
    (a colour box in its tissue). Boxes are cut to the frame; the eight largest count.
    """
    found = []
    for region in regions:
        box = (
            max(0, region.x0),
            max(0, region.y0),
            min(width_px, region.x1),
            min(height_px, region.y1),
        )
        if region.spatial_format == SPATIAL_2D and _share(box, height_px, width_px) > 0:
            found.append(Region(box, "declared", 0.9, spacing_mm=_spacing(region)))
    found.sort(key=lambda item: -item.width_px * item.height_px)
    kept: list[Region] = []
    for item in found:
        large = _share(item.box, height_px, width_px) >= MIN_AREA_SHARE
        if large and not any(_inside(item.box, other.box) for other in kept):
            kept.append(item)
    return tuple(kept[:MAX_REGIONS])


def from_pixels(pixels: Pixels) -> Region:
    """The scan of one frame, uint8 (H, W) or (H, W, 3): the hull of what is lit and textured."""
    return _search(pixels, None)


def within(region: Region, pixels: Pixels) -> Region:
    """A declared box, tightened to the scan inside it: such boxes often hold text in corners."""
    x0, y0, x1, y1 = region.box
    inner = from_pixels(pixels[y0:y1, x0:x1])
    if inner.found == "whole" or inner.confidence < 0.5:
        return region
    return replace(
        region,
        box=_moved(inner.box, x0, y0),
        outline=tuple((x + x0, y + y0) for x, y in inner.outline),
    )


def from_clip(frames_THW: Pixels) -> Region:
    """The scan of a clip: echoes move, and what a machine writes beside them stands still.

    Args:
        frames_THW: uint8 greys, two frames or more; a dozen spread over the clip are enough.

    Returns:
        found from ``motion``; from ``pixels`` of the mean frame when too little moves.

    Raises:
        InputError: not uint8 of three axes.
    """
    if frames_THW.dtype != np.uint8 or frames_THW.ndim != 3 or 0 in frames_THW.shape:
        raise InputError(f"expected uint8 (T, H, W), got {frames_THW.dtype} {frames_THW.shape}")
    scale = _scale(frames_THW.shape[1], frames_THW.shape[2])
    small_Thw = np.stack([_shrunk(frame_HW, scale) for frame_HW in frames_THW])
    moving_hw = (np.ptp(small_Thw, axis=0) > 2 * BACKGROUND_TOLERANCE).astype(np.uint8)
    # Speckle leaves holes; clocks, ECG traces and digits move as well, and are thin.
    closed_hw = cv2.morphologyEx(moving_hw, cv2.MORPH_CLOSE, _disc(5))
    moving_hw = _opened(np.asarray(closed_hw, np.uint8), 9)
    mean_HW = frames_THW.mean(0).astype(np.uint8)
    if moving_hw.mean() < MIN_AREA_SHARE:
        return _search(mean_HW, None)
    return _search(mean_HW, moving_hw)


def cut(pixels: Pixels, region: Region) -> Pixels:
    """The region's box of the frame, black outside the outline; a copy."""
    x0, y0, x1, y1 = region.box
    used = pixels[y0:y1, x0:x1].copy()
    inside_hw = region.mask()
    if inside_hw is not None:
        used[~inside_hw] = 0
    return used


def _search(pixels: Pixels, moving_hw: Pixels | None) -> Region:
    height, width = pixels.shape[:2]
    scale = _scale(height, width)
    small_hw = _shrunk(pixels, scale)
    rows, columns = small_hw.shape
    box: Box = (0, 0, columns, rows)
    hull, fill = None, 0.0
    for _ in range(_PASSES):
        x0, y0, x1, y1 = box
        motion = None if moving_hw is None else moving_hw[y0:y1, x0:x1]
        found = _hull(small_hw[y0:y1, x0:x1], motion)
        if found is None:
            break
        corners, fill = found
        hull = corners + np.array([x0, y0])
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
    """From the small picture back to the frame."""
    # Pixel c of the small picture covers c/scale .. (c+1)/scale of the frame.
    centre = (np.array(_around(hull)[:2]) + np.array(_around(hull)[2:])) / 2
    outer = np.where(hull >= centre, hull + 1, hull) / scale
    corners = np.clip(np.rint(outer), 0, [width, height]).astype(np.int64)
    x0, y0 = (int(v) for v in corners.min(0))
    x1, y1 = (int(v) for v in corners.max(0))
    area = float(cv2.contourArea(corners.astype(np.int32))) / (width * height)
    if area >= WHOLE_SHARE:
        return Region((0, 0, width, height), "pixels", 1.0)
    if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        return whole(height, width)
    confidence = float(np.clip((fill - 0.3) / 0.5, 0.05, 1) * np.clip(area / 0.08, 0.2, 1))
    box_area = (x1 - x0) * (y1 - y0) / (width * height)
    outline = () if area >= WHOLE_SHARE * box_area else tuple((int(x), int(y)) for x, y in corners)
    return Region((x0, y0, x1, y1), "motion" if moved else "pixels", confidence, outline)


def _hull(small_hw: Pixels, moving_hw: Pixels | None) -> tuple[npt.NDArray[np.int64], float] | None:
    """Convex hull (corners, 2) of the scan, and the share of it that is lit; None: no scan."""
    level_hw = np.full_like(small_hw, _background(small_hw))
    lit_hw = _above(cv2.absdiff(small_hw, level_hw), BACKGROUND_TOLERANCE)
    side = max(small_hw.shape)
    solid_hw = _opened(lit_hw, max(3, side // 36))
    closing = cv2.morphologyEx(solid_hw, cv2.MORPH_CLOSE, _disc(max(3, side // 24)))
    solid_hw = np.asarray(closing, np.uint8)
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
    for chosen in (large, large[:1]):
        corners = _corners(chosen)
        inside_hw = np.zeros(small_hw.shape, np.uint8)
        cv2.fillConvexPoly(inside_hw, corners.astype(np.int32), (1,))
        fill = _share_of(lit_hw, inside_hw)
        if fill >= 0.5 or len(large) == 1:
            break
    return corners, fill


def _parts(solid_hw: Pixels) -> list[tuple[int, Pixels]]:
    """Connected parts: how many pixels, and where they are, uint8 0 or 1."""
    outlines, _ = cv2.findContours(solid_hw, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if len(outlines) < 2:  # nearly every scan; labelling costs twenty times as much
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
    """Neither a grey bar, nor still while others move, nor a banner or button of one colour."""
    width, height = cv2.boundingRect(part_hw)[2:]
    long, short = max(width, height), min(width, height)
    if short < 0.09 * max(part_hw.shape) and long > 4 * short:
        return False
    if moving_hw is not None:  # the mean of moving speckle is as flat as a button
        return _share_of(moving_hw, part_hw) > 0.1
    lit_part_hw = np.asarray(cv2.bitwise_and(part_hw, lit_hw), np.uint8)
    if _share_of(flat_hw, lit_part_hw) > 0.5:
        return False
    return _one_grey(histogram(small_hw, lit_part_hw)) <= 0.45


def _above(values_hw: cv2.typing.MatLike, limit: int) -> Pixels:
    """1 where a value is above the limit, else 0."""
    return np.asarray(cv2.threshold(values_hw, limit, 1, cv2.THRESH_BINARY)[1], np.uint8)


def _share_of(these_hw: Pixels, among_hw: Pixels) -> float:
    """Share of the pixels of one mask that are in another; both 0 or 1."""
    both = cv2.countNonZero(cv2.bitwise_and(these_hw, among_hw))
    return both / max(1, cv2.countNonZero(among_hw))


def _background(small_hw: Pixels) -> int:
    """The grey of the margin: the most frequent one along the border, when it rules there."""
    border = np.concatenate([small_hw[0], small_hw[-1], small_hw[:, 0], small_hw[:, -1]])
    counts = np.bincount(border, minlength=256)
    near = np.convolve(counts, np.ones(2 * BACKGROUND_TOLERANCE + 1, np.int64), mode="same")
    level = int(counts.argmax())
    return level if near[level] >= 0.4 * len(border) else 0


def _flat(small_hw: Pixels) -> Pixels:
    """1 where the 3 x 3 around a pixel is of one grey: drawn, not echoed."""
    spread_hw = cv2.morphologyEx(small_hw, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.threshold(spread_hw, 2, 1, cv2.THRESH_BINARY_INV)[1], np.uint8)


def _one_grey(counts: Counts) -> float:
    """Share of the most frequent grey and its neighbours; saturated echoes do not count."""
    near = np.convolve(counts, np.ones(7, np.int64), mode="same")[:248]
    return float(near.max()) / max(1, int(counts.sum()))


def _corners(parts: Sequence[Pixels]) -> npt.NDArray[np.int64]:
    """Corners (n, 2), as x and y, of the convex hull of some parts."""
    outlines: list[cv2.typing.MatLike] = []
    for part_hw in parts:
        found, _ = cv2.findContours(part_hw, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        outlines += found
    hull = cv2.convexHull(np.concatenate(outlines))
    return np.asarray(hull.reshape(-1, 2), np.int64)


def _around(corners: npt.NDArray[np.int64]) -> Box:
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0) + 1
    return int(x0), int(y0), int(x1), int(y1)


def _scale(height_px: int, width_px: int) -> float:
    return min(1.0, WORK_SIDE_PX / max(height_px, width_px))


def _shrunk(pixels: Pixels, scale: float) -> Pixels:
    """The small grey picture that is searched; colour goes last, where it costs least."""
    small = pixels
    if scale != 1.0:
        height, width = pixels.shape[:2]
        size = (max(MIN_SIDE_PX, round(width * scale)), max(MIN_SIDE_PX, round(height * scale)))
        small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    if small.ndim == 2:
        return small
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def _opened(mask_hw: Pixels, side_px: int) -> Pixels:
    return np.asarray(cv2.morphologyEx(mask_hw, cv2.MORPH_OPEN, _disc(side_px)), np.uint8)


def _disc(side_px: int) -> Pixels:
    odd = side_px | 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (odd, odd)), np.uint8)


def _share(box: Box, height_px: int, width_px: int) -> float:
    x0, y0, x1, y1 = box
    return max(0, x1 - x0) * max(0, y1 - y0) / (height_px * width_px)


def _inside(inner: Box, outer: Box) -> bool:
    """Whether nine tenths of a box lie in another."""
    across = min(inner[2], outer[2]) - max(inner[0], outer[0])
    down = min(inner[3], outer[3]) - max(inner[1], outer[1])
    area = (inner[2] - inner[0]) * (inner[3] - inner[1])
    return across > 0 and down > 0 and across * down >= 0.9 * area


def _moved(box: Box, x: int, y: int) -> Box:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def _spacing(region: DicomRegion) -> tuple[float, float] | None:
    if region.unit_x != "cm" or region.unit_y != "cm":
        return None
    if not region.delta_x or not region.delta_y:
        return None
    return abs(region.delta_y) * MM_PER_CM, abs(region.delta_x) * MM_PER_CM
