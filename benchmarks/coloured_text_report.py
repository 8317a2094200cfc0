"""How much writing in colour is masked in large frames, and the processor time of the analysis.

Lines are drawn over real frames that the finder was not trained on, in fonts that it was not
trained with: on coloured plates and strips, in coloured letters, and in white beside colour flow. A
line counts as found when nine tenths of its ink are masked.
"""

import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from burned_in_report import all_fonts, backgrounds
from harness import argument_parser, write_report

from service.arrays import Bools, Pixels
from service.embedding.onnx_session import open_text_finder
from service.imaging.analysis.frame_analysis import analyze_frame, choose_regions, use_one_thread
from service.imaging.analysis.text import TextFinder
from training.text_detector.synthetic_text import TextLine, draw_text, random_text

KINDS = ("plate", "letters", "flow")
HEIGHTS_PX = ((9, 13), (14, 20), (21, 30))  # of capitals
GROUNDS = ((20, 60, 200), (200, 30, 30), (30, 150, 60), (230, 220, 40), (24, 52, 104))
INKS = ((255, 255, 255), (0, 0, 0), (255, 255, 0), (190, 190, 190))
LUMA = (0.3, 0.59, 0.11)
MIN_CONTRAST = 50  # of luma; a person reads no less


@dataclass(frozen=True, slots=True)
class ColouredLine:
    """A frame (H, W, 3) with one line of writing, and where its ink is."""

    kind: str
    heights: tuple[int, int]
    frame_HW3: Pixels
    ink_HW: Bools


def coloured_line(
    grey_HW: Pixels, kind: str, font: str, rng: np.random.Generator
) -> ColouredLine | None:
    """A frame with a line; None when the line does not fit or cannot be read."""
    height, width = grey_HW.shape
    heights = HEIGHTS_PX[int(rng.integers(len(HEIGHTS_PX)))]
    height_px = int(rng.integers(heights[0], heights[1] + 1))
    ground, ink = (
        np.array(colours[int(rng.integers(len(colours)))]) for colours in (GROUNDS, INKS)
    )
    top, left = (
        int(rng.integers(10, height - 4 * height_px - 10)),
        int(rng.integers(10, width // 2)),
    )
    ink_HW = np.zeros((height, width), np.uint8)
    box = draw_text(ink_HW, TextLine(random_text(rng), font, height_px, 255), left, top)
    frame_HW3 = np.stack([grey_HW] * 3, axis=-1)
    if box is None or (kind == "plate" and abs(np.dot(ground - ink, LUMA)) < MIN_CONTRAST):
        return None
    if kind == "plate":
        rim = int(rng.integers(3, 14))
        x0, x1 = (0, width) if rng.random() < 0.5 else (max(0, box[0] - 20), box[2] + 20)
        frame_HW3[max(0, box[1] - rim) : box[3] + rim, x0:x1] = ground
    elif kind == "flow":
        _draw_flow(frame_HW3, rng)
    colour = {"plate": ink, "letters": ground, "flow": np.array(INKS[0])}[kind]
    opacity = ink_HW[..., None] / np.float32(255)
    frame_HW3 = (frame_HW3 * (1 - opacity) + colour * opacity).astype(np.uint8)
    if rng.random() < 0.5:
        _, coded = cv2.imencode(".jpg", frame_HW3[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        frame_HW3 = np.ascontiguousarray(decoded[..., ::-1])
    return ColouredLine(kind, heights, frame_HW3, ink_HW > 100)


def _draw_flow(frame_HW3: Pixels, rng: np.random.Generator) -> None:
    """A vessel from dark red at its wall to yellow, drawn in place."""
    height, width = frame_HW3.shape[:2]
    y, x = (int(rng.integers(side // 4, 3 * side // 4)) for side in (height, width))
    rows, columns = np.mgrid[:height, :width]
    power_HW = 1 - np.hypot(rows - y, columns - x) / (max(height, width) // 12)
    power = power_HW[power_HW > 0]
    colours = np.stack([120 + 130 * power, 200 * power, 0 * power], axis=-1)
    frame_HW3[power_HW > 0] = colours.astype(np.uint8)


def masked_share(line: ColouredLine, finder: TextFinder) -> float:
    """Share of the ink that the service masks when the region is the whole frame."""
    height, width = line.ink_HW.shape
    regions = choose_regions(line.frame_HW3, (0, 0, width, height))
    view = analyze_frame(line.frame_HW3, regions, finder, keep_text=False).views[0]
    masked_HW = np.zeros(line.ink_HW.shape, bool)
    for item in view.texts:
        x0, y0, x1, y1 = item.box
        masked_HW[y0:y1, x0:x1] = True
    return float(masked_HW[line.ink_HW].mean())


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of real frames")
    parser.add_argument("--count", type=int, default=210)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--side-px", type=int, default=1920)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    use_one_thread()
    finder, fonts = open_text_finder(), all_fonts()
    rng = np.random.default_rng(arguments.seed)
    frames = backgrounds(arguments.images, arguments.frames, arguments.side_px, arguments.seed)
    groups: dict[str, list[bool]] = defaultdict(list)
    spent_s = 0.0
    for number in range(arguments.count):
        grey_HW = frames[int(rng.integers(len(frames)))]
        line = coloured_line(grey_HW, KINDS[number % 3], fonts[number % len(fonts)], rng)
        if line is None:
            continue
        began = time.thread_time()
        is_found = masked_share(line, finder) >= 0.9
        spent_s += time.thread_time() - began
        name = f"{line.kind} {'-'.join(map(str, line.heights))} px"
        for key in ("all", line.kind, name):
            groups[key].append(is_found)
    found = {key: [round(float(np.mean(v)), 3), len(v)] for key, v in sorted(groups.items())}
    for key, (share, count) in found.items():
        print(f"{key:28}{share:7.3f}  of {count}")
    cpu_ms = round(1000 * spent_s / len(groups["all"]), 1)
    print(f"processor time of a frame    {cpu_ms} ms")
    write_report({"found": found, "cpu_ms": cpu_ms}, arguments)


if __name__ == "__main__":
    main()
