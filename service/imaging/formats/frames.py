"""A decoded file of any format: its frames, and what it declares about them.

Shape suffixes: H height, W width, 3 = red, green, blue.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from service.arrays import Pixels

Kind: TypeAlias = Literal["frame", "cine"]
CorrectedFact: TypeAlias = Literal[
    "alpha",
    "colour_space",
    "frame_count",
    "frame_rate",
    "frame_times",
    "pixel_shape",
    "regions",
    "spacing",
    "window",
]

SPATIAL_2D = 1  # RegionSpatialFormat (DICOM PS3.3 C.8.5.5.1.1)
MM_PER_CM = 10.0
_SIGNIFICANT_BITS = (8, 10, 12, 14, 16)
_BAND_ROWS = 64
_SAMPLED_PX = 16  # rows and columns between the pixels that are looked at first


@dataclass(frozen=True, slots=True)
class DicomRegion:
    """One item of SequenceOfUltrasoundRegions (DICOM PS3.3 C.8.5.5).

    Attributes:
        x0, y0, x1, y1: pixels, half open: the region is ``pixels_HW[y0:y1, x0:x1]``.
        spatial_format: 1 = 2D, 2 = M-mode, 3 = spectral, 4 = waveform, 5 = graphics, 0 = none.
        data_type: 1 = tissue, 2 = colour flow, ...; 0 = not declared (C.8.5.5.1.2).
        delta_x, delta_y: physical size of a pixel, None when not declared.
        unit_x, unit_y: unit of the deltas, such as ``cm``, ``s`` or ``Hz``; empty = none.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    spatial_format: int
    data_type: int
    delta_x: float | None = None
    delta_y: float | None = None
    unit_x: str = ""
    unit_y: str = ""

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """(row, column) size of a pixel; None unless both deltas are in cm."""
        if (self.unit_x, self.unit_y) != ("cm", "cm") or not self.delta_x or not self.delta_y:
            return None
        return abs(self.delta_y) * MM_PER_CM, abs(self.delta_x) * MM_PER_CM


@dataclass(frozen=True, slots=True)
class Device:
    """The machine that made the image, as the file declares it; nothing of a patient."""

    manufacturer: str = ""
    model: str = ""
    transducer: str = ""
    depth_mm: float | None = None

    def to_json(self) -> dict[str, Any] | None:
        """For responses and the catalog; None when the file declares nothing."""
        return None if self == Device() else asdict(self)


@dataclass(frozen=True, slots=True)
class Correction:
    """A statement of the file that its own content contradicts, and that was not believed.

    Attributes:
        declared: what the file says; None when it says nothing or no number.
        used: what was used instead; None when nothing was.
    """

    fact: CorrectedFact
    declared: float | None = None
    used: float | None = None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a file declares before its first frame is decoded.

    Attributes:
        format: lower-case name, such as ``png``, ``dicom``, ``mp4``.
        encoding: name of the DICOM transfer syntax or of the video codec; otherwise empty.
        frames_in_file: counted, or declared where that was checked; at least 1.
        frame_rate_hz: None when unknown, and for a still.
        spacing_mm: (row, column) size of a pixel, None when not declared.
        pixel_aspect: height of a pixel divided by its width, as the file declares it.
        burned_in: BurnedInAnnotation (0028,0301) of DICOM, None when not declared.
        corrections: what the file states wrongly, each fact at most once.
    """

    format: str
    kind: Kind
    width_px: int
    height_px: int
    frames_in_file: int = 1
    frame_rate_hz: float | None = None
    encoding: str = ""
    regions: tuple[DicomRegion, ...] = ()
    spacing_mm: tuple[float, float] | None = None
    pixel_aspect: float = 1.0
    burned_in: bool | None = None
    device: Device = Device()
    corrections: tuple[Correction, ...] = ()

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "ImageInfo":
        """From ``asdict`` after JSON text. Raises KeyError, TypeError, ValueError, IndexError."""
        spacing = fields["spacing_mm"]
        nested = {
            "regions": tuple(DicomRegion(**region) for region in fields["regions"]),
            "device": Device(**fields["device"]),
            "corrections": tuple(Correction(**entry) for entry in fields["corrections"]),
            "spacing_mm": None if spacing is None else (spacing[0], spacing[1]),
        }
        return cls(**{**fields, **nested})


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame.

    Attributes:
        pixels: uint8, (H, W) when it holds no colour, else (H, W, 3); 0 = black.
        index: position in the file, from 0.
        time_s: since the first frame of the file, None when unknown.
    """

    pixels: Pixels
    index: int = 0
    time_s: float | None = None

    @property
    def rgb(self) -> Pixels:
        """uint8 (H, W, 3); three equal planes for a frame without colour."""
        return self.pixels if self.pixels.ndim == 3 else np.stack([self.pixels] * 3, axis=-1)

    @property
    def grey(self) -> Pixels:
        """uint8 (H, W); luma of a frame with colour."""
        return grey_of(self.pixels)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An opened file and its selected frames, in the order of the file.

    ``frames`` may decode lazily: iterate over it once.
    """

    info: ImageInfo
    frames: Iterable[DecodedFrame]

    def __iter__(self) -> Iterator[DecodedFrame]:
        return iter(self.frames)


def grey_of(pixels: Pixels) -> Pixels:
    """uint8 (H, W); of a frame with colour the ITU-R BT.601 luma, as the encoder was trained on."""
    if pixels.ndim == 2:
        return pixels
    if _is_coloured_throughout(pixels):
        return np.array(Image.fromarray(pixels).convert("L"))
    grey_HW, (left, top, right, bottom) = grey_and_coloured_box(pixels)
    # Most screens are grey but for a few marks. The luma of grey is the grey itself, so Pillow,
    # whose rounding the digests of stored pixels depend on, converts the coloured part alone.
    if right > left:
        part = np.s_[top:bottom, left:right]
        grey_HW[part] = np.asarray(Image.fromarray(pixels[part]).convert("L"))
    return grey_HW


def _is_coloured_throughout(frame_HW3: Pixels) -> bool:
    """Whether most of some pixels have a colour, as in videos whose compression tints their grey.

    Then Pillow converts nearly all of the frame, and to look for the rest costs as much again.
    """
    few = frame_HW3[::_SAMPLED_PX, ::_SAMPLED_PX]
    coloured = (few[..., 0] != few[..., 1]) | (few[..., 0] != few[..., 2])
    return bool(2 * np.count_nonzero(coloured) > coloured.size)


def grey_and_coloured_box(frame_HW3: Pixels) -> tuple[Pixels, tuple[int, int, int, int]]:
    """The luma of a frame by OpenCV, and the box x0, y0, x1, y1 of all pixels with a colour.

    The luma of a grey pixel is its grey; of others it may differ by one from Pillow's. The box is
    0, 0, 0, 0 without colour.
    """
    height, width = frame_HW3.shape[:2]
    grey_HW = np.empty((height, width), np.uint8)
    again_hw3 = np.empty((min(height, _BAND_ROWS), width, 3), np.uint8)
    boxes = []
    # A grey frame equals its luma in every channel. To take the channels apart costs three times
    # as much, and bands stay in the cache of the processor.
    for top in range(0, height, _BAND_ROWS):
        band_hw3, grey_hw = frame_HW3[top : top + _BAND_ROWS], grey_HW[top : top + _BAND_ROWS]
        grey_hw3 = again_hw3[: len(grey_hw)]
        cv2.cvtColor(band_hw3, cv2.COLOR_RGB2GRAY, dst=grey_hw)
        cv2.cvtColor(grey_hw, cv2.COLOR_GRAY2RGB, dst=grey_hw3)
        if cv2.norm(band_hw3, grey_hw3, cv2.NORM_L1):
            apart_hw = cv2.absdiff(band_hw3, grey_hw3).reshape(len(grey_hw), 3 * width)
            left, upper, across, down = cv2.boundingRect(apart_hw)
            right = left + across
            boxes.append((left // 3, top + upper, -(-right // 3), top + upper + down))
    if not boxes:
        return grey_HW, (0, 0, 0, 0)
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return grey_HW, (min(lefts), min(tops), max(rights), max(bottoms))


def rounded(values: npt.NDArray[np.floating]) -> Pixels:
    """The nearest uint8 of each value in 0..255."""
    return np.asarray(np.rint(values).astype(np.uint8))


def significant_bits(brightest: int) -> int:
    """The smallest of 8, 10, 12, 14 or 16 bits that hold a value of at most 65535."""
    return next(bits for bits in _SIGNIFICANT_BITS if brightest < 2**bits)


def without_colour(rgb_HW3: Pixels) -> Pixels:
    """(H, W) when the three planes are equal everywhere, else the same array."""
    # Compare a few pixels first: that is enough for most coloured frames.
    few = rgb_HW3[::_SAMPLED_PX, ::_SAMPLED_PX]
    if np.any(few[..., 0] != few[..., 1]) or np.any(few[..., 0] != few[..., 2]):
        return rgb_HW3
    planes_HW = [cv2.extractChannel(rgb_HW3, channel) for channel in (0, 1, 2)]
    if any(not np.array_equal(planes_HW[0], plane_HW) for plane_HW in planes_HW[1:]):
        return rgb_HW3
    return np.asarray(planes_HW[0], np.uint8)
