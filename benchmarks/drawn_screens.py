"""Screens for benchmarks: sample scans enlarged between the furniture that a machine draws."""

import io

import cv2
import numpy as np
from PIL import Image

from service.arrays import Pixels
from service.cli.demo import SAMPLES
from service.cli.folder_walk import image_files

FILES = 12  # of each kind
SIZES = {"640x480": (640, 480), "1024x768": (1024, 768), "1920x1080": (1920, 1080)}


def screen_files() -> dict[str, list[bytes]]:
    """Files by size and format: grey and coloured screens of each size."""
    scans = [np.asarray(Image.open(path).convert("L")) for path in image_files(SAMPLES)]
    step = max(1, len(scans) // FILES)
    files: dict[str, list[bytes]] = {}
    for size, (width, height) in SIZES.items():
        screens = [_screen(scan, width, height) for scan in scans[::step][:FILES]]
        greys = [cv2.cvtColor(screen, cv2.COLOR_RGB2GRAY) for screen in screens]
        files[f"{size} png"] = [_saved(grey, "PNG") for grey in greys]
        files[f"{size} colour png"] = [_saved(screen, "PNG") for screen in screens]
        files[f"{size} jpeg"] = [_saved(screen, "JPEG") for screen in screens]
    return files


def _screen(scan_hw: np.ndarray, width: int, height: int) -> Pixels:
    """A scan over two thirds of a screen, a coloured header and mark, a grey bar, some writing."""
    screen = np.zeros((height, width, 3), np.uint8)
    rows, columns = round(height * 0.8), round(width * 0.65)
    shown = cv2.resize(scan_hw, (columns, rows), interpolation=cv2.INTER_CUBIC)
    top, left = round(height * 0.12), round(width * 0.18)
    screen[top : top + rows, left : left + columns] = shown[..., None]
    screen[: height // 14] = (24, 52, 104)
    bar = np.linspace(255, 0, rows // 2).astype(np.uint8)
    screen[top : top + len(bar), width - width // 24 : width - width // 40] = bar[:, None, None]
    letters, white = height / 900, (235, 235, 235)
    lines = ("GEN  C5-1", "FR 32 Hz", "Depth 12 cm", "Gain 58", "MI 1.1  TIS 0.4")
    for number, line in enumerate(lines):
        place = (width // 100, top + round((number + 1) * 40 * letters))
        cv2.putText(screen, line, place, cv2.FONT_HERSHEY_SIMPLEX, letters, white, 1, cv2.LINE_AA)
    cv2.circle(screen, (left, top - height // 40), height // 60, (40, 200, 90), -1)
    return screen


def _saved(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return buffer.getvalue()
