"""Draw names, dates and marks over real frames, and tell where the letters are.

For training and for measuring the finder of burned-in text (``service.imaging.analysis.text``).
Nobody's name: they are put together from syllables.

Shape suffixes: H height, W width, h w of one line of text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from service.arrays import Pixels
from service.errors import InputError

Box: TypeAlias = tuple[int, int, int, int]
_STARTS = "An Ber Cor Da El Fe Gu Hol Is Jo Kra Lu Mar No Ol Pe Qui Ro Sche Tan Ul Vi Wei Xi Ya Zo"
_ENDS = "berg da della ez feld gan ham ing kov lund mann nez owski poulos ri son stein ton uk vic"
_WORDS = (
    "LT UOQ|RT KIDNEY|LIVER SAG|Abd|Thyroid TRV|MI 1.1 TIS 0.4|OB General|Gain 60 dB|12 cm|5.0 MHz"
    "|Freeze|LYMPH NODE|DOB|ID|Pat. T|Name:|Age 54 Y|Dr.|Hospital|PID|Dist 1.06 cm|IM 2|SAG MID"
)
STROKE_FONTS = {  # OpenCV's, drawn with a pen as older machines do
    "hershey-simplex": cv2.FONT_HERSHEY_SIMPLEX,
    "hershey-plain": cv2.FONT_HERSHEY_PLAIN,
    "hershey-duplex": cv2.FONT_HERSHEY_DUPLEX,
    "hershey-small": cv2.FONT_HERSHEY_COMPLEX_SMALL,
    "hershey-complex": cv2.FONT_HERSHEY_COMPLEX,
    "hershey-triplex": cv2.FONT_HERSHEY_TRIPLEX,
    "hershey-script": cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
}


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text on a frame.

    Attributes:
        font: a file, or a name of ``STROKE_FONTS``.
        height_px: of capital letters, about.
        grey: of the letters, 0..255.
        opacity: 0..1.
        plate: grey of a filled rectangle behind the letters; None = none.
    """

    text: str
    font: str
    height_px: int
    grey: int
    opacity: float = 1.0
    plate: int | None = None


def random_text(rng: np.random.Generator) -> str:
    """A name, a number, a date or a remark, of 2 to 30 characters."""
    kind = rng.integers(6)
    starts, ends, words = _STARTS.split(), _ENDS.split(), _WORDS.split("|")
    name = str(rng.choice(starts)) + str(rng.choice(ends))
    if kind <= 1:
        given = str(rng.choice(starts)) + str(rng.choice(ends))[:3]
        text = f"{name}{rng.choice([', ', ' ', '^', ' , '])}{given}"
    elif kind == 2:
        text = "".join(str(rng.integers(10)) for _ in range(int(rng.integers(4, 11))))
    elif kind == 3:
        day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(1930, 2027)
        text = [f"{day:02}.{month:02}.{year}", f"{month}/{day}/{year}", f"{year}-{month:02}-{day}"][
            int(rng.integers(3))
        ]
    elif kind == 4:
        text = str(rng.choice(words))
    else:
        text = f"{rng.choice(['ID', 'Name', 'DOB', 'MRN', 'Pat'])}: {name} {rng.integers(10, 999)}"
    return text.upper() if rng.random() < 0.45 else text


def find_fonts(folders: Sequence[Path]) -> list[str]:
    """Font files below the folders, sorted. Raises InputError: there are none."""
    files = [file for folder in folders for file in folder.rglob("*")]
    fonts = sorted(str(file) for file in files if file.suffix.lower() in (".ttf", ".otf"))
    if not fonts:
        raise InputError("expected .ttf or .otf files in the folders of fonts, found none")
    return fonts


def render_text(line: TextLine) -> Pixels:
    """Coverage of the line, uint8 (h, w), 255 = ink, cut to the ink."""
    if line.font in STROKE_FONTS:
        face, thick = STROKE_FONTS[line.font], max(1, round(line.height_px / 12))
        scale = cv2.getFontScaleFromHeight(face, line.height_px, thick)
        (width, height), base = cv2.getTextSize(line.text, face, scale, thick)
        ink_hw = np.zeros((height + base + 8, width + 8), np.uint8)
        cv2.putText(ink_hw, line.text, (4, height + 2), face, scale, (255,), thick, cv2.LINE_AA)
    else:
        # A capital is about 0.7 of the size that fonts are asked for.
        font = ImageFont.truetype(line.font, max(6, round(line.height_px / 0.7)))
        left, top, right, bottom = (int(v) for v in font.getbbox(line.text))
        page = Image.new("L", (max(1, right - left + 4), max(1, bottom - top + 4)))
        ImageDraw.Draw(page).text((2 - left, 2 - top), line.text, fill=255, font=font)
        ink_hw = np.asarray(page)
    rows, columns = np.flatnonzero(ink_hw.max(1) > 40), np.flatnonzero(ink_hw.max(0) > 40)
    if not len(rows):
        return np.zeros((1, 1), np.uint8)
    return ink_hw[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def draw_text(frame_HW: Pixels, line: TextLine, left: int, top: int) -> Box | None:
    """Draw in place; the box (x0, y0, x1, y1) of the ink, or None where it does not fit."""
    ink_hw = render_text(line)
    height, width = ink_hw.shape
    pad = max(2, line.height_px // 4) if line.plate is not None else 0
    y0, x0, y1, x1 = top, left, top + height, left + width
    if min(y0, x0) < pad or y1 + pad > frame_HW.shape[0] or x1 + pad > frame_HW.shape[1]:
        return None
    if line.plate is not None:
        frame_HW[y0 - pad : y1 + pad, x0 - pad : x1 + pad] = line.plate
    under_hw = frame_HW[y0:y1, x0:x1].astype(np.float32)
    alpha_hw = ink_hw.astype(np.float32) * (line.opacity / 255)
    mixed_hw = under_hw + alpha_hw * (line.grey - under_hw)
    frame_HW[y0:y1, x0:x1] = np.rint(mixed_hw).astype(np.uint8)
    return x0, y0, x1, y1


def draw_mark(frame_HW: Pixels, rng: np.random.Generator) -> None:
    """Draw, in place, something that a machine draws and that is not text."""
    height, width = frame_HW.shape
    grey = (int(rng.integers(120, 256)),)
    x, y = int(rng.integers(width)), int(rng.integers(height))
    reach = int(rng.integers(3, 9))
    kind = int(rng.integers(6))
    if kind == 0:
        marker = [cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS][int(rng.integers(2))]
        cv2.drawMarker(frame_HW, (x, y), grey, marker, 2 * reach, int(rng.integers(1, 3)))
    elif kind == 1:
        across, down = rng.integers(-80, 80, 2)
        for step in np.linspace(0, 1, int(rng.integers(5, 25))):
            dot = (int(x + step * across), int(y + step * down))
            cv2.circle(frame_HW, dot, int(rng.integers(0, 2)), grey, -1)
    elif kind == 2:
        for row in range(y % 17, height, int(rng.integers(9, 60))):
            cv2.line(frame_HW, (x, row), (x + reach, row), grey, 1)
    elif kind == 3:
        axes = (int(rng.integers(8, 90)), int(rng.integers(8, 70)))
        cv2.ellipse(frame_HW, (x, y), axes, float(rng.integers(180)), 0, 360, grey, 1)
    elif kind == 4:
        end = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.line(frame_HW, (x, y), end, grey, int(rng.integers(1, 3)), cv2.LINE_AA)
    else:
        across = np.arange(0, min(width - x, 160), 2)
        heights = y + np.cumsum(rng.normal(0, 3, len(across)))
        points = np.stack([x + across, heights], 1).astype(np.int32)
        cv2.polylines(frame_HW, [points], False, grey, 1)
