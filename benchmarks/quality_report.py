"""How often each reason of the quality gate is right and wrong, on real and on made frames.

Real frames should raise nothing (``false``); made ones their own reason (``found``): black and
saturated frames, small ones, colour flow painted into tissue, tissue photographed from a screen,
drawn pages, and, where a folder is given, pictures that are no ultrasound.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from service.arrays import Pixels
from service.imaging.analysis.quality import REASONS, assess_quality, frozen
from service.imaging.analysis.regions import from_pixels
from training.text_detector.synthetic_text import TextLine, draw_text, random_text


def real_frames(folders: list[Path], limit: int) -> list[Pixels]:
    """Colour frames (H, W, 3), the same number of each folder, chosen at random."""
    rng = np.random.default_rng(0)
    found = []
    for folder in folders:
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in (".jpg", ".png"))
        for number in rng.permutation(len(files))[:limit]:
            found.append(np.asarray(Image.open(files[number]).convert("RGB")))
    return found


def reasons(frame_HW3: Pixels) -> set[str]:
    """Of the region that the service would use."""
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--pictures", type=Path, help="folder of pictures that are no ultrasound")
    parser.add_argument("--limit", type=int, default=80, help="frames of each folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    frames = real_frames(given.images, given.limit)
    alarms = Counter(reason for frame in frames for reason in reasons(frame))
    some = [frame for frame in frames if min(frame.shape[:2]) > 100][:: max(1, len(frames) // 100)]
    made = {
        "blank": [np.clip(rng.normal(4, 1, (200, 260, 3)), 0, 9).astype(np.uint8) for _ in some],
        "saturated": [
            np.clip(frame.astype(np.float32) * 8, 0, 255).astype(np.uint8) for frame in some
        ],
        "tiny": [np.ascontiguousarray(frame[50:90, 50:90]) for frame in some],
        "colour_doppler": [flowing(frame, rng) for frame in some],
        "photo_of_a_screen": [photographed(frame, rng) for frame in some],
        "not_ultrasound": [page(rng) for _ in some],
    }
    found = {
        "real_frames": len(frames),
        "false": {reason: round(alarms[reason] / len(frames), 4) for reason in REASONS},
        "found": {
            reason: round(float(np.mean([reason in reasons(f) for f in made[reason]])), 3)
            for reason in made
        },
        "made_of_each": len(some),
    }
    stills = [np.stack([f[..., 1]] * 5) for f in some]
    found["found"]["frozen"] = round(float(np.mean([frozen(s) is not None for s in stills])), 3)
    if given.pictures is not None:
        pictures = real_frames([given.pictures], 10**6)
        said = [reasons(f) for f in pictures]
        found["pictures"] = len(pictures)
        found["pictures_not_ultrasound"] = round(
            float(np.mean(["not_ultrasound" in s for s in said])), 3
        )
    for name, value in found.items():
        print(f"{name:26}{value}")
    if given.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
