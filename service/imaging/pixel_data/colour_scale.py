"""Coloured DICOM samples -> uint8 RGB, in the colour model that the whole file turns out to have.

PhotometricInterpretation is often left over from before a conversion. The stream counts more, and
where it says nothing, the planes themselves: ultrasound is mostly grey, and grey pixels have three
equal planes in RGB, but two planes in the middle of their range in YBR.

Shape suffixes: H height, W width, 3 = the planes as stored, or red, green, blue.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.arrays import Pixels
from service.errors import UnsupportedFormat
from service.imaging.formats.codestream import ColourModel
from service.imaging.formats.frames import (
    Correction,
    rounded,
    significant_bits,
    without_colour,
)
from service.imaging.pixel_data.pixel_format import WordFormat

_STUDIO = "YBR_PARTIAL"
_RGB_TAGS = ("RGB", "YBR_RCT", "YBR_ICT", "XYB")  # the last three as decoders return them
_TOLERANCE = 6  # of 255, between planes of a grey pixel: lossy codecs change it a little
_MANY, _FEW = 0.3, 0.03  # of the pixels


def model_of_tag(photometric: str) -> ColourModel | None:
    """Of PhotometricInterpretation; None for a grey one around three samples.

    Raises UnsupportedFormat: another colour model.
    """
    if photometric.startswith("MONOCHROME"):
        return None
    if photometric in _RGB_TAGS:
        return "RGB"
    if photometric in ("YBR_FULL", "YBR_FULL_422") or photometric.startswith(_STUDIO):
        return "YBR"
    raise UnsupportedFormat(f"expected RGB or YBR for three samples, got {photometric[:16]}")


def model_of_planes(planes_HW3: Pixels) -> ColourModel | None:
    """What the grey pixels show; None when they do not clearly show one model."""
    first, second, third = (planes_HW3[::2, ::2, c].astype(np.int16) for c in range(3))
    is_equal = (np.abs(first - second) <= _TOLERANCE) & (np.abs(first - third) <= _TOLERANCE)
    is_middle = (np.abs(second - 128) <= _TOLERANCE) & (np.abs(third - 128) <= _TOLERANCE)
    equal = float((is_equal & ~is_middle).mean())
    middle = float((is_middle & ~is_equal).mean())
    if equal > _MANY and middle < _FEW:
        return "RGB"
    return "YBR" if middle > _MANY and equal < _FEW else None


class ColourScale:
    """The colour model and the range of one file, learnt from its frames in their order."""

    def __init__(self, word: WordFormat, photometric: str, *, is_stream: bool) -> None:
        self._word = word
        self._photometric = photometric
        self._tagged = model_of_tag(photometric)
        self._is_stream = is_stream
        self._stated: ColourModel | None = None
        self._seen: ColourModel | None = None
        self._highest = 0

    @property
    def is_settled(self) -> bool:
        """Whether further frames cannot change the result."""
        is_ranged = self._word.bits == 8 and self._word.stored == 8
        if self._is_stream:
            is_ranged = is_ranged or significant_bits(self._highest) >= self._word.bits
        return is_ranged and (self._stated or self._seen) is not None

    @property
    def model(self) -> ColourModel:
        """Of the planes that the codestreams hold."""
        return self._stated or self._seen or self._tagged or "RGB"

    @property
    def correction(self) -> Correction | None:
        """When the tag names the other model."""
        return None if self.model == self._tagged else Correction("colour_space")

    def state(self, model: ColourModel | None) -> None:
        """Take account of what a codestream says about itself, if anything."""
        self._stated = self._stated or model

    def learn(self, planes_HW3: npt.NDArray[Any]) -> None:
        """Take account of the planes of one frame."""
        self._highest = max(self._highest, int(self._samples(planes_HW3).max()))
        if self._seen is None and int(planes_HW3.min()) != int(planes_HW3.max()):
            self._seen = model_of_planes(self._eight_bits(planes_HW3))

    def shown(self, planes_HW3: npt.NDArray[Any], *, is_rgb: bool = False) -> Pixels:
        """uint8 (H, W, 3), or (H, W) without colour.

        Args:
            is_rgb: the decoder has already turned the planes into RGB.
        """
        shown_HW3 = np.ascontiguousarray(self._eight_bits(planes_HW3))
        if is_rgb or self.model == "RGB":
            return without_colour(shown_HW3)
        if self._photometric.startswith(_STUDIO):
            return without_colour(_from_studio_range(shown_HW3))
        size = shown_HW3.shape[1::-1]
        image = Image.frombytes("YCbCr", size, shown_HW3.tobytes())
        return without_colour(np.asarray(image.convert("RGB")))

    def _samples(self, planes_HW3: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return planes_HW3 >> self._word.shift if self._word.shift else planes_HW3

    def _eight_bits(self, planes_HW3: npt.NDArray[Any]) -> Pixels:
        """By the largest sample of the file, because BitsStored is often larger or smaller."""
        samples, stored = self._samples(planes_HW3), self._word.stored
        bits = significant_bits(self._highest)
        bits = min(bits, stored) if self._highest < 2**stored else bits
        if bits == 8 and samples.dtype == np.uint8:
            return np.asarray(samples)
        return rounded(np.clip(samples.astype(np.float32) / (2**bits - 1), 0, 1) * 255)


def _from_studio_range(ybr_HW3: Pixels) -> Pixels:
    """ITU-R BT.601 with black at 16 and white at 235 (PS3.3 C.7.6.3.1.2)."""
    y, blue, red = (ybr_HW3[..., c].astype(np.float32) for c in range(3))
    y, blue, red = 1.164383 * (y - 16), blue - 128, red - 128
    rgb_HW3 = np.stack(
        [y + 1.596027 * red, y - 0.391762 * blue - 0.812968 * red, y + 2.017232 * blue], axis=-1
    )
    return rounded(np.clip(rgb_HW3, 0, 255))
