"""Text burned into a frame: where it is, and a frame without it.

A small network (``text_finder.onnx``, trained by ``python -m training text-finder`` on drawn text
over real frames) classifies every 4 x 4 pixels as text or not; neighbours form a box. The text is
not read: it is never turned into characters.

Shape suffixes: h height, w width of a used region, r rows, c columns of cells.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from service.arrays import Floats, Pixels
from service.imaging.analysis.boxes import Box, clipped, crop, is_inside
from service.imaging.analysis.pixels import MIN_SIDE_PX, box_of, brightest, halved, shrunk

TextNetwork: TypeAlias = Callable[[Floats], Floats]

NETWORK = Path(__file__).with_name("text_finder.onnx")
CELL_PX = 4  # in the picture that the network gets
WORK_SIDE_PX = 960  # a longer frame is shrunk to this: its letters stay 6 px and more
LEAST_SIDE_PX = 96  # smaller frames were cut out of scans, and what looks like writing is tissue
SECOND_SIDE_PX = 160  # at half this size the network finds headings; smaller frames have none
SEED_LOGIT = 2.0  # a box needs one cell of at least this logit
GROW_LOGIT = 0.0  # and includes neighbours above this one
SECOND_SEED_LOGIT = 3.5  # vessels sometimes look like headings
MIN_CELLS = 4
REACH_PX = 64  # of a letter in the logits; the network sees 40 px in each direction
NO_TEXT_LOGIT = np.float32(-20)
# Tissue between bright lines looks like a line of letters, but its edges are alike and horizontal.
EVEN_EDGES = 2.8  # 95th percentile of the gradient over its median
HORIZONTAL_EDGES = 0.85  # gradient across over gradient down, in the middle rows


@dataclass(frozen=True, slots=True)
class TextBox:
    """Burned-in text: its box, and the confidence of its best cell."""

    box: Box
    confidence: float


class TextFinder:
    """Finds burned-in text with a network; threads may share it.

    Args:
        network: float32 frames (1, 1, h, w) in 0..1 -> float32 logits (1, 1, r, c). The file is
            ``NETWORK``; ``service.embedding.onnx_session`` opens it.
    """

    def __init__(self, network: TextNetwork) -> None:
        self._network = network

    def find(self, frame: Pixels, *, frame_side_px: int | None = None) -> tuple[TextBox, ...]:
        """Boxes of burned-in text, top first; none in a frame below ``LEAST_SIDE_PX``.

        Args:
            frame: uint8 (h, w) or (h, w, 3); the brightest channel is searched, so that red and
                blue letters are as bright as white letters.
            frame_side_px: longer side of a frame of which these pixels are a part; it is searched
                at the size at which the frame would be.
        """
        height, width = frame.shape[:2]
        side_px = frame_side_px or max(height, width)
        if side_px < LEAST_SIDE_PX:
            return ()
        small = at_work_size(frame, side_px)
        scale = small.shape[1] / width
        grey_hw = small if small.ndim == 2 else brightest(small)
        boxes = self._find_in(grey_hw, width, height, SEED_LOGIT)
        if min(side_px, WORK_SIDE_PX) >= 2 * SECOND_SIDE_PX:
            coarse = self._find_in(shrunk(grey_hw, 0.5), width, height, SECOND_SEED_LOGIT)
            added = [item for item in coarse if not is_covered(item, boxes)]
            boxes = [item for item in boxes if not is_covered(item, added)] + added
        boxes = [item for item in boxes if not _is_tissue(_part(grey_hw, item.box, scale))]
        return tuple(sorted(boxes, key=lambda item: (item.box[1], item.box[0])))

    def _find_in(self, grey_hw: Pixels, width: int, height: int, seed: float) -> list[TextBox]:
        """Boxes in pixels of the frame; ``grey_hw`` may be smaller than the frame."""
        step_x, step_y = CELL_PX * width / grey_hw.shape[1], CELL_PX * height / grey_hw.shape[0]
        boxes = _boxes(self._logits(grey_hw), step_x, step_y, width, height)
        return [item for item in boxes if item.confidence >= 1 / (1 + np.exp(-seed))]

    def _logits(self, grey_hw: Pixels) -> Floats:
        """Of every cell. What is black, and far from all that is not, holds no text."""
        rows, columns = (-(-side // CELL_PX) for side in grey_hw.shape)
        logits_rc = np.full((rows, columns), NO_TEXT_LOGIT)
        x0, y0, x1, y1 = box_of(grey_hw, REACH_PX)
        left, top = x0 // CELL_PX, y0 // CELL_PX
        if x1 > x0:
            part_rc = self._logits_of(grey_hw[top * CELL_PX : y1, left * CELL_PX : x1])
            down, across = part_rc.shape
            logits_rc[top : top + down, left : left + across] = part_rc
        return logits_rc

    def _logits_of(self, grey_hw: Pixels) -> Floats:
        # The network needs whole cells. The edge is repeated: black pixels would add an edge.
        down, right = -grey_hw.shape[0] % CELL_PX, -grey_hw.shape[1] % CELL_PX
        padded_hw = cv2.copyMakeBorder(grey_hw, 0, down, 0, right, cv2.BORDER_REPLICATE)
        frame_11hw = padded_hw[None, None].astype(np.float32)
        frame_11hw *= np.float32(1 / 255)
        return np.asarray(self._network(frame_11hw)[0, 0])


def _boxes(
    logits_rc: Floats, step_x: float, step_y: float, width: int, height: int
) -> list[TextBox]:
    if logits_rc.max() < SEED_LOGIT:
        return []  # as in nearly every frame
    cells_rc = (logits_rc > GROW_LOGIT).astype(np.uint8)
    # Gaps are closed sideways only, so that lines stay separate.
    joined_rc = cv2.morphologyEx(cells_rc, cv2.MORPH_CLOSE, np.ones((1, 3), np.uint8))
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(joined_rc, connectivity=8)
    labels_rc = np.asarray(numbers, np.int64)
    max_logits = np.full(count, -np.inf, np.float32)
    labelled_rc = labels_rc > 0  # few of the cells
    np.maximum.at(max_logits, labels_rc[labelled_rc], logits_rc[labelled_rc])
    boxes = []
    for label in range(1, count):
        left, top, across, down, area = (int(v) for v in stats[label])
        if area < MIN_CELLS or max_logits[label] < SEED_LOGIT:
            continue
        # One cell more on each side: letters may reach into cells below the limit.
        box = (
            int((left - 1) * step_x),
            int((top - 1) * step_y),
            int(np.ceil((left + across + 1) * step_x)),
            int(np.ceil((top + down + 1) * step_y)),
        )
        confidence = float(1 / (1 + np.exp(-max_logits[label])))
        boxes.append(TextBox(clipped(box, width, height), confidence))
    return boxes


def _part(grey_hw: Pixels, box: Box, scale: float) -> Pixels:
    """The pixels of a box of the frame in its smaller picture, at least one."""
    x0, y0, x1, y1 = (round(corner * scale) for corner in box)
    return crop(grey_hw, (x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))


def _is_tissue(part_hw: Pixels) -> bool:
    """Whether the pixels are an even texture that runs across, rather than strokes."""
    across_hw = np.abs(cv2.Sobel(part_hw, cv2.CV_32F, 1, 0))
    down_hw = np.abs(cv2.Sobel(part_hw, cv2.CV_32F, 0, 1))
    edges_hw = across_hw + down_hw
    if np.percentile(edges_hw, 95) >= EVEN_EDGES * max(float(np.median(edges_hw)), 1.0):
        return False
    rows = part_hw.shape[0]
    middle = slice(rows // 4, max(rows // 4 + 1, 3 * rows // 4))
    return bool(across_hw[middle].sum() < HORIZONTAL_EDGES * down_hw[middle].sum())


def at_work_size(frame: Pixels, side_px: int | None = None) -> Pixels:
    """The pixels themselves, or shrunk as a frame to ``WORK_SIDE_PX``.

    Linear interpolation takes an eighth of the time of means over areas; where more than every
    second line would be passed over, the frame is halved first.

    Args:
        side_px: longer side of the frame, where the pixels are only a part of it.
    """
    scale = WORK_SIDE_PX / (side_px or max(frame.shape[:2]))
    if scale >= 1:
        return frame
    # Even sides, because the second search halves them.
    height, width = (max(MIN_SIDE_PX, 2 * round(side * scale / 2)) for side in frame.shape[:2])
    halves = halved(frame, from_px=0, at_least=scale)
    return np.asarray(cv2.resize(halves, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def part_to_search(boxes: Sequence[Box], width: int, height: int) -> Box:
    """The part of a frame whose pixels decide on text inside some boxes.

    It begins on the grid of the cells of both searches, so that a frame that is searched at its own
    size has the same cells in the part.
    """
    x0, y0, x1, y1 = boxes[0]
    for left, top, right, bottom in boxes[1:]:
        x0, y0, x1, y1 = min(x0, left), min(y0, top), max(x1, right), max(y1, bottom)
    reach_px = math.ceil(REACH_PX * max(1.0, max(width, height) / WORK_SIDE_PX))
    grid_px = 2 * CELL_PX
    outer = (x0 - reach_px) // grid_px * grid_px, (y0 - reach_px) // grid_px * grid_px
    return clipped((*outer, x1 + reach_px, y1 + reach_px), width, height)


def is_covered(text: TextBox, others: Sequence[TextBox]) -> bool:
    """Whether one of the other boxes contains the whole box."""
    return any(is_inside(text.box, other.box, share=1.0) for other in others)


def without(frame_hw: Pixels, boxes: tuple[TextBox, ...]) -> Pixels:
    """A copy whose boxes are filled with the median grey of their own border."""
    clean_hw = frame_hw.copy()
    for item in boxes:
        inner_hw = crop(frame_hw, item.box)
        border = np.concatenate([inner_hw[0], inner_hw[-1], inner_hw[:, 0], inner_hw[:, -1]])
        crop(clean_hw, item.box)[:] = int(np.median(border))
    return clean_hw
