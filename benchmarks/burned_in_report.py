"""How much burned-in text the finder finds: names drawn over real frames, and frames without text.

The fonts are Matplotlib's and OpenCV's, none of which the finder was trained with, and the
backgrounds are frames that it was not trained on. A line counts as found when the boxes of the
finder cover nine tenths of the line's own box.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from harness import argument_parser, write_report

from service.arrays import Pixels
from service.embedding.onnx_session import open_text_finder
from service.imaging.analysis.text import TextFinder
from service.imaging.formats.decode import decode
from training.text_detector.synthetic_text import Box, TextLine, draw_text, random_text

HERSHEY_FONTS = ("hershey-complex", "hershey-triplex", "hershey-script")
FONT_FILES = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSerif.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralItalic.ttf",
    "cmr10.ttf",
    "cmss10.ttf",
    "cmtt10.ttf",
)
HEIGHTS_PX = ((7, 9), (10, 14), (15, 22), (23, 32))  # of capitals, in a frame of 640 px or less
CONTRASTS = ((30, 60), (60, 110), (110, 256))  # grey levels from the mean under the letters
PLACES = ("inside", "edge")
MIN_INK_STEP = 10  # grey levels; the fainter rim of a letter is no ink


@dataclass(frozen=True, slots=True)
class Line:
    """A frame with one line of text, and where its ink is."""

    font: str
    heights: tuple[int, int]
    contrasts: tuple[int, int]
    place: str
    frame_HW: Pixels
    ink_HW: np.ndarray
    box: Box


def backgrounds(folder: Path, limit: int, side_px: int, seed: int) -> list[Pixels]:
    """Frames chosen at random, scaled to the size at which screens show them."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in (".jpg", ".png"))
    chosen = np.random.default_rng(seed).permutation(len(files))[:limit]
    frames = []
    for number in chosen:
        frame_HW = decode(files[number].read_bytes(), max_pixels=10**8).pixels_HW
        zoom = side_px / max(frame_HW.shape)
        way = cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA
        frames.append(np.asarray(cv2.resize(frame_HW, None, fx=zoom, fy=zoom, interpolation=way)))
    return frames


def frame_with_line(
    frame_HW: Pixels,
    font: str,
    heights: tuple[int, int],
    contrasts: tuple[int, int],
    place: str,
    rng: np.random.Generator,
) -> Line | None:
    """A frame with one line of text; None when the line does not fit."""
    height_px = int(rng.integers(heights[0], heights[1] + 1))
    rows, columns = frame_HW.shape
    text = random_text(rng)
    if place == "edge":
        top = int(rng.choice([2, max(2, rows - 2 * height_px - 2)]))
        left = int(rng.integers(2, max(3, columns // 2)))
    else:
        top = int(rng.integers(rows // 6, max(rows // 6 + 1, rows - 2 * height_px)))
        left = int(rng.integers(4, max(5, columns * 2 // 3)))
    ground_hw = frame_HW[top : top + height_px, left : left + 8 * height_px]
    step = int(rng.integers(*contrasts))
    level = round(float(ground_hw.mean()))
    grey = level + step if level + step <= 255 else level - step
    if not 0 <= grey <= 255:
        return None
    drawn_HW = frame_HW.copy()
    box = draw_text(drawn_HW, TextLine(text, font, height_px, grey), left, top)
    if box is None:
        return None
    ink_HW = np.abs(drawn_HW.astype(np.int16) - frame_HW) > MIN_INK_STEP
    if rng.random() < 0.5:
        _, coded = cv2.imencode(".jpg", drawn_HW, [cv2.IMWRITE_JPEG_QUALITY, 85])
        drawn_HW = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))
    return Line(Path(font).stem, heights, contrasts, place, drawn_HW, ink_HW, box)


def covered_share(box: Box, frame_HW: Pixels, finder: TextFinder) -> float:
    """Share of the box that the finder would mask."""
    masked_HW = np.zeros(frame_HW.shape, bool)
    for item in finder.find(frame_HW):
        x0, y0, x1, y1 = item.box
        masked_HW[y0:y1, x0:x1] = True
    x0, y0, x1, y1 = box
    return float(masked_HW[y0:y1, x0:x1].mean())


def all_fonts() -> list[str]:
    """Fonts that the finder was not trained with."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [*(str(folder / name) for name in FONT_FILES), *HERSHEY_FONTS]


def lines(frames: list[Pixels], fonts: list[str], count: int, seed: int) -> Iterator[Line]:
    """Lines of text, each kind as often as the others."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        font = fonts[number % len(fonts)]
        heights = HEIGHTS_PX[int(rng.integers(len(HEIGHTS_PX)))]
        contrasts = CONTRASTS[int(rng.integers(len(CONTRASTS)))]
        place = PLACES[number % 2]
        frame_HW = frames[int(rng.integers(len(frames)))]
        line = frame_with_line(frame_HW, font, heights, contrasts, place, rng)
        if line is not None:
            yield line


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of real frames")
    parser.add_argument("--clean", type=Path, nargs="*", help="folders of frames without text")
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--side-px", type=int, default=480)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    finder = open_text_finder()
    frames = backgrounds(arguments.images, arguments.frames, arguments.side_px, arguments.seed)
    groups: dict[str, list[bool]] = defaultdict(list)
    for line in lines(frames, all_fonts(), arguments.count, arguments.seed):
        hit = covered_share(line.box, line.frame_HW, finder) >= 0.9
        heights, contrasts = "-".join(map(str, line.heights)), "-".join(map(str, line.contrasts))
        for key in ("all", f"font {line.font}", f"height {heights}", f"contrast {contrasts}"):
            groups[key].append(hit)
        groups[line.place].append(hit)
    report: dict[str, Any] = {
        "detected": {key: [round(float(np.mean(v)), 3), len(v)] for key, v in groups.items()},
        "clean": {str(f.name): false_alarms(f, arguments, finder) for f in arguments.clean or []},
    }
    for key, (share, count) in report["detected"].items():
        print(f"{key:28}{share:7.3f}  of {count}")
    for key, alarms in report["clean"].items():
        print(f"clean {key:22}{alarms}")
    write_report(report, arguments)


def false_alarms(
    folder: Path, arguments: argparse.Namespace, finder: TextFinder
) -> dict[str, float]:
    """Share of untouched frames with a box, of their pixels, and processor milliseconds each."""
    frames = backgrounds(folder, arguments.frames, arguments.side_px, arguments.seed + 1)
    boxed, masked, began = 0, [], time.process_time()
    for frame_HW in frames:
        boxes = finder.find(frame_HW)
        boxed += bool(boxes)
        areas = [(b.box[2] - b.box[0]) * (b.box[3] - b.box[1]) for b in boxes]
        masked.append(sum(areas) / frame_HW.size)
    spent = time.process_time() - began
    return {
        "frames": len(frames),
        "frames_with_boxes": round(boxed / len(frames), 4),
        "pixels": round(float(np.mean(masked)), 5),
        "cpu_ms": round(1000 * spent / len(frames), 2),
    }


if __name__ == "__main__":
    main()
