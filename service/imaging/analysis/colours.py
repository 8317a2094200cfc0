"""Colours over a scan: Doppler flow, and the colour scale beside it.

The brightest channel of flow looks like letters, so the text finder gets frames without flow. The
labels of a scale touch it, so they are masked together. White on bright blue has no contrast in
that channel, so the finder gets letters on coloured plates by their distance from the plate.

Shape suffixes: h height, w width, 3 = red, green, blue.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Pixels
from service.imaging.analysis.boxes import Box, area_px, clipped, crop, shifted
from service.imaging.analysis.pixels import above, box_of, brightest, darkest
from service.imaging.analysis.quality import STRONG_CHROMA, WEAK_CHROMA, percentile

PATCH_SHARE = 1 / 130  # of the longer side; the strokes of coloured letters are thinner
PATCH_PX = (3, 9)
HUES_APART = 5.0  # of 180: flow runs from red to yellow or blue to cyan; letters have one hue
SPLINTER_HUES_APART, SPECK_PX = 3.0, 8
RIM_PX, WHITE = 5, 120
SCALE_MIN_PX = (5, 20)  # across, down
MIN_GAP_PX = 5
SCALE_FILLED, SCALE_FLAT, SCALE_STEPS = 0.85, 10.0, 15.0
PLATE_MIN_PX = (24, 10)  # across, down
PLATE_FILLED, MAX_PLATES = 0.5, 8  # letters leave at least half of their ground
LABEL_DOWN, LABEL_ACROSS = 0.4, 0.75  # of the scale's sides: where its labels are


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


def find_colour_overlay(frame_hw3: Pixels, chroma_hw: Pixels) -> ColourOverlay | None:
    """Flow and scales of a frame in colour; None when it has no patch of strong colour."""
    strong_hw = above(chroma_hw, STRONG_CHROMA)
    side = round(max(strong_hw.shape) * PATCH_SHARE) | 1
    side = min(max(side, PATCH_PX[0]), PATCH_PX[1])
    patches_hw = _opened(strong_hw, side)
    if not cv2.countNonZero(patches_hw):
        return None
    weak_hw = above(chroma_hw, WEAK_CHROMA)
    # Colour covers little of most frames, and to number the parts of a whole one takes 5 ms.
    gap = max(MIN_GAP_PX, frame_hw3.shape[0] // 40)
    box = box_of(weak_hw, gap)
    part_hw3, weak_hw = np.ascontiguousarray(crop(frame_hw3, box)), crop(weak_hw, box)
    patches_hw = crop(patches_hw, box)
    near_px = _reach(strong_hw)
    in_part_hw = _flow(part_hw3, weak_hw, crop(strong_hw, box), patches_hw, near_px)
    flow_hw = np.zeros_like(strong_hw)
    crop(flow_hw, box)[:] = in_part_hw
    plates = _plates(np.asarray(cv2.bitwise_and(patches_hw, 1 - in_part_hw), np.uint8))
    height, width = strong_hw.shape
    scales = [shifted(scale, *box[:2]) for scale in _scales(part_hw3, weak_hw, gap)]
    return ColourOverlay(
        flow_hw,
        tuple(clipped(scale, width, height) for scale in scales),
        tuple(shifted(plate, *box[:2]) for plate in plates),
    )


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
    box = box_of(flow_hw, reach)
    part_hw, kept_hw = crop(grey_hw, box), 1 - crop(flow_hw, box)
    sums_hw = cv2.boxFilter(part_hw * kept_hw, cv2.CV_32S, (reach, reach), normalize=False)
    counts_hw = cv2.boxFilter(kept_hw, cv2.CV_32S, (reach, reach), normalize=False)
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
    count, _, stats, _ = cv2.connectedComponentsWithStats(patches_hw, connectivity=8)
    plates = []
    for label in range(1, count):
        left, top, across, down, area = (int(v) for v in stats[label])
        is_large = across >= PLATE_MIN_PX[0] and down >= PLATE_MIN_PX[1]
        if is_large and area >= PLATE_FILLED * across * down:
            plates.append((area, (left, top, left + across, top + down)))
    return tuple(box for _, box in sorted(plates, reverse=True)[:MAX_PLATES])


def _flow(
    frame_hw3: Pixels, weak_hw: Pixels, strong_hw: Pixels, patches_hw: Pixels, near_px: int
) -> Pixels:
    """Connected colour whose patches have several hues: letters and tints have one hue."""
    hue_hw = np.asarray(cv2.cvtColor(frame_hw3, cv2.COLOR_RGB2HSV)[..., 0], np.uint8)
    parts = _parts(weak_hw)
    flow_hw, rest = np.zeros_like(weak_hw), []
    for cut, part_hw in parts:
        if _hues_apart(hue_hw[cut][part_hw & (patches_hw[cut] > 0)]) > HUES_APART:
            flow_hw[cut][part_hw] = 1
        else:
            rest.append((cut, part_hw))
    if not cv2.countNonZero(flow_hw):
        return flow_hw
    near_hw = cv2.dilate(flow_hw, np.ones((near_px, near_px), np.uint8)) > 0
    for cut, part_hw in rest:  # splinters of flow are too thin for a patch
        hues = hue_hw[cut][part_hw & (strong_hw[cut] > 0)]
        is_splinter = len(hues) < SPECK_PX or _hues_apart(hues) > SPLINTER_HUES_APART
        if is_splinter and near_hw[cut][part_hw].any():
            flow_hw[cut][part_hw] = 1
    # The dark rim of flow belongs to it, but white letters that touch it do not.
    rim_hw = cv2.dilate(flow_hw, np.ones((RIM_PX, RIM_PX), np.uint8))
    rim_hw = np.asarray(cv2.bitwise_and(rim_hw, 1 - above(darkest(frame_hw3), WHITE)), np.uint8)
    return np.asarray(cv2.max(flow_hw, rim_hw), np.uint8)


def _parts(weak_hw: Pixels) -> list[tuple[tuple[slice, slice], npt.NDArray[np.bool_]]]:
    """The connected parts: the slices of the box of each, and its mask in the box."""
    count, labels_hw, stats, _ = cv2.connectedComponentsWithStats(weak_hw, connectivity=8)
    parts = []
    for label in range(1, count):
        left, top, across, down = (int(v) for v in stats[label][:4])
        cut = slice(top, top + down), slice(left, left + across)
        parts.append((cut, np.asarray(labels_hw[cut] == label)))
    return parts


def _reach(frame_hw: Pixels) -> int:
    """Side of the neighbourhood of a pixel; odd."""
    return int(max(frame_hw.shape) // 16) | 1


def _hues_apart(hues: Pixels) -> float:
    """From the 5th to the 95th percentile, on a circle of 180 that begins at red."""
    if not len(hues):
        return 0.0
    turned = (hues.astype(np.int16) + 60) % 180  # now it begins at a hue that no flow has
    counts = np.bincount(turned, minlength=1)
    return percentile(counts, 95) - percentile(counts, 5)


def _scales(frame_hw3: Pixels, weak_hw: Pixels, gap: int) -> tuple[Box, ...]:
    """Upright rectangles with one colour in each row, enlarged by the space of their labels.

    Args:
        gap: rows; the middle of a scale is black.
    """
    whole_hw = cv2.morphologyEx(weak_hw, cv2.MORPH_CLOSE, np.ones((gap, 1), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(whole_hw, connectivity=4)
    scales = []
    for label in range(1, count):
        left, top, across, down, area = (int(v) for v in stats[label])
        is_upright = across >= SCALE_MIN_PX[0] and down >= max(SCALE_MIN_PX[1], 1.2 * across)
        if not is_upright or area < SCALE_FILLED * across * down:
            continue
        inner = frame_hw3[top + 1 : top + down - 1, left + 1 : left + across - 1].astype(np.float32)
        steps = float(inner.mean(1).std(0).max())
        if float(inner.std(1).mean()) < SCALE_FLAT and steps > SCALE_STEPS:
            x, y = round(across * LABEL_ACROSS), round(down * LABEL_DOWN)
            scales.append((left - x, top - y, left + across + x, top + down + y))
    return tuple(scales)
