"""Drawn screens of a machine: echoes in a sector or rectangle, surrounded by text.

Shape suffixes: H height, W width.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from service.imaging.analysis.frame_analysis import (
    AnalyzedFrame,
    RegionMode,
    analyze_frame,
    choose_regions,
)
from service.imaging.analysis.text import TextFinder
from service.imaging.formats.frames import DicomRegion

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]


def speckle(height: int, width: int, seed: int = 0) -> Pixels:
    """Tissue: smoothed Rayleigh noise that fades with depth."""
    rng = np.random.default_rng(seed)
    echoes = cv2.GaussianBlur(rng.rayleigh(60, (height, width)).astype(np.float32), (0, 0), 1.5)
    depth = np.linspace(1.2, 0.5, height, dtype=np.float32)[:, None]
    return np.clip(echoes * depth, 8, 255).astype(np.uint8)


def say(frame: Pixels, text: str, x: int, y: int, *, grey: int = 230, size: float = 0.6) -> None:
    """Write with the baseline at (x, y)."""
    cv2.putText(frame, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (grey,) * 3, 1, cv2.LINE_AA)


def screen(seed: int = 0) -> tuple[Pixels, Box]:
    """600 x 800: a rectangle of tissue, a banner with a name, a ruler, a grey bar; and its box."""
    screen_HW = np.zeros((600, 800), np.uint8)
    box = (220, 90, 620, 540)
    screen_HW[90:540, 220:620] = speckle(450, 400, seed)
    screen_HW[:40] = 70
    say(screen_HW, "DOE, JANE  1961-04-02", 20, 27)
    for line, text in enumerate(("Gain 60", "12 cm", "MI 1.1", "TIS 0.4")):
        say(screen_HW, text, 10, 120 + 24 * line, grey=180)
    for y in range(90, 540, 30):
        screen_HW[y : y + 2, 632:642] = 200
    screen_HW[120:320, 780:792] = np.linspace(255, 0, 200).astype(np.uint8)[:, None]
    return screen_HW, box


def fan(height: int, width: int, seed: int = 0) -> Pixels:
    """A curved sector of tissue on black, as large as fits."""
    rows, columns = np.mgrid[:height, :width]
    radius = np.hypot(rows + height / 6, columns - width / 2)
    angle = np.arctan2(columns - width / 2, rows + height / 6)
    inside = (radius > height / 4) & (radius < 7 * height / 6) & (np.abs(angle) < 0.42)
    return np.where(inside, speckle(height, width, seed), 0).astype(np.uint8)


HEADER_RGB, PANEL_RGB = (41, 61, 107), (46, 45, 50)


def crowded_screen(
    panes: Sequence[Pixels],
    *,
    furniture: Sequence[str] = ("top", "right"),
    line: bool = True,
    header_rgb: tuple[int, int, int] = HEADER_RGB,
    gap: int = 8,
) -> tuple[Pixels, list[Box], npt.NDArray[np.bool_]]:
    """480 x 640 x 3: panes side by side that touch a header and panels; boxes; where these are.

    Args:
        panes: grey pictures, cut to the height that is left.
        furniture: of ``top``, ``bottom``, ``left``, ``right``; each holds writing.
        line: draw a frame around each pane.
        gap: black pixels between a pane and the borders of its place, at its sides.
    """
    frame = np.zeros((480, 640, 3), np.uint8)
    is_drawn = np.zeros((480, 640), bool)
    places = {"top": (0, 0, 640, 40), "bottom": (0, 444, 640, 480)}
    y0, y1 = 40 * ("top" in furniture), 444 if "bottom" in furniture else 480
    places |= {"left": (0, y0, 90, y1), "right": (540, y0, 640, y1)}
    for name in furniture:
        left, top, right, bottom = places[name]
        colour = header_rgb if name in ("top", "bottom") else PANEL_RGB
        frame[top:bottom, left:right] = colour
        is_drawn[top:bottom, left:right] = True
        ink = 240 if sum(colour) < 400 else 10
        lines = ["DOE, JANE  1961-04-02"] if right - left > 200 else ["Gn 62", "D 16", "MI 1"]
        for number, text in enumerate(lines):
            say(frame, text, left + 8, top + 26 + 24 * number, grey=ink, size=0.5)
    x0, x1 = 90 * ("left" in furniture), 540 if "right" in furniture else 640
    boxes = []
    for number, pane in enumerate(panes):
        start = x0 + number * (x1 - x0) // len(panes)
        end = x0 + (number + 1) * (x1 - x0) // len(panes)
        shown = cv2.resize(pane, (end - start - 2 * gap, min(pane.shape[0], y1 - y0)))
        box = (start + gap, y0, end - gap, y0 + shown.shape[0])
        frame[box[1] : box[3], box[0] : box[2]] = shown[..., None]
        boxes.append(box)
        if line:
            cv2.rectangle(frame, (start, y0), (end - 1, y1 - 1), (60, 80, 140), 1)
    return frame, boxes, is_drawn


def sector(seed: int = 0) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """480 x 640: a curved sector of tissue with text in a corner of its box; and where it is."""
    rows, columns = np.mgrid[:480, :640]
    radius = np.hypot(rows + 60, columns - 320)
    angle = np.arctan2(columns - 320, rows + 60)
    inside = (radius > 110) & (radius < 500) & (np.abs(angle) < 0.6)
    frame = np.where(inside, speckle(480, 640, seed), 0).astype(np.uint8)
    say(frame, "SMITH 4711", 60, 60)
    return frame, inside


def analyze(
    frame: Pixels,
    finder: TextFinder,
    *,
    region_mode: RegionMode = "auto",
    declared: Sequence[DicomRegion] = (),
    tagged: bool | None = None,
) -> AnalyzedFrame:
    """The analysis of a frame in its regions."""
    regions = choose_regions(frame, region_mode, declared)
    return analyze_frame(frame, regions, finder, keep_text=region_mode == "none", tagged=tagged)
