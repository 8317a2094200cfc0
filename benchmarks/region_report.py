"""Whether using the region alone helps few-shot accuracy, and how well regions are found.

The same labelled frames come in three kinds: as they are; as screens, each frame on one of a few
backgrounds of a machine (banner, ruler, grey bar, buttons) at a random place and size; and as
screens whose background depends on the class, as when one machine scanned the ill and another the
healthy. Each frame is embedded whole and by its region, and scored by the few-shot protocol of
``training.evaluation``. Needs the frames of SONOPROBE_SHARED (else ``../shared``).

Shape suffixes: H height, W width, N frames, D embedding width.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from harness import argument_parser, required_shared_folder, write_report

from service.arrays import Pixels
from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import load_encoder
from service.errors import NotEnoughExamples
from service.imaging.analysis.boxes import Box
from service.imaging.analysis.preprocess import preprocess
from service.imaging.analysis.regions import cut, from_pixels, whole
from training.catalogue.manifest import read_manifest
from training.evaluation.protocol import LabelledSet, shot_scores
from training.evaluation.sets import read_sets, subsample
from training.text_detector.synthetic_text import TextLine, draw_text, random_text

SHOTS = (1, 5, 10, 20)
SCREEN = (600, 800)
Use = Callable[[Pixels], Pixels]


def screen_around(frame_HW: Pixels, style: int, rng: np.random.Generator) -> tuple[Pixels, Box]:
    """A screen of 800 x 600 with the frame on it, and where the frame lies."""
    screen_HW = np.full(SCREEN, (0, 0, 12, 0)[style], np.uint8)
    zoom = float(rng.uniform(0.6, 0.85)) * min(
        SCREEN[0] * 0.9 / frame_HW.shape[0], SCREEN[1] * 0.8 / frame_HW.shape[1]
    )
    shown_HW = np.asarray(cv2.resize(frame_HW, None, fx=zoom, fy=zoom), np.uint8)
    rows, columns = shown_HW.shape
    top = int(rng.integers(50, SCREEN[0] - rows - 20))
    left = int(rng.integers(110, SCREEN[1] - columns - 60))
    screen_HW[top : top + rows, left : left + columns] = shown_HW
    if style in (0, 2):
        screen_HW[:38] = (70, 0, 45, 0)[style]
    for line in range(2):
        draw_text(
            screen_HW, TextLine(random_text(rng), "hershey-simplex", 10, 230), 10 + 300 * line, 12
        )
    for line in range(int(rng.integers(4, 9))):
        draw_text(
            screen_HW, TextLine(random_text(rng)[:9], "hershey-plain", 9, 200), 4, 70 + 22 * line
        )
    if style in (1, 3):
        ramp = np.linspace(255, 0, 200).astype(np.uint8)
        screen_HW[120:320, 775:788] = ramp[:, None]
    for row in range(top, top + rows, 40):
        screen_HW[row : row + 2, left + columns + 8 : left + columns + 16] = 180
    if style == 3:
        for button in range(8):
            screen_HW[60 + 60 * button : 100 + 60 * button, 740:772] = 60
    return screen_HW, (left, top, left + columns, top + rows)


def overlap(box: Box, other: Box) -> float:
    """Intersection over union."""
    across = max(0, min(box[2], other[2]) - max(box[0], other[0]))
    down = max(0, min(box[3], other[3]) - max(box[1], other[1]))
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return across * down / (areas - across * down)


def as_whole(frame_HW: Pixels) -> Pixels:
    """No region."""
    return frame_HW


def as_region(frame_HW: Pixels) -> Pixels:
    """The region's box, black outside its outline; squashed by the encoder as every frame is."""
    return cut(frame_HW, from_pixels(frame_HW))


def as_blanked(frame_HW: Pixels) -> Pixels:
    """The whole frame, black outside the region."""
    region = from_pixels(frame_HW)
    x0, y0, x1, y1 = region.box
    blank_HW = np.zeros_like(frame_HW)
    blank_HW[y0:y1, x0:x1] = cut(frame_HW, region)
    return blank_HW


def as_letterbox(frame_HW: Pixels) -> Pixels:
    """The region, made square with black so that its shape is kept."""
    used_hw = as_region(frame_HW)
    side = max(used_hw.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - used_hw.shape[0]) // 2, (side - used_hw.shape[1]) // 2
    square[top : top + used_hw.shape[0], left : left + used_hw.shape[1]] = used_hw
    return square


def as_margin(frame_HW: Pixels) -> Pixels:
    """The region's box with a tenth more on each side, nothing blanked."""
    x0, y0, x1, y1 = from_pixels(frame_HW).box
    more_x, more_y = (x1 - x0) // 10, (y1 - y0) // 10
    return frame_HW[max(0, y0 - more_y) : y1 + more_y, max(0, x0 - more_x) : x1 + more_x]


USES: dict[str, Use] = {
    "whole": as_whole,
    "region": as_region,
    "blanked": as_blanked,
    "letterbox": as_letterbox,
    "margin": as_margin,
}


def kinds(frames: list[Pixels], classes: list[int]) -> dict[str, list[tuple[Pixels, Box]]]:
    """Frames as they are, on screens, and on screens that depend on the class."""
    rng = np.random.default_rng(0)
    plain = [(f, whole(*f.shape).box) for f in frames]
    screens = [screen_around(f, int(rng.integers(4)), rng) for f in frames]
    class_screens = [screen_around(f, c % 4, rng) for f, c in zip(frames, classes, strict=True)]
    return {"as they are": plain, "screens": screens, "screens by class": class_screens}


def score(embeddings_ND: np.ndarray, labelled: LabelledSet, seeds: int) -> dict[str, float]:
    """Mean balanced accuracy by shots, as far as each class has enough groups."""
    means: dict[str, float] = {}
    for shots in SHOTS:
        try:
            scores = shot_scores(embeddings_ND, labelled, shots, seeds)
        except NotEnoughExamples:
            break
        means[str(shots)] = round(float(np.mean(scores)), 1)
    return means


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--frames", type=int, default=200, help="of each set, at most")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sets", nargs="*", default=["busi_full", "liver"])
    parser.add_argument("--uses", nargs="*", default=list(USES))
    parser.add_argument("--border", type=float, help="of the encoder's input; else the bundle's")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    shared = required_shared_folder()
    encoder = load_encoder(SHIPPED_BUNDLE)
    spec = encoder.spec
    if arguments.border is not None:
        spec = replace(spec, border=arguments.border)
    rows: list[dict[str, object]] = []
    for bench_set in read_sets(read_manifest(shared / "data" / "manifest.csv"), arguments.sets):
        few = subsample(bench_set, arguments.frames)
        frames = [np.asarray(frame) for frame in few.frames()]
        names = sorted(set(few.labelled.labels_N))
        classes = [names.index(label) for label in few.labelled.labels_N]
        for kind, pairs in kinds(frames, classes).items():
            boxes = [overlap(from_pixels(f).box, box) for f, box in pairs]
            good = round(float(np.mean(np.array(boxes) >= 0.8)), 3)
            for use in arguments.uses:
                used = [preprocess(USES[use](f)[None], spec)[0] for f, _ in pairs]
                embeddings_ND = np.concatenate(
                    [encoder.encode(np.stack(used[i : i + 8])) for i in range(0, len(used), 8)]
                )
                row = {"set": few.name, "kind": kind, "use": use, "frames": len(used)}
                row["border"] = spec.border
                row |= {"overlap_08": good} | score(embeddings_ND, few.labelled, arguments.seeds)
                rows.append(row)
                print(json.dumps(row), flush=True)
    write_report({"rows": rows}, arguments)


if __name__ == "__main__":
    main()
