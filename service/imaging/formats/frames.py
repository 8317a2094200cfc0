"""What a decoded file gives, whatever its format: frames, and the facts that go with them.

Shape suffixes: H height, W width, 3 = red, green, blue.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels: TypeAlias = npt.NDArray[np.uint8]
Kind: TypeAlias = Literal["frame", "cine"]

# RegionSpatialFormat and RegionDataType (DICOM PS3.3 C.8.5.5.1.1 and C.8.5.5.1.2).
SPATIAL_2D, SPATIAL_M_MODE, SPATIAL_SPECTRAL, SPATIAL_WAVEFORM, SPATIAL_GRAPHICS = 1, 2, 3, 4, 5
TISSUE = 1


@dataclass(frozen=True, slots=True)
class DicomRegion:
    """One item of SequenceOfUltrasoundRegions (DICOM PS3.3 C.8.5.5).

    Attributes:
        x0, y0, x1, y1: pixels, half open: the region is ``pixels_HW[y0:y1, x0:x1]``.
        spatial_format: 1 = 2D, 2 = M-mode, 3 = spectral, 4 = waveform, 5 = graphics, 0 = none.
        data_type: 1 = tissue, 2 = colour flow, ...; 0 = not told.
        delta_x, delta_y: physical size of a pixel, None when not told.
        unit_x, unit_y: ``cm``, ``s``, ``Hz``, ... of the deltas; empty = none.
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


@dataclass(frozen=True, slots=True)
class Device:
    """What made the picture, as far as the file tells; never anything of a patient."""

    manufacturer: str = ""
    model: str = ""
    transducer: str = ""
    depth_mm: float | None = None

    def to_json(self) -> dict[str, Any] | None:
        """For answers and for the catalog; None when nothing is told."""
        return None if self == Device() else asdict(self)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Facts of a file that are known before its first frame is decoded.

    Attributes:
        format: lower-case name, such as ``png``, ``dicom``, ``mp4``.
        encoding: how the pixels are packed: a DICOM transfer syntax or a video codec, or empty.
        frames_in_file: as the file declares or as counted; at least 1.
        frame_rate_hz: None when unknown or for a still.
        spacing_mm: (row, column) size of a pixel, None when not told.
        burned_in: BurnedInAnnotation (0028,0301) of DICOM, None when not told.
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
    burned_in: bool | None = None
    device: Device = Device()


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame.

    Attributes:
        pixels: uint8, (H, W) when it holds no colour, else (H, W, 3); 0 = black.
        index: its place in the file, from 0.
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
    """An opened file and the frames that were asked for, in the order of the file.

    ``frames`` may be an iterator that decodes as it is walked: walk it once.
    """

    info: ImageInfo
    frames: Iterable[DecodedFrame]

    def __iter__(self) -> Iterator[DecodedFrame]:
        return iter(self.frames)


def luma(rgb_HW3: Pixels) -> Pixels:
    """ITU-R BT.601 luma, uint8 (H, W), as the encoder was trained on."""
    return np.asarray(Image.fromarray(rgb_HW3).convert("L"))


def grey_of(pixels: Pixels) -> Pixels:
    """uint8 (H, W); luma of a frame with colour."""
    return pixels if pixels.ndim == 2 else luma(pixels)


def without_colour(rgb_HW3: Pixels) -> Pixels:
    """(H, W) when the three planes are equal everywhere, else the same array."""
    red_HW = rgb_HW3[..., 0]
    # A sparse look first: most coloured frames are told apart by it alone.
    for step in (16, 1):
        for plane in (1, 2):
            if not np.array_equal(red_HW[::step, ::step], rgb_HW3[::step, ::step, plane]):
                return rgb_HW3
    return np.ascontiguousarray(red_HW)
