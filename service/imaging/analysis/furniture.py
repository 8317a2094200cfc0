"""What a machine draws around and between scans: strips along the edges, gaps between panes.

A strip (header, status bar, side panel) has one grey, or one that changes evenly along it, and
ends with a straight edge from side to side. Tissue has no such grey over black and no such edge.
Two panes are apart when nothing but black, or a line from end to end, lies between them.

Shape suffixes: h height, w width of a picture of a few hundred pixels; l lines, p places on a line.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Pixels
from service.imaging.analysis.boxes import Box, crop
from service.imaging.analysis.pixels import above

FLAT_STEP = 2  # grey levels from the ground of a strip; compression adds one or two
EDGE_STEP = 4  # grey levels, where a strip ends
MIN_STRIP_PX = 3
MAX_STRIP_SHARE = 0.45  # of the side of the frame that a strip eats
MIN_GROUND_SHARE = 0.5  # of a strip; the rest is writing and buttons
MIN_LAST_SHARE = 0.55  # of its last line
MIN_EDGE_SHARE = 0.6  # of the end of a strip; the picture may have the same grey elsewhere
PURE_SHARE, MIN_PURE_LINES = 0.9, 0.2  # lines without writing, and their share of a strip
UNWRITTEN_SHARE = 0.98  # of ground in a strip that holds no letter
MAX_STRIPS = 8
FIRST_LINES = 48  # read before the others: a header ends in them
PIECES = 8  # of a line; in each the ground of a strip changes evenly

MIN_CLEAR_SHARE = 0.995  # of a column between two panes; above a shadow lies lit tissue
MAX_UNEVEN = 2.0  # mean grey levels from a pixel to the next, in black and along a line
MIN_LINE_SHARE = 0.95  # of a column that is a line between two panes
EVEN_STEP, LINE_STEP = 4, 8  # grey levels along a line, and between it and black
LINE_PX, MIN_BLACK_BESIDE = 3, 0.4  # a pane may touch the line in the other rows
RIM_PX, RIM_STEP = 2, 10  # a pane is brighter than black by so much within so few pixels
MIN_SHARP_SHARE = 0.15  # of the rows of a pane; dark tissue ends unseen in the others
MIN_GAP_PX = 2
MIN_PANE_SHARE = 0.15  # of the width of both panes


def without_strips(small_hw: Pixels, dark: int, *, only_written: bool = False) -> Box:
    """The box of the picture that is left when all drawn strips are taken off its edges.

    Args:
        small_hw: uint8.
        dark: the grey that counts as black; a black strip is a margin and no furniture.
        only_written: leave strips without writing, which may be a saturated near field.
    """
    height, width = small_hw.shape
    box: Box = (0, 0, width, height)
    for _ in range(MAX_STRIPS):
        tighter = _without_one(small_hw, box, dark, only_written)
        if tighter == box:
            break
        box = tighter
    return box


def _without_one(small_hw: Pixels, box: Box, dark: int, only_written: bool) -> Box:
    x0, y0, x1, y1 = box
    part_hw = crop(small_hw, box)
    if top := _strip_px(part_hw, dark, only_written):
        return x0, y0 + top, x1, y1
    if bottom := _strip_px(part_hw[::-1], dark, only_written):
        return x0, y0, x1, y1 - bottom
    if left := _strip_px(part_hw.T, dark, only_written):
        return x0 + left, y0, x1, y1
    return x0, y0, x1 - _strip_px(part_hw.T[::-1], dark, only_written), y1


def _strip_px(lines_lp: Pixels, dark: int, only_written: bool) -> int:
    """How many lines from the first on are one drawn strip; 0 without one."""
    longest = int(len(lines_lp) * MAX_STRIP_SHARE) + 2
    if longest < MIN_STRIP_PX + 2 or lines_lp.shape[1] < 4 * PIECES:
        return 0
    first = lines_lp[:MIN_STRIP_PX].astype(np.int16)
    if not _may_begin_strip(first, dark) or _ground_share(first, dark)[1].mean() < MIN_GROUND_SHARE:
        return 0  # as in nearly every frame
    counts = (FIRST_LINES, longest) if longest > 2 * FIRST_LINES else (longest,)
    ends = (_end_of_strip(lines_lp[:count], dark) for count in counts)
    end, share = next((found for found in ends if found is not None), (0, 0.0))
    return 0 if only_written and share >= UNWRITTEN_SHARE else end


def _end_of_strip(lines_lp: Pixels, dark: int) -> tuple[int, float] | None:
    """How many of some lines are the strip, and the share of ground in it; None without an end.

    Each place is judged by the lines before it and two behind it, so more lines change nothing.
    """
    lines = lines_lp.astype(np.int16)
    ground_lp, share_l = _ground_share(lines, dark)
    count_l = np.arange(1, len(lines) + 1)
    upto_l = share_l.cumsum() / count_l
    pure_l = (share_l >= PURE_SHARE).cumsum() / count_l
    # A line between strip and picture mixes both, so the edge is looked for over two lines.
    edge_l = (np.abs(lines[2:] - ground_lp[:-2]) > EDGE_STEP).mean(1)
    ends_l = (
        (edge_l >= MIN_EDGE_SHARE)
        & (share_l[2:] < MIN_GROUND_SHARE)
        & (share_l[:-2] >= MIN_LAST_SHARE)
        & (upto_l[:-2] >= MIN_GROUND_SHARE)
        & (pure_l[:-2] >= MIN_PURE_LINES)
    )
    ends_l[: MIN_STRIP_PX - 1] = False
    end = int(ends_l.argmax())
    return (end + 2, float(upto_l[end])) if ends_l.any() else None


def _may_begin_strip(lines: npt.NDArray[np.int16], dark: int) -> bool:
    """Whether half of the first lines is brighter than black and changes slowly."""
    if np.count_nonzero(lines > dark) < MIN_GROUND_SHARE * lines.size:
        return False
    steps = np.abs(lines[:, 1:] - lines[:, :-1])
    return bool(np.count_nonzero(steps <= FLAT_STEP) >= MIN_GROUND_SHARE * steps.size)


def _ground_share(
    lines: npt.NDArray[np.integer], dark: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """The grey under the writing, which may change along a line, and its share of each line."""
    count, places = lines.shape
    piece = places // PIECES
    pieces = lines[:, : piece * PIECES].reshape(count, PIECES, piece)
    # Letters cover less than half of their line.
    medians = np.median(pieces, axis=2).astype(np.float32)
    at = ((np.arange(places) - (piece - 1) / 2) / piece).astype(np.float32)  # middles of pieces
    before = np.clip(at.astype(np.int64), 0, PIECES - 2)
    steps = np.diff(medians, axis=1)
    ground_lp = medians[:, before] + steps[:, before] * (at - before).astype(np.float32)
    is_ground_lp = (np.abs(lines - ground_lp) <= FLAT_STEP) & (ground_lp > dark)
    return np.asarray(ground_lp), is_ground_lp.mean(1)


@dataclass(frozen=True, slots=True)
class Gap:
    """A straight gap from one end of a picture to the other.

    Attributes:
        start, end: columns, half open.
        has_line: a line is drawn in it from end to end.
    """

    start: int
    end: int
    has_line: bool


def gap_between_panes(small_hw: Pixels, dark: int) -> Gap | None:
    """The gap between two panes side by side that fill the picture; None without one.

    A shadow is black as well, but fades in; a pane ends at once. A line beside which nothing is
    black is a cursor in a scan.

    Args:
        small_hw: uint8, cut to the rows in which the scans are.
        dark: the grey that counts as black.
    """
    width = small_hw.shape[1]
    margin = max(MIN_GAP_PX, round(MIN_PANE_SHARE * width))
    inner_hw = np.ascontiguousarray(small_hw[:, margin : width - margin])
    if inner_hw.shape[0] < MIN_GAP_PX or inner_hw.shape[1] < MIN_GAP_PX:
        return None
    steps_hw = np.asarray(cv2.absdiff(inner_hw[1:], inner_hw[:-1]), np.uint8)
    is_even_w = _mean_w(steps_hw) <= MAX_UNEVEN
    if not is_even_w.any():
        return None  # as in nearly every frame
    black_w = 1 - _mean_w(above(inner_hw, dark))
    is_line_w = _are_lines(inner_hw, is_even_w, black_w, dark)
    is_clear_w = np.concatenate([[False], (black_w >= MIN_CLEAR_SHARE) | is_line_w, [False]])
    edges = np.flatnonzero(is_clear_w[1:] != is_clear_w[:-1]).tolist()
    gaps = [
        Gap(start + margin, end + margin, bool(is_line_w[start:end].any()))
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]
    drawn = [gap for gap in gaps if gap.has_line or _is_drawn(small_hw, gap, dark)]
    return max(drawn, key=lambda gap: (gap.has_line, gap.end - gap.start), default=None)


def _are_lines(
    inner_hw: Pixels, is_even_w: Bools, black_w: npt.NDArray[np.float64], dark: int
) -> Bools:
    """For each column whether it is a line: one grey from end to end, and black beside it."""
    is_line_w = is_even_w & (black_w <= 1 - MIN_LINE_SHARE)
    columns = np.flatnonzero(is_line_w)
    if not len(columns):
        return is_line_w
    lines_hc = inner_hw[:, columns].astype(np.int16)
    levels_c = np.median(lines_hc, axis=0)
    even_c = (np.abs(lines_hc - levels_c) <= EVEN_STEP).mean(0)
    near = np.clip(columns[:, None] + np.arange(-LINE_PX, LINE_PX + 1), 0, len(black_w) - 1)
    is_line_w[columns] = (
        (levels_c > dark + LINE_STEP)
        & (even_c >= MIN_LINE_SHARE)
        & (black_w[near].max(1) >= MIN_BLACK_BESIDE)
    )
    return is_line_w


def _is_drawn(small_hw: Pixels, gap: Gap, dark: int) -> bool:
    """Whether the pictures on both sides of a black gap end at once, in most of their rows."""
    if gap.end - gap.start < MIN_GAP_PX:
        return False
    sides = small_hw[:, : gap.start], small_hw[:, gap.end :][:, ::-1]
    return min(_sharp_share(side_hw, dark) for side_hw in sides) >= MIN_SHARP_SHARE


def _sharp_share(side_hw: Pixels, dark: int) -> float:
    """Share of the rows whose last lit pixels are much brighter than black."""
    lit_hw = side_hw > dark
    rows = np.flatnonzero(lit_hw.any(1))
    if not len(rows):
        return 0.0
    last_h = side_hw.shape[1] - 1 - lit_hw[rows, ::-1].argmax(1)
    near = [side_hw[rows, np.maximum(0, last_h - back)] for back in range(RIM_PX)]
    return float((np.max(near, axis=0) > dark + RIM_STEP).mean())


def _mean_w(values_hw: Pixels) -> npt.NDArray[np.float64]:
    """The mean of each column."""
    means_1w = cv2.reduce(values_hw, 0, cv2.REDUCE_AVG, dtype=cv2.CV_64F)
    return np.asarray(means_1w[0], np.float64)
