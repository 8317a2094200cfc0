"""The tags of a DICOM header that are read beside the pixels: geometry, device.

Files are resized and cropped after machines wrote them, and many programs leave the tags as they
were. What contradicts the frame or is impossible is not believed, and becomes a correction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydicom import Dataset

from service.imaging.formats.frames import SPATIAL_2D, Correction, Device, DicomRegion
from service.imaging.formats.square_pixels import MAX_ASPECT, SQUARE_TOLERANCE

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
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelAspectRatio",
    "BurnedInAnnotation",
    "FrameIncrementPointer",
    "FrameTime",
    "FrameTimeVector",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "Manufacturer",
    "ManufacturerModelName",
    "TransducerType",
    "TransducerData",
    "DepthOfScanField",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
# PS3.3 C.8.5.5.1.15
_UNITS = ("", "%", "dB", "cm", "s", "Hz", "dB/s", "cm/s", "cm2", "cm2/s", "cm3", "cm3/s", "deg")
_MAX_TEXT = 64
OVERHANG_PX, OVERHANG_SHARE = 2, 0.01  # a region may pass the frame by so much
PADDING_PX = 16  # by so much the size of a video stream may differ from the tags
MIN_PX_MM, MIN_SIDE_MM = 0.015, 8.0  # of a pixel; of the longer side of a scan
MAX_DEPTH_MM, MAX_WIDTH_MM = 450.0, 700.0  # deep abdominal scans reach 400; panoramas are wide


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


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """Where the scans are in the frame, and the size and shape of its pixels.

    Attributes:
        spacing_mm: (row, column) size of a pixel anywhere in the frame, None when not known.
        pixel_aspect: height of a pixel divided by its width, None when not declared.
    """

    regions: tuple[DicomRegion, ...] = ()
    spacing_mm: tuple[float, float] | None = None
    pixel_aspect: float | None = None
    corrections: tuple[Correction, ...] = ()


def geometry(dataset: Dataset, width_px: int, height_px: int) -> FrameGeometry:
    """Regions (PS3.3 C.8.5.5), spacing and shape of the pixels, as far as the frame allows.

    A region that passes the frame was written for another frame, and an impossible scale belongs
    to another picture. Then no region and no spacing is believed: nothing tells what was changed.
    """
    items = [_region(item) for item in dataset.get("SequenceOfUltrasoundRegions") or []]
    scans = [region for region in items if region.spatial_format == SPATIAL_2D]
    sound = [region for region in items if _has_area(region)]
    is_stale = bool(sound) and (
        _is_resized(dataset, width_px, height_px)
        or any(_passes(region, width_px, height_px) for region in sound)
    )
    scales = [r.spacing_mm for r in scans if _has_area(r) and r.spacing_mm and not _has_scale(r)]
    is_believed = not is_stale and not scales
    kept = tuple(_clipped(r, width_px, height_px) for r in sound) if is_believed else ()
    corrections = []
    if len(kept) < len(sound) or not all(_has_area(region) for region in scans):
        corrections.append(Correction("regions", len(items), len(kept) or None))
    spacing_mm = None
    if is_believed:
        spacing_mm = _common_spacing(kept) or _pair(dataset, "PixelSpacing")
        if spacing_mm is not None and not _is_possible(spacing_mm, width_px, height_px):
            scales, spacing_mm = [spacing_mm], None
    if scales:
        corrections.append(Correction("spacing", scales[0][0]))
    elif _is_unusable(dataset, "PixelSpacing"):
        corrections.append(Correction("spacing"))
    aspect, wrong_shape = _pixel_aspect(dataset, kept, spacing_mm)
    return FrameGeometry(kept, spacing_mm, aspect, (*corrections, *wrong_shape))


def _region(item: Dataset) -> DicomRegion:
    """An item of the sequence as it is declared; without an area when a corner is missing."""
    names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    corners = [number(item, f"RegionLocation{name}") for name in names]
    x0, y0, last_x, last_y = (int(0 if None in corners else corner or 0) for corner in corners)
    return DicomRegion(
        x0,
        y0,
        last_x + 1,
        last_y + 1,
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


def _has_area(region: DicomRegion) -> bool:
    return region.x1 - region.x0 >= 2 and region.y1 - region.y0 >= 2


def _has_scale(region: DicomRegion) -> bool:
    """Whether a region without a scale in cm, or of one that a scan can have."""
    spacing = region.spacing_mm
    sides = region.x1 - region.x0, region.y1 - region.y0
    return spacing is None or _is_possible(spacing, *sides)


def _is_possible(spacing_mm: tuple[float, float], width_px: int, height_px: int) -> bool:
    """Whether a scan of this size in pixels can have this scale."""
    row_mm, column_mm = spacing_mm
    deep_mm, wide_mm = row_mm * height_px, column_mm * width_px
    is_fine = min(row_mm, column_mm) < MIN_PX_MM or max(deep_mm, wide_mm) < MIN_SIDE_MM
    is_vast = deep_mm > MAX_DEPTH_MM or wide_mm > MAX_WIDTH_MM
    return not is_fine and not is_vast and 1 / MAX_ASPECT <= row_mm / column_mm <= MAX_ASPECT


def _is_resized(dataset: Dataset, width_px: int, height_px: int) -> bool:
    """Whether the tags tell another size than the stream has."""
    pairs = (("Columns", width_px), ("Rows", height_px))
    declared = [(number(dataset, name) or actual, actual) for name, actual in pairs]
    return any(abs(tag - actual) > PADDING_PX for tag, actual in declared)


def _passes(region: DicomRegion, width_px: int, height_px: int) -> bool:
    """Whether a region lies beyond the frame by more than careless counting explains."""
    over_x = max(OVERHANG_PX, OVERHANG_SHARE * width_px)
    over_y = max(OVERHANG_PX, OVERHANG_SHARE * height_px)
    return (
        min(region.x0 + over_x, region.y0 + over_y) < 0
        or region.x1 > width_px + over_x
        or region.y1 > height_px + over_y
        or not _has_area(_clipped(region, width_px, height_px))
    )


def _clipped(region: DicomRegion, width_px: int, height_px: int) -> DicomRegion:
    return replace(
        region,
        x0=max(0, region.x0),
        y0=max(0, region.y0),
        x1=min(width_px, region.x1),
        y1=min(height_px, region.y1),
    )


def _common_spacing(regions: Sequence[DicomRegion]) -> tuple[float, float] | None:
    """The spacing of the 2D regions when they agree: then it is that of the frame."""
    spacings = [r.spacing_mm for r in regions if r.spatial_format == SPATIAL_2D]
    known = [spacing for spacing in spacings if spacing is not None]
    return known[0] if known and np.allclose(known, known[0], rtol=0.01) else None


def _pair(dataset: Dataset, name: str) -> tuple[float, float] | None:
    """The two values of a tag, row first; None unless both are finite and above 0."""
    value = dataset.get(name)
    try:
        row, column = (float(item) for item in value or ())
    except (TypeError, ValueError):
        return None
    return (row, column) if min(row, column) > 0 and math.isfinite(row + column) else None


def _is_unusable(dataset: Dataset, name: str) -> bool:
    """Whether a tag of two values is there and does not hold them."""
    return bool(dataset.get(name)) and _pair(dataset, name) is None


def _pixel_aspect(
    dataset: Dataset, regions: Sequence[DicomRegion], spacing_mm: tuple[float, float] | None
) -> tuple[float | None, tuple[Correction, ...]]:
    """Height over width of a pixel: by the largest 2D region, else by spacing, else as shown.

    PixelAspectRatio is for files without a spacing (PS3.3 C.7.6.3.1.7); some state both.
    """
    scans = [r for r in regions if r.spatial_format == SPATIAL_2D and r.spacing_mm is not None]
    largest = max(scans, key=lambda r: (r.x1 - r.x0) * (r.y1 - r.y0), default=None)
    shown = _pair(dataset, "PixelAspectRatio")
    measured = (
        None if largest is None else largest.spacing_mm,
        spacing_mm,
        _pair(dataset, "ImagerPixelSpacing"),
        _pair(dataset, "NominalScannedPixelSpacing"),
        shown,
    )
    row, column = next((pair for pair in measured if pair is not None), (None, None))
    aspect = None if row is None or column is None else row / column
    if _is_unusable(dataset, "PixelAspectRatio"):
        return aspect, (Correction("pixel_shape", None, aspect or 1.0),)
    if (
        shown is not None
        and aspect is not None
        and not math.isclose(shown[0] / shown[1], aspect, rel_tol=SQUARE_TOLERANCE)
    ):
        return aspect, (Correction("pixel_shape", shown[0] / shown[1], aspect),)
    return aspect, ()


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
