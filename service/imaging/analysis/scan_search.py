"""The search for scans in the pixels of a frame: lit, textured, and where a clip moves.

Strips that a machine draws along the edges are cut off first, and two panes with a drawn gap
between them are told apart.

Shape suffixes: T frames, H height, W width, h w of the small picture or a part of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Pixels
from service.imaging.analysis.boxes import Box, clipped, crop, shifted
from service.imaging.analysis.furniture import gap_between_panes, without_strips
from service.imaging.analysis.pixels import (
    MIN_SIDE_PX,
    Counts,
    above,
    grey_if_large,
    histogram,
    morphed,
    quickly_shrunk,
    share_of,
    small_grey,
)

WORK_SIDE_PX = 256  # the outline of a scan is coarse, and the search is quick at this size
DRAWN_SIDE_PX = 640  # strips and gaps are a few pixels wide on a screen of this size
BACKGROUND_TOLERANCE = 5  # grey levels; compression makes black a little grey
MIN_AREA_SHARE = 0.015  # of the frame; smaller parts are logos or calipers
WHOLE_SHARE = 0.97  # a region that covers this share is the whole frame
MAX_SPLITS = 2  # panes side by side, each of which may be two, one above the other
MIN_PANE_AREA = 0.2  # of the area of the other pane; smaller ones are body marks and previews
MIN_PANE_OVERLAP = 0.5  # of the shorter pane, along the gap
MIN_PANE_FILL = 0.35  # lit share of the hull of a pane
MIN_RUN_SHARE = 0.12  # of the width without a gap
MIN_LAYER_SHARE, MIN_LAYER_PX = 0.3, 3  # of the width of a declared region; and its height
GROUND_INSET_PX = 2  # of the background from the edge, where panes have frames
_PASSES = 3  # each pass removes one border of one colour, as around a scan in a window on a page


@dataclass(frozen=True, slots=True)
class FoundScan:
    """A scan that was found in the pixels of a frame.

    Attributes:
        corners: of its convex hull, (n, 2) as x and y, in pixels of the frame.
        fill: lit share of the hull.
        is_crowded: furniture was cut off beside it, or another pane.
    """

    corners: npt.NDArray[np.int64]
    fill: float
    is_crowded: bool


def find_scans(
    pixels: Pixels,
    moving_hw: Pixels | None = None,
    *,
    splits: int = MAX_SPLITS,
    is_declared: bool = False,
) -> list[FoundScan]:
    """The scans of a frame, one for each pane; without ``splits`` all panes are one.

    Args:
        pixels: uint8 (H, W) or (H, W, 3).
        moving_hw: what moves in a clip, see ``moving_parts``; None for a still.
        is_declared: the pixels are a declared region, so thin layers of echoes in them belong to
            the scan, such as the near field over black.
    """
    screen = _Screen(pixels, moving_hw, is_declared)
    return [
        FoundScan(screen.in_frame(scan.hull), scan.fill, scan.is_crowded)
        for scan in _scans(screen, screen.box, splits)
    ]


def tissue_of(pixels: Pixels) -> tuple[Pixels, float] | None:
    """Where the scans of a frame are lit, 1 or 0 at the small size, and its scale; None without."""
    screen = _Screen(pixels, None, is_declared=False)
    scan = _scan(screen, screen.box, is_pane=False)
    if scan is None or scan.fill < MIN_PANE_FILL:
        return None
    inside_hw = np.zeros(screen.small_hw.shape, np.uint8)
    cv2.fillConvexPoly(inside_hw, scan.hull.astype(np.int32), (1,))
    lit_hw = cv2.bitwise_and(above(screen.small_hw, BACKGROUND_TOLERANCE), inside_hw)
    tissue_hw = morphed(np.asarray(lit_hw, np.uint8), cv2.MORPH_CLOSE, 5)
    return tissue_hw, _scale(*pixels.shape[:2])


def moving_parts(frames_THW: Pixels) -> Pixels | None:
    """1 where a clip moves, at the small size; None when too little moves."""
    scale = _scale(frames_THW.shape[1], frames_THW.shape[2])
    small_Thw = np.stack([small_grey(frame_HW, scale) for frame_HW in frames_THW])
    moving_hw = (np.ptp(small_Thw, axis=0) > 2 * BACKGROUND_TOLERANCE).astype(np.uint8)
    # Close the holes of speckle; remove clocks, ECG traces and digits, which move but are thin.
    moving_hw = morphed(morphed(moving_hw, cv2.MORPH_CLOSE, 5), cv2.MORPH_OPEN, 9)
    return moving_hw if moving_hw.mean() >= MIN_AREA_SHARE else None


@dataclass(frozen=True, slots=True)
class _PaneSplit:
    """A box in two: the halves beside a gap, and the axis along the gap (0 = x, 1 = y)."""

    halves: tuple[Box, Box]
    axis: int
    has_line: bool


@dataclass(frozen=True, slots=True)
class _Scan:
    """A scan in the small picture.

    Attributes:
        hull: corners (n, 2).
        fill: lit share of the hull.
        box: what was searched, without strips.
        around: the box of all parts in it that look like scans.
        ground: the grey that counts as black in the box.
        is_crowded: furniture was cut off, or another pane.
    """

    hull: npt.NDArray[np.int64]
    fill: float
    box: Box
    around: Box
    ground: int
    is_crowded: bool


class _Screen:
    """A frame in the sizes that the search needs."""

    def __init__(self, pixels: Pixels, moving_hw: Pixels | None, is_declared: bool) -> None:
        self.is_declared = is_declared
        self._height, self._width = pixels.shape[:2]
        self._scale = _scale(self._height, self._width)
        pixels = grey_if_large(pixels)
        self.small_hw = small_grey(pixels, self._scale)
        self.moving_hw = moving_hw
        self._drawn_hw = quickly_shrunk(pixels, DRAWN_SIDE_PX)
        self._more = self._drawn_hw.shape[1] / self.small_hw.shape[1]

    @property
    def box(self) -> Box:
        """The whole of ``small_hw``."""
        rows, columns = self.small_hw.shape
        return 0, 0, columns, rows

    def without_strips(self, box: Box) -> Box:
        """The part of a box of ``small_hw`` inside the strips that are drawn along its edges."""
        drawn_hw = self._drawn(box)
        inner = without_strips(drawn_hw, BACKGROUND_TOLERANCE, only_written=self.is_declared)
        if inner == (0, 0, drawn_hw.shape[1], drawn_hw.shape[0]):
            return box
        x0, y0 = (int(np.ceil(side / self._more)) for side in inner[:2])
        x1, y1 = (int(side / self._more) for side in inner[2:])
        if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
            return box
        return clipped(shifted((x0, y0, x1, y1), box[0], box[1]), box[2], box[3])

    def splits(self, scan: _Scan) -> tuple[_PaneSplit | None, _PaneSplit | None]:
        """The box of a scan in left and right, and in upper and lower, where it is two."""
        around = scan.around
        drawn_hw = np.ascontiguousarray(self._drawn(around))
        if scan.ground > BACKGROUND_TOLERANCE:
            ground_hw = np.full_like(drawn_hw, scan.ground)
            drawn_hw = np.asarray(cv2.absdiff(drawn_hw, ground_hw), np.uint8)
        x0, y0, x1, y1 = scan.box
        across = down = None
        gap = gap_between_panes(drawn_hw, BACKGROUND_TOLERANCE)
        if gap is not None:
            left, right = (around[0] + round(side / self._more) for side in (gap.start, gap.end))
            across = _PaneSplit(((x0, y0, left, y1), (right, y0, x1, y1)), 1, gap.has_line)
        gap = gap_between_panes(drawn_hw.T, BACKGROUND_TOLERANCE)
        if gap is not None:
            upper, lower = (around[1] + round(side / self._more) for side in (gap.start, gap.end))
            down = _PaneSplit(((x0, y0, x1, upper), (x0, lower, x1, y1)), 0, gap.has_line)
        return across, down

    def in_frame(self, hull: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Corners of ``small_hw`` in pixels of the frame."""
        # Pixel c of the small picture covers c/scale .. (c+1)/scale of the frame.
        x0, y0, x1, y1 = _around(hull)
        centre = np.array([x0 + x1, y0 + y1]) / 2
        outer = np.where(hull >= centre, hull + 1, hull) / self._scale
        return np.clip(np.rint(outer), 0, [self._width, self._height]).astype(np.int64)

    def _drawn(self, box: Box) -> Pixels:
        x0, y0, x1, y1 = (round(side * self._more) for side in box)
        return crop(self._drawn_hw, (x0, y0, x1, y1))


def _scans(screen: _Screen, box: Box, splits: int, *, is_pane: bool = False) -> list[_Scan]:
    """The scans inside a box: one for each pane, as far as panes may be told apart.

    Tissue has black layers from side to side, but no black from top to bottom. So panes one above
    the other need a line between them, or others beside them with a gap in the same rows.
    """
    scan = _scan(screen, box, is_pane=is_pane)
    if scan is None or splits == 0:
        return [] if scan is None else [scan]
    across, down = screen.splits(scan)
    if down is not None and (down.has_line or across is not None):
        rows = [_scans(screen, half, splits - 1, is_pane=True) for half in down.halves]
        if _are_panes(screen, scan, down, rows):
            return [*rows[0], *rows[1]]
    if across is not None:
        columns = [_scans(screen, half, splits - 1, is_pane=True) for half in across.halves]
        if _are_panes(screen, scan, across, columns):
            return [*columns[0], *columns[1]]
    return [scan]


def _are_panes(
    screen: _Screen, scan: _Scan, split: _PaneSplit, sides: Sequence[Sequence[_Scan]]
) -> bool:
    """Whether the sides of a gap are two scans and not one with a shadow, or with a preview.

    A scan that reaches both ends of the frame was cut out of its screen, and has no other pane
    unless a line says so.
    """
    start, end = scan.around[split.axis], scan.around[split.axis + 2]
    if not all(sides):
        return False
    is_cut_out = end - start >= WHOLE_SHARE * screen.small_hw.shape[1 - split.axis]
    if is_cut_out and not split.has_line and not scan.is_crowded:
        return False
    if min(part.fill for side in sides for part in side) < MIN_PANE_FILL:
        return False
    areas = [sum(cv2.contourArea(part.hull.astype(np.int32)) for part in side) for side in sides]
    if min(areas) < MIN_PANE_AREA * max(areas):
        return False
    along = [np.concatenate([part.hull[:, split.axis] for part in side]) for side in sides]
    shared = min(int(a.max()) for a in along) - max(int(a.min()) for a in along)
    return shared >= MIN_PANE_OVERLAP * min(int(np.ptp(a)) for a in along)


def _scan(screen: _Screen, box: Box, *, is_pane: bool) -> _Scan | None:
    """The scan inside a box as one; None without one."""
    inner = screen.without_strips(box)
    is_crowded, box = is_pane or inner != box, inner
    scan, inset_px = None, GROUND_INSET_PX if is_crowded else 0
    for _ in range(_PASSES):
        motion = None if screen.moving_hw is None else crop(screen.moving_hw, box)
        small_hw = crop(screen.small_hw, box)
        ground = _background(small_hw, inset_px)
        lit_hull = _hull(small_hw, motion, ground, keeps_layers=screen.is_declared)
        if lit_hull is None:
            break
        corners, fill, around = lit_hull
        hull = corners + np.array(box[:2])
        if scan is None:
            scan = _Scan(hull, fill, box, shifted(around, *box[:2]), ground, is_crowded)
        scan = replace(scan, hull=hull, fill=fill)
        tighter = _around(hull)
        if tighter == box or min(tighter[2] - tighter[0], tighter[3] - tighter[1]) < MIN_SIDE_PX:
            break
        box, inset_px = tighter, 0
    if scan is None and is_crowded and not is_pane:
        x0, y0, x1, y1 = inner
        hull = np.array([(x0, y0), (x1 - 1, y0), (x1 - 1, y1 - 1), (x0, y1 - 1)])
        return _Scan(hull, 0.0, inner, inner, 0, is_crowded)  # at least without the furniture
    return scan


def _hull(
    small_hw: Pixels, moving_hw: Pixels | None, ground: int, *, keeps_layers: bool
) -> tuple[npt.NDArray[np.int64], float, Box] | None:
    """Convex hull (corners, 2) of the scan, its lit share, and the box of all that looks so."""
    level_hw = np.full_like(small_hw, ground)
    lit_hw = above(cv2.absdiff(small_hw, level_hw), BACKGROUND_TOLERANCE)
    side = max(small_hw.shape)
    solid_hw = morphed(lit_hw, cv2.MORPH_OPEN, max(3, side // 36))
    solid_hw = morphed(solid_hw, cv2.MORPH_CLOSE, max(3, side // 24))
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
    if keeps_layers:
        layers = _layers(lit_hw, flat_hw, small_hw)
        corners = _corners([*large, *layers])
        return corners, _fill(lit_hw, corners), _around(corners)
    corners = of_all = _corners(large)
    fill = _fill(lit_hw, corners)
    if fill < 0.5 and len(large) > 1:
        corners = _corners(large[:1])
        fill = _fill(lit_hw, corners)
    return corners, fill, _around(of_all)


def _fill(lit_hw: Pixels, corners: npt.NDArray[np.int64]) -> float:
    """Lit share of a convex polygon."""
    inside_hw = np.zeros(lit_hw.shape, np.uint8)
    cv2.fillConvexPoly(inside_hw, corners.astype(np.int32), (1,))
    return share_of(lit_hw, inside_hw)


def _layers(lit_hw: Pixels, flat_hw: Pixels, small_hw: Pixels) -> list[Pixels]:
    """Layers of echoes that are too thin to be a part; letters are short, and bars are flat."""
    run_px = max(3, round(MIN_RUN_SHARE * lit_hw.shape[1]))
    thin_hw = cv2.morphologyEx(lit_hw, cv2.MORPH_OPEN, np.ones((2, run_px), np.uint8))
    count, labels_hw, stats, _ = cv2.connectedComponentsWithStats(thin_hw, connectivity=8)
    layers = []
    for label in range(1, count):
        across, down = int(stats[label, cv2.CC_STAT_WIDTH]), int(stats[label, cv2.CC_STAT_HEIGHT])
        if across < MIN_LAYER_SHARE * lit_hw.shape[1] or down < MIN_LAYER_PX:
            continue
        layer_hw = (labels_hw == label).astype(np.uint8)
        is_drawn = share_of(flat_hw, layer_hw) > 0.5
        if not is_drawn and _one_grey(histogram(small_hw, layer_hw)) <= 0.45:
            layers.append(layer_hw)
    return layers


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
        return share_of(moving_hw, part_hw) > 0.1
    lit_part_hw = np.asarray(cv2.bitwise_and(part_hw, lit_hw), np.uint8)
    if share_of(flat_hw, lit_part_hw) > 0.5:
        return False
    return _one_grey(histogram(small_hw, lit_part_hw)) <= 0.45


def _background(small_hw: Pixels, inset_px: int) -> int:
    """The most frequent grey along the border when it prevails there, else black."""
    if min(small_hw.shape) > 4 * inset_px > 0:
        small_hw = small_hw[inset_px:-inset_px, inset_px:-inset_px]
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
    how = (cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [line for part_hw in parts for line in cv2.findContours(part_hw, *how)[0]]
    hull = cv2.convexHull(np.concatenate(outlines))
    return np.asarray(hull.reshape(-1, 2), np.int64)


def _around(corners: npt.NDArray[np.int64]) -> Box:
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0) + 1
    return int(x0), int(y0), int(x1), int(y1)


def _scale(height_px: int, width_px: int) -> float:
    return min(1.0, WORK_SIDE_PX / max(height_px, width_px))
