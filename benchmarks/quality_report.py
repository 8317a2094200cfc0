"""How often each reason of the quality gate is right and wrong, on real and on altered frames.

Real frames should raise no reason (``false`` counts those that do). Altered frames should raise
their own (``found``): black and saturated frames, small ones, colour flow painted into tissue,
tissue photographed from a screen, and drawn pages. ``--pictures`` adds a folder of pictures that
are no ultrasound.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from harness import argument_parser, print_report
from PIL import Image

from service.arrays import Pixels
from service.imaging.analysis.quality import REASONS, assess_quality, frozen
from service.imaging.analysis.regions import from_pixels
from training.text_detector.synthetic_text import TextLine, draw_text, random_text


def real_frames(folders: list[Path], limit: int) -> list[Pixels]:
    """Colour frames (H, W, 3), the same number of each folder, chosen at random."""
    rng = np.random.default_rng(0)
    frames = []
    for folder in folders:
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in (".jpg", ".png"))
        for number in rng.permutation(len(files))[:limit]:
            frames.append(np.asarray(Image.open(files[number]).convert("RGB")))
    return frames


def reasons(frame_HW3: Pixels) -> set[str]:
    """Reasons that the region which the service would use raises."""
    x0, y0, x1, y1 = from_pixels(frame_HW3).box
    return {finding.reason for finding in assess_quality(frame_HW3[y0:y1, x0:x1])}


def photographed(frame_HW3: Pixels, rng: np.random.Generator) -> Pixels:
    """A screen's red, green and blue stripes, seen askew by a camera with its own pixels."""
    side = 900
    zoom = side / max(frame_HW3.shape[:2])
    shown = cv2.resize(frame_HW3, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)
    rows, columns = shown.shape[:2]
    pitch = int(rng.integers(3, 5))
    lattice = np.full((rows, columns, 3), 0.15, np.float32)
    for channel in range(3):
        lattice[:, channel % pitch :: pitch, channel] = 1
    lattice[::pitch] *= 0.35
    lit = np.clip(shown.astype(np.float32) * lattice * 2.4, 0, 255)
    turn = cv2.getRotationMatrix2D(
        (columns / 2, rows / 2), float(rng.uniform(-6, 6)), float(rng.uniform(0.55, 0.8))
    )
    seen = cv2.warpAffine(
        lit, turn, (columns, rows), flags=cv2.INTER_LINEAR, borderValue=(38, 34, 30)
    )
    seen = cv2.GaussianBlur(seen, (0, 0), float(rng.uniform(0.4, 0.8)))
    seen = seen * rng.uniform(0.9, 1.1, 3) + rng.normal(0, 3, seen.shape)
    _, coded = cv2.imencode(
        ".jpg", np.clip(seen, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90]
    )
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))


def flowing(frame_HW3: Pixels, rng: np.random.Generator) -> Pixels:
    """Red and blue blotches in a box, as colour flow is shown."""
    rows, columns = frame_HW3.shape[:2]
    noise = cv2.GaussianBlur(
        rng.normal(0, 1, (rows, columns)).astype(np.float32), (0, 0), max(2, columns / 25)
    )
    noise /= noise.std()
    drawn = frame_HW3.copy()
    inside = np.zeros((rows, columns), bool)
    inside[rows // 4 : rows * 3 // 4, columns // 4 : columns * 3 // 4] = True
    drawn[inside & (noise > 1)] = (220, 40, 30)
    drawn[inside & (noise < -1)] = (30, 60, 220)
    return drawn


def page(rng: np.random.Generator) -> Pixels:
    """A printed page."""
    drawn = np.full((480, 360), 250, np.uint8)
    for top in range(20, 450, 14):
        text = " ".join(random_text(rng) for _ in range(2))
        draw_text(drawn, TextLine(text, "hershey-simplex", 7, 20), 12, top)
    return np.stack([drawn] * 3, axis=-1)


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--pictures", type=Path, help="folder of pictures that are no ultrasound")
    parser.add_argument("--limit", type=int, default=80, help="frames of each folder")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    frames = real_frames(arguments.images, arguments.limit)
    alarms = Counter(reason for frame in frames for reason in reasons(frame))
    sources = [frame for frame in frames if min(frame.shape[:2]) > 100][
        :: max(1, len(frames) // 100)
    ]
    altered = {
        "blank": [np.clip(rng.normal(4, 1, (200, 260, 3)), 0, 9).astype(np.uint8) for _ in sources],
        "saturated": [
            np.clip(frame.astype(np.float32) * 8, 0, 255).astype(np.uint8) for frame in sources
        ],
        "tiny": [np.ascontiguousarray(frame[50:90, 50:90]) for frame in sources],
        "colour_doppler": [flowing(frame, rng) for frame in sources],
        "photo_of_a_screen": [photographed(frame, rng) for frame in sources],
        "not_ultrasound": [page(rng) for _ in sources],
    }
    report: dict[str, Any] = {
        "real_frames": len(frames),
        "false": {reason: round(alarms[reason] / len(frames), 4) for reason in REASONS},
        "found": {
            reason: round(float(np.mean([reason in reasons(f) for f in altered[reason]])), 3)
            for reason in altered
        },
        "altered_of_each": len(sources),
    }
    stills = [np.stack([f[..., 1]] * 5) for f in sources]
    report["found"]["frozen"] = round(float(np.mean([frozen(s) is not None for s in stills])), 3)
    if arguments.pictures is not None:
        pictures = real_frames([arguments.pictures], 10**6)
        raised = [reasons(f) for f in pictures]
        report["pictures"] = len(pictures)
        report["pictures_not_ultrasound"] = round(
            float(np.mean(["not_ultrasound" in r for r in raised])), 3
        )
    print_report(report, arguments)


if __name__ == "__main__":
    main()
