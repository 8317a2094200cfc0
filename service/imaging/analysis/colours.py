"""Colours over a scan: Doppler flow, and the colour scale beside it.

The brightest channel of flow looks like letters, so the text finder gets frames without flow. The
labels of a scale touch it, so they are masked together. White on bright blue has no contrast in
that channel, so the finder gets letters on coloured plates by their distance from the plate.

Shape suffixes: h height, w width, 3 = red, green, blue, n connected parts, p pixels of some parts,
r rows of a table of hues.
"""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Pixels
from service.imaging.analysis.boxes import Box, area_px, clipped, crop, shifted
from service.imaging.analysis.pixels import above, box_of, brightest, darkest
from service.imaging.analysis.quality import STRONG_CHROMA, WEAK_CHROMA

PATCH_SHARE = 1 / 130  # of the longer side; the strokes of coloured letters are thinner
PATCH_PX = (3, 9)
HUES_APART = 5.0  # of 180: flow runs from red to yellow or blue to cyan; letters have one hue
SPLINTER_HUES_APART, SPECK_PX = 3.0, 8
RIM_PX, WHITE = 5, 120
SCALE_MIN_PX = (5, 20)  # across, down
MIN_GAP_PX, MAX_GAP_PX = 5, 200
MAX_REACH_PX = 511  # of a neighbourhood; frames of 8,000 px and more have no larger ones
HUES = 180
# A frame has a few hundred parts at most, but a drawn picture may have millions.
MAX_PARTS, MAX_SCALES = 4096, 64
SCALE_FILLED, SCALE_FLAT, SCALE_STEPS = 0.85, 10.0, 15.0
PLATE_MIN_PX = (24, 10)  # across, down
PLATE_FILLED, MAX_PLATES = 0.5, 8  # letters leave at least half of their ground
LABEL_DOWN, LABEL_ACROSS = 0.4, 0.75  # of the scale's sides: where its labels are

Ints: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class ColourOverlay:
    """Colour of one frame.

    Attributes:
        flow_hw: 1 where colour flow or a scale is, else 0.
        scales: boxes of colour scales with the labels around them.
        plates: boxes of grounds of one colour that are large enough for writing.
    """

    flow_hw: Pixels
    scales: tuple[Box, ...]
    plates: tuple[Box, ...]


def find_colour_overlay(
    frame_hw3: Pixels, chroma_hw: Pixels, coloured: Box | None = None
) -> ColourOverlay | None:
    """Flow and scales of a frame in colour; None when it has no patch of strong colour.

    Args:
        frame_hw3: uint8.
        chroma_hw: see ``pixels.chroma``.
        coloured: a box outside which no pixel has a colour, where the caller knows one; the rest
            of the frame is not looked at.
    """
    height, width = chroma_hw.shape
    side = round(max(height, width) * PATCH_SHARE) | 1
    side = min(max(side, PATCH_PX[0]), PATCH_PX[1])
    gap = min(max(MIN_GAP_PX, height // 40), MAX_GAP_PX)
    # Colour covers little of most frames, and to number the parts of a whole one takes 5 ms.
    near = _with_margin(coloured or (0, 0, width, height), max(side, gap), width, height)
    strong_hw = above(crop(chroma_hw, near), STRONG_CHROMA)
    patches_hw = _opened(strong_hw, side)
    if not cv2.countNonZero(patches_hw):
        return None
    weak_hw = above(crop(chroma_hw, near), WEAK_CHROMA)
    inner = box_of(weak_hw, gap)
    weak_hw, strong_hw, patches_hw = (
        crop(mask_hw, inner) for mask_hw in (weak_hw, strong_hw, patches_hw)
    )
    box = shifted(inner, *near[:2])
    part_hw3 = np.ascontiguousarray(crop(frame_hw3, box))
    in_part_hw = _flow(part_hw3, weak_hw, strong_hw, patches_hw, _reach(chroma_hw))
    flow_hw = np.zeros_like(chroma_hw)
    crop(flow_hw, box)[:] = in_part_hw
    plates = _plates(np.asarray(cv2.bitwise_and(patches_hw, 1 - in_part_hw), np.uint8))
    scales = [shifted(scale, *box[:2]) for scale in _scales(part_hw3, weak_hw, gap)]
    return ColourOverlay(
        flow_hw,
        tuple(clipped(scale, width, height) for scale in scales),
        tuple(shifted(plate, *box[:2]) for plate in plates),
    )


def _with_margin(box: Box, margin_px: int, width: int, height: int) -> Box:
    """The box, enlarged inside a frame."""
    x0, y0, x1, y1 = box
    return clipped((x0 - margin_px, y0 - margin_px, x1 + margin_px, y1 + margin_px), width, height)


def _opened(strong_hw: Pixels, side: int) -> Pixels:
    """The patches of at least ``side`` pixels; only the box of the colour is looked at."""
    box = box_of(strong_hw, side)  # with a margin, at whose edge the opening finds nothing
    patches_hw = np.zeros_like(strong_hw)
    if area_px(box):
        square = np.ones((side, side), np.uint8)
        crop(patches_hw, box)[:] = cv2.morphologyEx(crop(strong_hw, box), cv2.MORPH_OPEN, square)
    return patches_hw


def without_flow(grey_hw: Pixels, flow_hw: Pixels) -> Pixels:
    """The brightest channel (h, w), with flow replaced by the grey around it."""
    if not cv2.countNonZero(flow_hw):
        return grey_hw
    grey_hw = grey_hw.copy()
    reach = _reach(flow_hw)
    box = box_of(flow_hw, max(reach))
    part_hw, kept_hw = crop(grey_hw, box), 1 - crop(flow_hw, box)
    sums_hw = cv2.boxFilter(part_hw * kept_hw, cv2.CV_32S, reach, normalize=False)
    counts_hw = cv2.boxFilter(kept_hw, cv2.CV_32S, reach, normalize=False)
    fill_hw = (np.asarray(sums_hw) // np.maximum(counts_hw, 1)).astype(np.uint8)
    part_hw[kept_hw == 0] = fill_hw[kept_hw == 0]
    return grey_hw


def on_plates(frame_hw3: Pixels, plates: tuple[Box, ...]) -> Pixels:
    """How far each pixel of a plate is from its ground, (h, w); black outside the plates."""
    distance_hw = np.zeros(frame_hw3.shape[:2], np.uint8)
    for plate in plates:
        part_hw3 = crop(frame_hw3, plate)
        ground_3 = np.median(part_hw3.reshape(-1, 3), axis=0).astype(np.uint8)
        ground_hw3 = np.broadcast_to(ground_3, part_hw3.shape).copy()
        apart_hw3 = np.asarray(cv2.absdiff(np.ascontiguousarray(part_hw3), ground_hw3), np.uint8)
        crop(distance_hw, plate)[:] = brightest(apart_hw3)
    return distance_hw


def _plates(patches_hw: Pixels) -> tuple[Box, ...]:
    """Boxes of the largest connected patches; letters are holes in them."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(patches_hw, connectivity=8)
    across_n, down_n, area_n = stats[1:, 2], stats[1:, 3], stats[1:, 4].astype(np.int64)
    is_large_n = (across_n >= PLATE_MIN_PX[0]) & (down_n >= PLATE_MIN_PX[1])
    is_filled_n = area_n >= PLATE_FILLED * across_n * down_n
    plates = [
        (area, (left, top, left + across, top + down))
        for left, top, across, down, area in stats[1:][is_large_n & is_filled_n].tolist()
    ]
    return tuple(box for _, box in sorted(plates, reverse=True)[:MAX_PLATES])


def _flow(
    frame_hw3: Pixels,
    weak_hw: Pixels,
    strong_hw: Pixels,
    patches_hw: Pixels,
    near_px: tuple[int, int],
) -> Pixels:
    """Connected colour whose patches have several hues: letters and tints have one hue."""
    hue_hw = np.asarray(cv2.cvtColor(frame_hw3, cv2.COLOR_RGB2HSV)[..., 0], np.uint8)
    count, numbers_hw = cv2.connectedComponents(weak_hw, connectivity=8)
    part_hw, is_patch_hw = np.asarray(numbers_hw, np.int32), patches_hw > 0
    is_flow_n = _hues_apart(part_hw[is_patch_hw], hue_hw[is_patch_hw], count) > HUES_APART
    flow_hw = is_flow_n.astype(np.uint8)[part_hw]
    if not is_flow_n.any():
        return flow_hw
    rest_hw = np.asarray(cv2.subtract(weak_hw, flow_hw), np.uint8)
    near_hw = cv2.bitwise_and(cv2.dilate(flow_hw, np.ones(near_px[::-1], np.uint8)), rest_hw)
    is_near_n = np.zeros(count, bool)
    is_near_n[part_hw[near_hw > 0]] = True
    # Splinters of flow are too thin for a patch.
    is_strong_hw = cv2.bitwise_and(strong_hw, rest_hw) > 0
    part_p, hue_p = part_hw[is_strong_hw], hue_hw[is_strong_hw]
    strong_n = np.bincount(part_p, minlength=count)
    is_asked_p = (is_near_n & (strong_n >= SPECK_PX))[part_p]
    apart_n = _hues_apart(part_p[is_asked_p], hue_p[is_asked_p], count)
    is_splinter_n = is_near_n & ((strong_n < SPECK_PX) | (apart_n > SPLINTER_HUES_APART))
    if is_splinter_n.any():
        flow_hw = (is_flow_n | is_splinter_n).astype(np.uint8)[part_hw]
    # The dark rim of flow belongs to it, but white letters that touch it do not.
    rim_hw = cv2.dilate(flow_hw, np.ones((RIM_PX, RIM_PX), np.uint8))
    rim_hw = np.asarray(cv2.bitwise_and(rim_hw, 1 - above(darkest(frame_hw3), WHITE)), np.uint8)
    return np.asarray(cv2.max(flow_hw, rim_hw), np.uint8)


def _reach(frame_hw: Pixels) -> tuple[int, int]:
    """Sides of the neighbourhood of a pixel, across and down; odd.

    What reaches beyond both ends of a thin frame would change nothing, but OpenCV holds as many
    rows as a neighbourhood has.
    """
    height, width = frame_hw.shape
    side = min(max(height, width) // 16, MAX_REACH_PX) | 1
    return min(side, 2 * width + 1), min(side, 2 * height + 1)


def _hues_apart(part_p: Ints, hue_p: Pixels, count: int) -> npt.NDArray[np.float64]:
    """For each part, from the 5th to the 95th percentile of hues, on a circle of 180.

    It begins at red. A part of which no pixel is given, or that is not among the largest
    ``MAX_PARTS``, has 0.

    Args:
        part_p: number of the part of each pixel, below ``count``.
        hue_p: of the same pixels.
    """
    apart_n = np.zeros(count, np.float64)
    pixels_n = np.bincount(part_p, minlength=count)
    asked = np.flatnonzero(pixels_n)
    if len(asked) > MAX_PARTS:
        asked = np.sort(asked[np.argsort(-pixels_n[asked], kind="stable")[:MAX_PARTS]])
    if not len(asked):
        return apart_n
    row_n = np.full(count, -1, np.int32)
    row_n[asked] = np.arange(len(asked), dtype=np.int32)
    # Turned, the circle begins at a hue that no flow has.
    place_p = row_n[part_p] * np.int32(HUES) + (hue_p.astype(np.int32) + 60) % HUES
    counts_rh = np.bincount(place_p[place_p >= 0], minlength=len(asked) * HUES)
    upto_rh = counts_rh.reshape(len(asked), HUES).cumsum(1)
    apart_n[asked] = _percentile(upto_rh, 95) - _percentile(upto_rh, 5)
    return apart_n


def _percentile(upto_rh: npt.NDArray[np.int64], percent: float) -> npt.NDArray[np.float64]:
    """As ``quality.percentile`` for each row, from running sums."""
    place_r = percent / 100 * (upto_rh[:, -1] - 1)
    below_r, above_r = (
        (upto_rh <= end_r[:, None]).sum(1) for end_r in (np.floor(place_r), np.ceil(place_r))
    )
    return np.asarray(below_r + (above_r - below_r) * (place_r - np.floor(place_r)))


def _scales(frame_hw3: Pixels, weak_hw: Pixels, gap: int) -> tuple[Box, ...]:
    """Upright rectangles with one colour in each row, enlarged by the space of their labels.

    Args:
        gap: rows; the middle of a scale is black.
    """
    whole_hw = cv2.morphologyEx(weak_hw, cv2.MORPH_CLOSE, np.ones((gap, 1), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(whole_hw, connectivity=4)
    across_n, down_n, area_n = stats[1:, 2], stats[1:, 3], stats[1:, 4].astype(np.int64)
    is_upright_n = (across_n >= SCALE_MIN_PX[0]) & (
        down_n >= np.maximum(SCALE_MIN_PX[1], 1.2 * across_n)
    )
    is_filled_n = area_n >= SCALE_FILLED * across_n * down_n
    scales = []
    for left, top, across, down, _ in _largest(stats[1:][is_upright_n & is_filled_n], MAX_SCALES):
        inner = frame_hw3[top + 1 : top + down - 1, left + 1 : left + across - 1].astype(np.float32)
        steps = float(inner.mean(1).std(0).max())
        if float(inner.std(1).mean()) < SCALE_FLAT and steps > SCALE_STEPS:
            x, y = round(across * LABEL_ACROSS), round(down * LABEL_DOWN)
            scales.append((left - x, top - y, left + across + x, top + down + y))
    return tuple(scales)


def _largest(stats_n5: Ints, most: int) -> list[list[int]]:
    """Left, top, width, height and area of the largest parts, in the order of their numbers."""
    chosen = np.sort(np.argsort(-stats_n5[:, cv2.CC_STAT_AREA], kind="stable")[:most])
    return [list(map(int, row)) for row in stats_n5[chosen]]
