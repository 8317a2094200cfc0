"""One frame -> what of it is used, what is shown, and what there is to say about it.

The only place where region, text and quality meet; the corridor calls it once per frame.

Shape suffixes: h height, w width of a used region.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.imaging.analysis import quality, regions
from service.imaging.analysis.colours import find_colour_overlay, without_flow
from service.imaging.analysis.quality import QualityFinding
from service.imaging.analysis.regions import Box, Region
from service.imaging.analysis.text import TextBox, TextFinder, without
from service.imaging.formats.frames import DicomRegion, grey_of

Pixels: TypeAlias = npt.NDArray[np.uint8]
RegionMode: TypeAlias = Literal["auto", "none"] | Box
Risk: TypeAlias = Literal["none", "low", "high"]
RISKS: tuple[Risk, ...] = ("none", "low", "high")

SURE = 0.5  # least confidence of a region for its outside to count as separated
CONTEXT_PX = 24  # around a region, where letters that reach into it begin
MANY_BOXES, MUCH_SHARE = 4, 0.04  # more writing than a label or a measure: the screen itself


@dataclass(frozen=True, slots=True)
class RegionView:
    """One used region of a frame.

    Attributes:
        used_hw: uint8, what the encoder gets: the region's box, black outside its outline, writing
            inside it filled with the grey around. As it is when the caller wanted no region.
        shown_hw: uint8, what a thumbnail may show: never with writing that was found.
        texts: writing inside the region, in its pixels.
        text_px: pixels of their boxes.
        masked_px: pixels of the region's box that are not as the machine gave them.
    """

    region: Region
    used_hw: Pixels
    shown_hw: Pixels
    texts: tuple[TextBox, ...]
    text_px: int
    masked_px: int


@dataclass(frozen=True, slots=True)
class FrameAnalysis:
    """What was looked at, without any pixel: this goes into answers and the catalog.

    Attributes:
        regions: used ones, largest first; each is embedded.
        masked_px: pixels of the frame that were not used, or not as the machine gave them.
        risk: that a name is left in what is used or shown, or was hard to tell from the scan.
        risk_reasons: closed list, see ``docs/frame-analysis.md``.
        findings: of the quality gate, on the largest region.
    """

    regions: tuple[Region, ...]
    masked_px: int
    risk: Risk
    risk_reasons: tuple[str, ...] = ()
    findings: tuple[QualityFinding, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For answers and for the catalog."""
        return {
            "regions": [_region_json(region) for region in self.regions],
            "masked_px": self.masked_px,
            "burned_in_risk": self.risk,
            "burned_in_reasons": list(self.risk_reasons),
            "quality": [
                {"reason": f.reason, "value": f.value, "limit": f.limit} for f in self.findings
            ],
        }


@dataclass(frozen=True, slots=True)
class AnalyzedFrame:
    """A frame after the look: a view per region, largest first, and what there is to say."""

    views: tuple[RegionView, ...]
    analysis: FrameAnalysis


def parse_region_mode(text: str) -> RegionMode:
    """``auto``, ``none``, or a box ``x0,y0,x1,y1`` in pixels. Raises InputError."""
    if text == "auto":
        return "auto"
    if text == "none":
        return "none"
    parts = text.split(",")
    if len(parts) != 4 or not all(p.strip().isascii() and p.strip().isdecimal() for p in parts):
        raise InputError("expected region to be auto, none, or x0,y0,x1,y1 in pixels")
    if max(len(p) for p in parts) > 9:
        raise InputError("expected region corners below 10^9 px")
    x0, y0, x1, y1 = (int(p) for p in parts)
    return x0, y0, x1, y1


def use_one_thread() -> None:
    """Keep OpenCV off the cores of the encoder; the corridor decodes on threads of its own."""
    cv2.setNumThreads(1)


def analyze_frame(
    pixels: Pixels,
    finder: TextFinder,
    *,
    region_mode: RegionMode = "auto",
    declared: Sequence[DicomRegion] = (),
    tagged: bool | None = None,
) -> AnalyzedFrame:
    """Find the scan, blank what is not it, mask writing in it, and judge it.

    Args:
        pixels: uint8 (H, W) or (H, W, 3).
        finder: of text.
        region_mode: ``auto``, ``none`` (the whole frame, unmasked for the encoder), or a box.
        declared: regions that the file tells of.
        tagged: BurnedInAnnotation of the file.

    Raises:
        InputError: the wished box is not inside the frame.
    """
    found = choose_regions(pixels, region_mode, declared)
    return analyze_regions(pixels, found, finder, keep=region_mode == "none", tagged=tagged)


def analyze_regions(
    pixels: Pixels,
    found: Sequence[Region],
    finder: TextFinder,
    *,
    keep: bool,
    tagged: bool | None = None,
) -> AnalyzedFrame:
    """As ``analyze_frame``, with known regions; ``keep``: the encoder gets writing as well."""
    views = tuple(_view(pixels, region, finder, keep=keep) for region in found)
    kept = sum(v.used_hw.size - v.masked_px for v in views)
    risk, reasons = _risk(views, keep, tagged)
    x0, y0, x1, y1 = found[0].box
    analysis = FrameAnalysis(
        regions=tuple(found),
        masked_px=max(0, pixels.shape[0] * pixels.shape[1] - kept),
        risk=risk,
        risk_reasons=reasons,
        findings=quality.assess_quality(pixels[y0:y1, x0:x1]),
    )
    return AnalyzedFrame(views, analysis)


def choose_regions(
    pixels: Pixels, region_mode: RegionMode, declared: Sequence[DicomRegion] = ()
) -> tuple[Region, ...]:
    """What to use of a frame, largest first. Raises InputError: a box that is not inside it."""
    height, width = pixels.shape[:2]
    if region_mode == "none":
        return (regions.whole(height, width),)
    if region_mode != "auto":
        return (regions.given(region_mode, height, width),)
    told = regions.declared(declared, height, width)
    if told:
        return tuple(regions.within(region, pixels) for region in told)
    return (regions.from_pixels(pixels),)


def _view(pixels: Pixels, region: Region, finder: TextFinder, *, keep: bool) -> RegionView:
    x0, y0, x1, y1 = region.box
    inner = pixels[y0:y1, x0:x1]
    used_hw = grey_of(inner).copy()
    inside_hw = region.mask()
    if inside_hw is not None:
        used_hw[~inside_hw] = 0
    texts = _texts(pixels, region, inside_hw, finder)
    shown_hw = without(used_hw, texts)
    text_hw = np.zeros(used_hw.shape, bool)
    for item in texts:
        text_hw[_slices(item.box)] = True
    text_px = int(text_hw.sum())
    if keep:
        return RegionView(region, used_hw, shown_hw, texts, text_px, 0)
    masked_px = text_px
    if inside_hw is not None:
        masked_px = int((text_hw | ~inside_hw).sum())
    return RegionView(region, shown_hw, shown_hw, texts, text_px, masked_px)


def _texts(
    pixels: Pixels,
    region: Region,
    inside_hw: npt.NDArray[np.bool_] | None,
    finder: TextFinder,
) -> tuple[TextBox, ...]:
    """Writing in the region, in its pixels; letters that its edge cuts are seen whole."""
    x0, y0, x1, y1 = region.box
    left, top = max(0, x0 - CONTEXT_PX), max(0, y0 - CONTEXT_PX)
    around = pixels[top : y1 + CONTEXT_PX, left : x1 + CONTEXT_PX]
    found = []
    for item in _written(around, finder):
        box = (
            max(0, item.box[0] + left - x0),
            max(0, item.box[1] + top - y0),
            min(x1 - x0, item.box[2] + left - x0),
            min(y1 - y0, item.box[3] + top - y0),
        )
        if box[0] >= box[2] or box[1] >= box[3]:
            continue
        if inside_hw is None or inside_hw[_slices(box)].any():
            found.append(TextBox(box, item.confidence))
    return tuple(found)


def _written(around: Pixels, finder: TextFinder) -> tuple[TextBox, ...]:
    """Writing, and colour scales with their labels; colour flow is no writing."""
    paint = find_colour_overlay(around) if around.ndim == 3 else None
    if paint is None:
        return finder.find(around)
    texts = finder.find(without_flow(around, paint.flow_hw))
    return (*texts, *(TextBox(box, 1.0) for box in paint.scales))


def _slices(box: Box) -> tuple[slice, slice]:
    x0, y0, x1, y1 = box
    return slice(y0, y1), slice(x0, x1)


def _risk(
    views: Sequence[RegionView], keep: bool, tagged: bool | None
) -> tuple[Risk, tuple[str, ...]]:
    boxes = sum(len(view.texts) for view in views)
    area = sum(view.text_px for view in views)
    unsure = any(view.region.confidence < SURE for view in views)
    reasons: list[str] = []
    if boxes:
        reasons.append("text_kept" if keep else "text_masked")
    much = boxes > MANY_BOXES or area > MUCH_SHARE * sum(v.used_hw.size for v in views)
    if much:
        reasons.append("much_text")
    if unsure:
        reasons.append("region_unsure")
    if tagged:
        reasons.append("tagged_by_file")
    high = much or (boxes > 0 and (keep or unsure)) or (bool(tagged) and unsure)
    if high:
        return "high", tuple(reasons)
    return ("low" if reasons else "none"), tuple(reasons)


def _region_json(region: Region) -> dict[str, Any]:
    spacing = region.spacing_mm
    return {
        "box": list(region.box),
        "outline": [list(corner) for corner in region.outline],
        "found": region.found,
        "confidence": round(region.confidence, 3),
        "spacing_mm": None if spacing is None else list(spacing),
    }
