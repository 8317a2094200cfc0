"""The tags of a DICOM header that are read beside the pixels: regions, spacing, timing, device."""

import math
from typing import Any

import numpy as np
from pydicom import Dataset

from service.imaging.formats.frames import SPATIAL_2D, Device, DicomRegion

_PALETTE_TAGS = tuple(
    f"{kind}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)
TAGS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "PresentationLUTShape",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    *_PALETTE_TAGS,
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
    "SequenceOfUltrasoundRegions",
    "PixelSpacing",
    "BurnedInAnnotation",
    "FrameTime",
    "FrameTimeVector",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "Manufacturer",
    "ManufacturerModelName",
    "TransducerType",
    "TransducerData",
    "DepthOfScanField",
)
# PS3.3 C.8.5.5.1.15
_UNITS = ("", "%", "dB", "cm", "s", "Hz", "dB/s", "cm/s", "cm2", "cm2/s", "cm3", "cm3/s", "deg")
_MAX_TEXT = 64


def number(dataset: Dataset, name: str) -> float | None:
    """The first value of a tag as a finite number; None without one."""
    value = dataset.get(name)
    try:
        first = float(
            value if isinstance(value, str) or not hasattr(value, "__len__") else value[0]
        )
    except (TypeError, ValueError, IndexError):
        return None
    return first if math.isfinite(first) else None


def rate_hz(dataset: Dataset) -> float | None:
    """Frames per second: FrameTime, FrameTimeVector, CineRate or RecommendedDisplayFrameRate."""
    frame_ms = number(dataset, "FrameTime")
    if frame_ms is not None and frame_ms > 0:
        return 1000 / frame_ms
    times_s = frame_times(dataset)
    if times_s is not None and len(times_s) > 1 and times_s[-1] > 0:
        return (len(times_s) - 1) / times_s[-1]
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = number(dataset, name)
        if rate is not None and rate > 0:
            return rate
    return None


def frame_times(dataset: Dataset) -> list[float] | None:
    """Seconds since the first frame, from FrameTimeVector (PS3.3 C.7.6.5.1.2)."""
    vector = dataset.get("FrameTimeVector")
    if vector is None or not hasattr(vector, "__len__") or not len(vector):
        return None
    steps_ms = np.array([float(step) for step in vector])
    if not np.isfinite(steps_ms).all() or (steps_ms < 0).any():
        return None
    # The first entry is the time before the first frame; it must be zero and is not always.
    steps_ms[0] = 0
    return [float(time_s) for time_s in np.cumsum(steps_ms) / 1000]


def regions(dataset: Dataset, width_px: int, height_px: int) -> tuple[DicomRegion, ...]:
    """Ultrasound regions, cut to the frame; those without an area are left out."""
    items = dataset.get("SequenceOfUltrasoundRegions") or []
    areas = (_region(item, width_px, height_px) for item in items)
    return tuple(area for area in areas if area is not None)


def _region(item: Dataset, width_px: int, height_px: int) -> DicomRegion | None:
    corners = [
        number(item, f"RegionLocation{name}") for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")
    ]
    if any(corner is None for corner in corners):
        return None
    left, top, right, bottom = (int(corner or 0) for corner in corners)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(width_px, right + 1), min(height_px, bottom + 1)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    return DicomRegion(
        x0,
        y0,
        x1,
        y1,
        spatial_format=int(number(item, "RegionSpatialFormat") or 0),
        data_type=int(number(item, "RegionDataType") or 0),
        delta_x=number(item, "PhysicalDeltaX"),
        delta_y=number(item, "PhysicalDeltaY"),
        unit_x=_unit(item, "PhysicalUnitsXDirection"),
        unit_y=_unit(item, "PhysicalUnitsYDirection"),
    )


def _unit(item: Dataset, name: str) -> str:
    code = int(number(item, name) or 0)
    return _UNITS[code] if 0 <= code < len(_UNITS) else ""


def spacing_mm(dataset: Dataset, areas: tuple[DicomRegion, ...]) -> tuple[float, float] | None:
    """(row, column) size of a pixel: of the first 2D region in cm, else PixelSpacing."""
    for region in areas:
        if region.spatial_format == SPATIAL_2D and region.spacing_mm is not None:
            return region.spacing_mm
    spacing = dataset.get("PixelSpacing")
    if spacing is None or not hasattr(spacing, "__len__") or len(spacing) != 2:
        return None
    row, column = float(spacing[0]), float(spacing[1])
    return (row, column) if min(row, column) > 0 and math.isfinite(row + column) else None


def burned_in(dataset: Dataset) -> bool | None:
    """BurnedInAnnotation; None when it is neither YES nor NO."""
    return {"YES": True, "NO": False}.get(str(dataset.get("BurnedInAnnotation", "")).strip())


def device(dataset: Dataset) -> Device:
    """The machine that made the image."""
    return Device(
        manufacturer=_text(dataset, "Manufacturer"),
        model=_text(dataset, "ManufacturerModelName"),
        transducer=_text(dataset, "TransducerData") or _text(dataset, "TransducerType"),
        depth_mm=number(dataset, "DepthOfScanField"),
    )


def _text(dataset: Dataset, name: str) -> str:
    value: Any = dataset.get(name)
    if value is None:
        return ""
    first = value if isinstance(value, str) else (value[0] if len(value) else "")
    shown = "".join(c for c in str(first) if c.isprintable()).strip()
    return shown[:_MAX_TEXT]
