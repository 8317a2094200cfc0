"""Letters burned into a frame: where they are, and a frame without them.

A small network (``text_finder.onnx``, taught by ``python -m training text-finder`` on drawn text
over real frames) says for every 4 x 4 pixels whether they belong to writing; neighbours make a
box. It reads nothing: what is written never becomes text anywhere.

Shape suffixes: h height, w width of a used region, r rows, c columns of cells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from service.imaging.analysis.grey_levels import brightest

Pixels: TypeAlias = npt.NDArray[np.uint8]
Box: TypeAlias = tuple[int, int, int, int]
TextNetwork: TypeAlias = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]

NETWORK = Path(__file__).with_name("text_finder.onnx")
CELL_PX = 4  # of the picture that the network sees
WORK_SIDE_PX = 640  # a longer frame is shrunk to this: its letters stay 6 px and more
SECOND_SIDE_PX = 160  # at half its size the network sees headings; smaller frames have none
SEED_LOGIT = 1.5  # a box needs one cell that is as sure as this
GROW_LOGIT = -0.5  # and takes in its neighbours down to this
SECOND_SEED_LOGIT = 3.0  # vessels look like headings now and then
MIN_CELLS = 4
# Tissue between bright lines looks like a line of letters; but its edges are all alike, and lie.
EVEN_EDGES = 2.8  # 95th percentile of the gradient over its median
LYING_EDGES = 0.85  # gradient across over gradient down, in the middle rows


@dataclass(frozen=True, slots=True)
class TextBox:
    """Writing: half open pixels x0, y0, x1, y1, and how sure its surest cell is, 0..1."""

    box: Box
    confidence: float


class TextFinder:
    """Finds writing by a network; threads may share it.

    Args:
        network: float32 frames (1, 1, h, w) in 0..1 -> float32 logits (1, 1, r, c). The file is
            ``NETWORK``; ``service.embedding.onnx_session`` opens it.
    """

    def __init__(self, network: TextNetwork) -> None:
        self._network = network

    def find(self, frame: Pixels) -> tuple[TextBox, ...]:
        """Boxes of writing, top first.

        Args:
            frame: uint8 (h, w), or (h, w, 3): the brightest channel counts, so that red and blue
                letters are no darker than white ones.
        """
        height, width = frame.shape[:2]
        scale = min(1.0, WORK_SIDE_PX / max(height, width))
        grey_hw = _brightest(_shrunk(frame, scale))
        found = self._find_in(grey_hw, width, height, SEED_LOGIT)
        if max(grey_hw.shape) >= 2 * SECOND_SIDE_PX:
            coarse = self._find_in(_shrunk(grey_hw, 0.5), width, height, SECOND_SEED_LOGIT)
            fresh = [item for item in coarse if not _is_known(item.box, found)]
            found = [item for item in found if not _is_known(item.box, fresh)] + fresh
        found = [item for item in found if not _is_tissue(_part(grey_hw, item.box, scale))]
        return tuple(sorted(found, key=lambda item: (item.box[1], item.box[0])))

    def _find_in(self, grey_hw: Pixels, width: int, height: int, seed: float) -> list[TextBox]:
        """Boxes in pixels of the frame, of which ``grey_hw`` is a picture of any size."""
        step_x, step_y = CELL_PX * width / grey_hw.shape[1], CELL_PX * height / grey_hw.shape[0]
        found = _boxes(self._logits(grey_hw), step_x, step_y, width, height)
        return [item for item in found if item.confidence >= 1 / (1 + np.exp(-seed))]

    def _logits(self, grey_hw: Pixels) -> npt.NDArray[np.float32]:
        # Whole cells only; the edge is repeated, for a black one would be an edge of its own.
        down, right = -grey_hw.shape[0] % CELL_PX, -grey_hw.shape[1] % CELL_PX
        padded_hw = cv2.copyMakeBorder(grey_hw, 0, down, 0, right, cv2.BORDER_REPLICATE)
        frame_11hw = padded_hw[None, None].astype(np.float32) / np.float32(255)
        logits_rc: npt.NDArray[np.float32] = self._network(frame_11hw)[0, 0]
        return logits_rc


def _shrunk(frame: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return frame
    height, width = frame.shape[:2]
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _brightest(frame: Pixels) -> Pixels:
    return frame if frame.ndim == 2 else brightest(frame)


def _boxes(
    logits_rc: npt.NDArray[np.float32], step_x: float, step_y: float, width: int, height: int
) -> list[TextBox]:
    cells_rc = (logits_rc > GROW_LOGIT).astype(np.uint8)
    # Gaps between words are closed sideways only: lines stay apart.
    joined_rc = cv2.morphologyEx(cells_rc, cv2.MORPH_CLOSE, np.ones((1, 3), np.uint8))
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(joined_rc, connectivity=8)
    labels_rc = np.asarray(numbers, np.int64)
    if count == 1:
        return []
    surest = np.full(count, -np.inf, np.float32)
    np.maximum.at(surest, labels_rc.ravel(), logits_rc.ravel())
    found = []
    for label in range(1, count):
        left, top, across, down, area = (int(v) for v in stats[label])
        if area < MIN_CELLS or surest[label] < SEED_LOGIT:
            continue
        # A cell more on each side: letters reach over the cells that are surely theirs.
        box = (
            max(0, int((left - 1) * step_x)),
            max(0, int((top - 1) * step_y)),
            min(width, int(np.ceil((left + across + 1) * step_x))),
            min(height, int(np.ceil((top + down + 1) * step_y))),
        )
        found.append(TextBox(box, float(1 / (1 + np.exp(-surest[label])))))
    return found


def _part(grey_hw: Pixels, box: Box, scale: float) -> Pixels:
    """What lies under a box of the frame in its smaller picture."""
    x0, y0, x1, y1 = (round(corner * scale) for corner in box)
    return grey_hw[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _is_tissue(part_hw: Pixels) -> bool:
    """Whether a box holds even texture that runs across, rather than strokes on a ground."""
    across_hw = np.abs(cv2.Sobel(part_hw, cv2.CV_32F, 1, 0))
    down_hw = np.abs(cv2.Sobel(part_hw, cv2.CV_32F, 0, 1))
    edges_hw = across_hw + down_hw
    if np.percentile(edges_hw, 95) >= EVEN_EDGES * max(float(np.median(edges_hw)), 1.0):
        return False
    rows = part_hw.shape[0]
    middle = slice(rows // 4, max(rows // 4 + 1, 3 * rows // 4))
    return bool(across_hw[middle].sum() < LYING_EDGES * down_hw[middle].sum())


def _is_known(box: Box, others: list[TextBox]) -> bool:
    """Whether all of a box, but for the cell around it, lies in one of the others."""
    x0, y0, x1, y1 = box
    return any(
        x0 >= o.box[0] and y0 >= o.box[1] and x1 <= o.box[2] and y1 <= o.box[3] for o in others
    )


def without(frame_hw: Pixels, boxes: tuple[TextBox, ...]) -> Pixels:
    """A copy whose boxes are filled with the median grey of their own border."""
    clean_hw = frame_hw.copy()
    for item in boxes:
        x0, y0, x1, y1 = item.box
        inner_hw = frame_hw[y0:y1, x0:x1]
        border = np.concatenate([inner_hw[0], inner_hw[-1], inner_hw[:, 0], inner_hw[:, -1]])
        clean_hw[y0:y1, x0:x1] = int(np.median(border))
    return clean_hw
