"""The ultrasound region of a frame: declared by the file, found in the pixels, or given.

A frame is often a whole screen: a sector or rectangle of echoes among text, grey bar, ruler, ECG
and buttons. Everything outside the region is blanked before a frame is embedded or stored.

Shape suffixes: T frames, H height, W width, h w of the box of a region.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Pixels
from service.errors import InputError
from service.imaging.analysis.boxes import Box, area_px, clipped, crop, is_inside, shifted
from service.imaging.analysis.pixels import MIN_SIDE_PX
from service.imaging.analysis.scan_search import (
    MAX_SPLITS,
    MIN_AREA_SHARE,
    WHOLE_SHARE,
    FoundScan,
    find_scans,
    moving_parts,
    tissue_of,
)
from service.imaging.formats.frames import SPATIAL_2D, DicomRegion

RegionSource: TypeAlias = Literal["declared", "pixels", "motion", "caller", "whole"]

MAX_REGIONS = 8  # of a frame, each embedded separately; machines show at most four
MUCH_OUTSIDE, MUCH_CROSSED = 0.15, 0.5  # of the tissue; of an edge of a declared region
BESIDE_PX = 3  # from such an edge, at the small size
CROWDED_CONFIDENCE = 0.9  # at most, where furniture was cut off or panes were told apart


@dataclass(frozen=True, slots=True)
class Region:
    """One ultrasound region.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the frame.
        source: ``declared`` by DICOM, from the ``pixels``, from the ``motion`` of a clip, given by
            the ``caller``, or the ``whole`` frame when no region was found or requested.
        confidence: 0..1 that box and outline contain the scan and nothing else.
        outline: corners (x, y) of a convex polygon inside the box, in pixels of the frame; empty =
            the box.
        spacing_mm: (row, column) size of a pixel, None when not declared.
    """

    box: Box
    source: RegionSource
    confidence: float
    outline: tuple[tuple[int, int], ...] = ()
    spacing_mm: tuple[float, float] | None = None

    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Inside of the outline, bool (h, w); None when the whole box is inside."""
        if not self.outline:
            return None
        x0, y0, x1, y1 = self.box
        inside_hw = np.zeros((y1 - y0, x1 - x0), np.uint8)
        corners = np.array(self.outline, np.int32) - np.array((x0, y0), np.int32)
        cv2.fillConvexPoly(inside_hw, corners, (1,))
        return inside_hw.astype(bool)


def whole(height_px: int, width_px: int) -> Region:
    """The whole frame."""
    return Region((0, 0, width_px, height_px), "whole", 0.0)


def given(box: Box, height_px: int, width_px: int) -> Region:
    """The box of the caller. Raises InputError: it is outside the frame, or a side is too short."""
    x0, y0, x1, y1 = box
    if min(x0, y0) < 0 or x1 > width_px or y1 > height_px:
        raise InputError(f"expected a region inside {width_px} x {height_px} px, got {list(box)}")
    if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        raise InputError(f"expected region sides of at least {MIN_SIDE_PX} px, got {list(box)}")
    return Region(box, "caller", 1.0)


def declared(regions: Sequence[DicomRegion], height_px: int, width_px: int) -> tuple[Region, ...]:
    """The 2D regions of SequenceOfUltrasoundRegions (DICOM PS3.3 C.8.5.5), largest first.

    Spectra, M-mode, waveforms and graphics are left out, and so is a region inside another one
    (a colour box in its tissue). Boxes are clipped to the frame; the eight largest are used.
    """
    areas = []
    for region in regions:
        box = clipped((region.x0, region.y0, region.x1, region.y1), width_px, height_px)
        is_large = area_px(box) / (height_px * width_px) >= MIN_AREA_SHARE
        if region.spatial_format == SPATIAL_2D and is_large:
            areas.append(Region(box, "declared", 0.9, spacing_mm=region.spacing_mm))
    areas.sort(key=lambda area: -area_px(area.box))
    kept: list[Region] = []
    for area in areas:
        if not any(is_inside(area.box, other.box, share=0.9) for other in kept):
            kept.append(area)
    return tuple(kept[:MAX_REGIONS])


def cut_tissue(regions: Sequence[DicomRegion], pixels: Pixels) -> bool:
    """Whether declared regions cannot be those of this frame, although they lie inside it.

    After a frame was enlarged, cropped or padded, an edge of a 2D region runs through the tissue
    and much of it lies outside every region, or a region is black and the scan elsewhere.
    """
    found = tissue_of(pixels)
    if found is None:
        return False
    tissue_hw, scale = found
    boxes = [_scaled((r.x0, r.y0, r.x1, r.y1), scale) for r in regions]
    scans = [box for box, r in zip(boxes, regions, strict=True) if r.spatial_format == SPATIAL_2D]
    outside_hw = tissue_hw.copy()
    for box in boxes:
        crop(outside_hw, box)[:] = 0
    outside = float(outside_hw.sum()) / max(1, int(tissue_hw.sum()))
    if outside >= MUCH_OUTSIDE and any(_crossed(tissue_hw, box) >= MUCH_CROSSED for box in scans):
        return True
    is_black = all(crop(tissue_hw, box).mean() < MIN_AREA_SHARE for box in scans)
    return is_black and outside >= 1 - MIN_AREA_SHARE


def _crossed(tissue_hw: Pixels, box: Box) -> float:
    """The largest share of an edge of the box with tissue on both sides of it."""
    x0, y0, x1, y1 = box
    pairs = [
        *((tissue_hw[y0:y1], x) for x in (x0, x1)),
        *((tissue_hw.T[x0:x1], y) for y in (y0, y1)),
    ]
    shares = [0.0]
    for lines_hw, edge in pairs:
        before, after = edge - BESIDE_PX, edge + BESIDE_PX
        if before >= 0 and after < lines_hw.shape[1] and len(lines_hw):
            shares.append(float((lines_hw[:, before] & lines_hw[:, after]).mean()))
    return max(shares)


def _scaled(box: Box, scale: float) -> Box:
    x0, y0, x1, y1 = (round(side * scale) for side in box)
    return x0, y0, x1, y1


def from_pixels(pixels: Pixels) -> Region:
    """The region of one frame, uint8 (H, W) or (H, W, 3): the hull of lit, textured pixels."""
    return _regions(find_scans(pixels, splits=0), pixels, "pixels")[0]


def panes(pixels: Pixels) -> tuple[Region, ...]:
    """As ``from_pixels``, and one region for each pane of the screen, largest first."""
    return _regions(find_scans(pixels, splits=MAX_SPLITS), pixels, "pixels")


def within(region: Region, pixels: Pixels) -> Region:
    """A declared region, tightened to the scan inside it: its corners often contain text.

    The near field stays, also where black lies between it and the rest.
    """
    x0, y0 = region.box[:2]
    inside = crop(pixels, region.box)
    inner = _regions(find_scans(inside, splits=0, is_declared=True), inside, "pixels")[0]
    if inner.source == "whole" or inner.confidence < 0.5:
        return region
    return replace(
        region,
        box=shifted(inner.box, x0, y0),
        outline=tuple((x + x0, y + y0) for x, y in inner.outline),
    )


def from_clip(frames_THW: Pixels) -> Region:
    """The region of a clip: echoes move, and the text and graphics beside them do not.

    Args:
        frames_THW: uint8 greys of at least two frames; a dozen spread over the clip are enough.

    Returns:
        A region from ``motion``, or from the ``pixels`` of the mean frame when too little moves.

    Raises:
        InputError: the frames are not uint8 of three axes.
    """
    return _of_clip(frames_THW, splits=0)[0]


def clip_panes(frames_THW: Pixels) -> tuple[Region, ...]:
    """As ``from_clip``, and one region for each pane of the screen, largest first.

    A pane that stands still beside a moving one is left out.
    """
    return _of_clip(frames_THW, splits=MAX_SPLITS)


def cut(pixels: Pixels, region: Region) -> Pixels:
    """A copy of the box of the region, black outside its outline."""
    return blanked(crop(pixels, region.box), region)


def blanked(used: Pixels, region: Region) -> Pixels:
    """A copy of the pixels of the box of the region, black outside its outline."""
    inside_hw = region.mask()
    if inside_hw is None:
        return used.copy()
    return np.asarray(cv2.bitwise_and(used, used, mask=inside_hw.view(np.uint8)), np.uint8)


def _of_clip(frames_THW: Pixels, splits: int) -> tuple[Region, ...]:
    if frames_THW.dtype != np.uint8 or frames_THW.ndim != 3 or 0 in frames_THW.shape:
        raise InputError(f"expected uint8 (T, H, W), got {frames_THW.dtype} {frames_THW.shape}")
    moving_hw = moving_parts(frames_THW)
    mean_HW = frames_THW.mean(0).astype(np.uint8)
    source: RegionSource = "pixels" if moving_hw is None else "motion"
    return _regions(find_scans(mean_HW, moving_hw, splits=splits), mean_HW, source)


def _regions(
    scans: Sequence[FoundScan], pixels: Pixels, source: RegionSource
) -> tuple[Region, ...]:
    """At least one region, largest first."""
    height, width = pixels.shape[:2]
    found = [_region(scan, height, width, source) for scan in scans]
    found = [region for region in found if region.source != "whole"]
    found.sort(key=lambda region: -area_px(region.box))
    return tuple(found[:MAX_REGIONS]) or (whole(height, width),)


def _region(scan: FoundScan, height: int, width: int, source: RegionSource) -> Region:
    (x0, y0), (x1, y1) = scan.corners.min(0).tolist(), scan.corners.max(0).tolist()
    area = float(cv2.contourArea(scan.corners.astype(np.int32))) / (width * height)
    if area >= WHOLE_SHARE:
        return Region((0, 0, width, height), "pixels", 1.0)
    if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        return whole(height, width)
    confidence = float(np.clip((scan.fill - 0.3) / 0.5, 0.05, 1) * np.clip(area / 0.08, 0.2, 1))
    if scan.is_crowded:
        confidence = min(confidence, CROWDED_CONFIDENCE)
    box_area = (x1 - x0) * (y1 - y0) / (width * height)
    corners = tuple((x, y) for x, y in scan.corners.tolist())
    outline = () if area >= WHOLE_SHARE * box_area else corners
    return Region((x0, y0, x1, y1), source, confidence, outline)
