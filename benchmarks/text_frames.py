"""Frames with writing whose ink is known, and frames without any, for ``bench_text_detectors``.

There are three kinds: lines drawn over frames that the finder was not trained on, real screens of
machines, and remarks that people typed into real tissue. ``text_truth.json`` holds the boxes of the
real lines, marked by hand, and the real frames in which a person saw no writing. Single letters and
digits are not marked.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
from burned_in_report import all_fonts, backgrounds, lines
from harness import shared_folder
from pydicom.pixels import apply_color_lut, pixel_array

from service.cli.demo import SAMPLES

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

TRUTH = Path(__file__).with_name("text_truth.json")
SIDE_PX = 480  # the shared frames were shrunk; screens show them about this long
SIGN_PX = 20  # rows at the top of a BUSI frame, where the maker's sign is


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame and the ink of its lines; no line means that it has no writing.

    Attributes:
        kind: "drawn", "screen", "remark", "clean", or "sample": simulated, where real ones exist.
        group: what its kind is divided by: the contrast, or the set of frames.
        frame: uint8 (h, w), or (h, w, 3) in blue, green, red.
        inks: for each line the pixels of its letters.
    """

    kind: str
    group: str
    frame: Pixels
    inks: tuple[Mask, ...]


def pictures(count: int, seed: int) -> list[Picture]:
    """All pictures: ``count`` drawn ones and every real one that there is."""
    folder = shared_folder()
    shared = None if folder is None else folder / "data"
    source = SAMPLES if shared is None else shared / "bench" / "liver"
    frames = backgrounds(source, 100, SIDE_PX, seed)
    drawn = [
        Picture("drawn", "-".join(map(str, line.contrasts)), line.frame_HW, (line.ink_HW,))
        for line in lines(frames, all_fonts(), count, seed)
    ]
    kind = "clean" if shared is None else "sample"
    samples = [Picture(kind, "samples", read(file), ()) for file in sorted(SAMPLES.rglob("*.png"))]
    return [*drawn, *samples, *([] if shared is None else real_pictures(shared))]


def real_pictures(shared: Path) -> list[Picture]:
    """The frames that ``text_truth.json`` names."""
    truth = json.loads(TRUTH.read_text())
    written = []
    for name, boxes in truth["lines"].items():
        frame = read(shared / name)
        inks = tuple(ink_of(frame, tuple(box)) for box in boxes)
        if name.startswith("bench/"):
            frame, *masks = (enlarged(a) for a in (frame, *(i.astype(np.uint8) for i in inks)))
            written.append(Picture("remark", "busi_full", frame, tuple(m > 0 for m in masks)))
        else:
            written.append(Picture("screen", "screens", frame, inks))
    clean = []
    for name in truth["clean"]:
        group = name.split("/")[1]
        frame = enlarged(read(shared / name))
        rows = SIGN_PX * SIDE_PX // 320 if group == "busi_full" else 0
        clean.append(Picture("clean", group, frame[rows:], ()))
    return written + clean


def read(file: Path) -> Pixels:
    """A picture or the first frame of a DICOM file; grey where it has no colour."""
    if file.suffix.lower() in (".png", ".jpg"):
        frame = np.asarray(cv2.imread(str(file)), np.uint8)
        return frame if np.ptp(frame, axis=2).any() else frame[..., 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one file names an odd character set
        dataset = pydicom.dcmread(file)
        frame = pixel_array(dataset, index=0)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            frame = (apply_color_lut(frame, dataset) >> 8).astype(np.uint8)
    return np.ascontiguousarray(frame[..., ::-1], np.uint8)


def ink_of(frame: Pixels, box: tuple[int, int, int, int]) -> Mask:
    """Pixels in the box that are nearer to its letters than to its ground."""
    x0, y0, x1, y1 = box
    grey_HW = frame if frame.ndim == 2 else frame.max(axis=2)
    part_hw = grey_HW[y0:y1, x0:x1].astype(np.int16)
    steps_hw = np.abs(part_hw - int(np.median(part_hw)))
    ink_HW = np.zeros(grey_HW.shape, bool)
    ink_HW[y0:y1, x0:x1] = steps_hw > steps_hw.max() / 2
    return ink_HW


def enlarged(frame: Pixels) -> Pixels:
    """The frame, SIDE_PX long."""
    zoom = SIDE_PX / max(frame.shape[:2])
    way = cv2.INTER_CUBIC if frame.max(initial=0) > 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(frame, None, fx=zoom, fy=zoom, interpolation=way), np.uint8)
