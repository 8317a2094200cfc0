"""One frame -> its used regions, the pixels that may be shown, and the findings about it.

Only this module combines regions, text and quality.

Shape suffixes: h height, w width of a used region.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from service.arrays import Bools, Pixels
from service.errors import InputError
from service.imaging.analysis import quality, regions
from service.imaging.analysis.boxes import Box, area_px, clipped, crop, shifted
from service.imaging.analysis.colours import find_colour_overlay, on_plates, without_flow
from service.imaging.analysis.pixels import box_of, brightest_and_chroma, grey
from service.imaging.analysis.quality import DOPPLER_SHARE, QualityFinding
from service.imaging.analysis.regions import Region
from service.imaging.analysis.scan_search import WHOLE_SHARE
from service.imaging.analysis.text import (
    TextBox,
    TextFinder,
    is_covered,
    part_to_search,
    without,
)
from service.imaging.formats.frames import DicomRegion, grey_and_coloured_box, grey_of

RegionMode: TypeAlias = Literal["auto", "none"] | Box
Risk: TypeAlias = Literal["none", "low", "high"]
RISKS: tuple[Risk, ...] = ("none", "low", "high")

UNSURE = 0.4  # of a whole frame with writing beside the tissue
RIM_PX, RIM_STEP, FLAT_RIM = 4, 4, 0.8  # around a text: pixels, grey levels, share of one grey
SURE = 0.5  # minimum confidence that a region is separated from the rest of the screen
CONTEXT_PX = 24  # searched around a region, because letters may reach into it
MIN_COLOURED_SHARE = DOPPLER_SHARE / 2  # of the box of a region
NO_BOX: Box = (0, 0, 0, 0)
MANY_BOXES, MUCH_SHARE = 4, 0.04  # above these, text is more than a label or a measurement


@dataclass(frozen=True, slots=True)
class RegionView:
    """One used region of a frame.

    Attributes:
        used_hw: uint8, the input of the encoder: the box of the region, black outside its outline,
            with text masked. Unchanged when the caller requested no region.
        shown_hw: uint8, the pixels for a thumbnail, always with text masked.
        texts: burned-in text inside the region, in its pixels.
        text_px: number of pixels in the boxes of text.
        masked_px: number of changed pixels in the box of the region.
    """

    region: Region
    used_hw: Pixels
    shown_hw: Pixels
    texts: tuple[TextBox, ...]
    text_px: int
    masked_px: int


@dataclass(frozen=True, slots=True)
class FrameAnalysis:
    """The analysis without pixels, for responses and the catalog.

    Attributes:
        regions: the used regions, largest first; each is embedded.
        masked_px: number of pixels of the frame that were not used or were changed.
        risk: that the used or shown pixels still contain a name.
        risk_reasons: words of the list in ``docs/frame-analysis.md``.
        findings: of the quality checks, on the largest region.
    """

    regions: tuple[Region, ...]
    masked_px: int
    risk: Risk
    risk_reasons: tuple[str, ...] = ()
    findings: tuple[QualityFinding, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For responses and the catalog."""
        return {
            "regions": [_region_json(region) for region in self.regions],
            "masked_px": self.masked_px,
            "burned_in_risk": self.risk,
            "burned_in_reasons": list(self.risk_reasons),
            "quality": [asdict(finding) for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class AnalyzedFrame:
    """An analysed frame: one view per region, largest first, and the analysis."""

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
    """Keep OpenCV off the cores of the encoder; the pipeline has decoding threads of its own."""
    cv2.setNumThreads(1)


def analyze_frame(
    pixels: Pixels,
    used: Sequence[Region],
    finder: TextFinder,
    *,
    keep_text: bool,
    tagged: bool | None = None,
) -> AnalyzedFrame:
    """Blank everything outside the used regions, mask text, and assess quality.

    Args:
        pixels: uint8 (H, W) or (H, W, 3).
        used: see ``choose_regions``.
        finder: of text.
        keep_text: do not mask text for the encoder.
        tagged: BurnedInAnnotation of the file.
    """
    first = _Surroundings.of(pixels, used[0].box)
    others = (_Surroundings.of(pixels, region.box) for region in used[1:])
    views = tuple(
        _judged(_view(around, region, finder, keep_text=keep_text), pixels)
        for region, around in zip(used, chain((first,), others), strict=True)
    )
    kept = sum(v.used_hw.size - v.masked_px for v in views)
    risk, reasons = _risk(views, keep_text, tagged)
    analysis = FrameAnalysis(
        regions=tuple(view.region for view in views),
        masked_px=max(0, pixels.shape[0] * pixels.shape[1] - kept),
        risk=risk,
        risk_reasons=reasons,
        findings=quality.assess_quality(first.measured()),
    )
    return AnalyzedFrame(views, analysis)


def texts_in(
    pixels: Pixels, used: Sequence[Region], finder: TextFinder
) -> tuple[tuple[TextBox, ...], ...]:
    """The text in each region as ``analyze_frame`` finds it, in pixels of the region."""
    return tuple(
        _texts(_Surroundings.of(pixels, region.box), region.mask(), finder) for region in used
    )


def choose_regions(
    pixels: Pixels, region_mode: RegionMode, declared: Sequence[DicomRegion] = ()
) -> tuple[Region, ...]:
    """The used regions, largest first.

    Args:
        pixels: uint8 (H, W) or (H, W, 3).
        region_mode: ``auto``, ``none`` (the whole frame), or a box.
        declared: regions that the file declares.

    Raises:
        InputError: the requested box is not inside the frame.
    """
    height, width = pixels.shape[:2]
    if region_mode == "none":
        return (regions.whole(height, width),)
    if region_mode != "auto":
        return (regions.given(region_mode, height, width),)
    areas = regions.declared(declared, height, width)
    if areas:
        return tuple(regions.within(area, pixels) for area in areas)
    return regions.panes(pixels)


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """The box of a region and what is near it.

    Attributes:
        box: of the region, in these pixels.
        brightest_hw: the brightest channel of each pixel.
        chroma_hw: the brightest channel minus the darkest; None where no pixel has a colour.
        colour: a part of these pixels that holds all their colour.
        coloured: the part of the box that holds all its colour, in pixels of the box.
    """

    pixels: Pixels
    box: Box
    brightest_hw: Pixels
    chroma_hw: Pixels | None
    colour: Box
    coloured: Box

    @classmethod
    def of(cls, pixels: Pixels, box: Box) -> "_Surroundings":
        x0, y0, x1, y1 = box
        left, top = max(0, x0 - CONTEXT_PX), max(0, y0 - CONTEXT_PX)
        around = pixels[top : y1 + CONTEXT_PX, left : x1 + CONTEXT_PX]
        inner = shifted(box, -left, -top)
        if around.ndim == 2:
            return cls(around, inner, around, None, NO_BOX, NO_BOX)
        brightest_hw, colour = grey_and_coloured_box(around)
        if not area_px(colour):
            return cls(around, inner, brightest_hw, None, NO_BOX, NO_BOX)
        chroma_hw = np.zeros_like(brightest_hw)
        crop(brightest_hw, colour)[:], crop(chroma_hw, colour)[:] = brightest_and_chroma(
            crop(around, colour)
        )
        coloured = _lit_inside(chroma_hw, colour, inner)
        return cls(around, inner, brightest_hw, chroma_hw, colour, coloured)

    def grey_hw(self) -> Pixels:
        """A copy of the box as the encoder gets it, as by ``grey_of``."""
        used_hw = crop(self.brightest_hw, self.box).copy()  # the grey, where there is no colour
        if area_px(self.coloured):
            part = crop(crop(self.pixels, self.box), self.coloured)
            crop(used_hw, self.coloured)[:] = grey_of(part)
        return used_hw

    def measured(self) -> Pixels:
        """The box for quality: one channel where too little has a colour for a finding about it."""
        is_coloured = area_px(self.coloured) > MIN_COLOURED_SHARE * area_px(self.box)
        return crop(self.pixels if is_coloured else self.brightest_hw, self.box)


def _lit_inside(mask_hw: Pixels, lit: Box, box: Box) -> Box:
    """The box of all pixels above 0 in ``box``, in its pixels; outside ``lit`` there is none."""
    x0, y0 = max(lit[0], box[0]), max(lit[1], box[1])
    part = x0, y0, min(lit[2], box[2]), min(lit[3], box[3])
    found = box_of(crop(mask_hw, part)) if area_px(part) else NO_BOX
    return shifted(found, x0 - box[0], y0 - box[1]) if area_px(found) else NO_BOX


def _view(
    around: _Surroundings, region: Region, finder: TextFinder, *, keep_text: bool
) -> RegionView:
    used_hw = around.grey_hw()
    inside_hw = region.mask()
    if inside_hw is not None:
        used_hw = np.asarray(cv2.bitwise_and(used_hw, used_hw, mask=inside_hw.view(np.uint8)))
    texts = _texts(around, inside_hw, finder)
    shown_hw = without(used_hw, texts) if texts else used_hw
    text_px, kept_px = _counted(used_hw, inside_hw, texts)
    if keep_text:
        return RegionView(region, used_hw, shown_hw, texts, text_px, 0)
    return RegionView(region, shown_hw, shown_hw, texts, text_px, used_hw.size - kept_px)


def _counted(used_hw: Pixels, inside_hw: Bools | None, texts: Sequence[TextBox]) -> tuple[int, int]:
    """Pixels in the boxes of text, and pixels of the region beside them."""
    inside_px = used_hw.size if inside_hw is None else int(np.count_nonzero(inside_hw))
    if not texts:
        return 0, inside_px
    text_hw = np.zeros(used_hw.shape, bool)
    for item in texts:
        crop(text_hw, item.box)[:] = True
    masked_hw = text_hw if inside_hw is None else text_hw & inside_hw
    return int(np.count_nonzero(text_hw)), inside_px - int(np.count_nonzero(masked_hw))


def _judged(view: RegionView, pixels: Pixels) -> RegionView:
    """Less sure of a region that is the whole frame and has writing beside the tissue in it."""
    region, (height, width) = view.region, pixels.shape[:2]
    is_whole = area_px(region.box) >= WHOLE_SHARE * height * width and not region.outline
    if not is_whole or region.source == "caller" or region.confidence < SURE:
        return view
    grey_HW = grey(pixels)
    if not any(_is_on_flat(grey_HW, item.box) for item in view.texts):
        return view
    return replace(view, region=replace(region, confidence=UNSURE))


def _is_on_flat(grey_HW: Pixels, box: Box) -> bool:
    """Whether the ground around a box has one grey, as a header has and tissue has not."""
    height, width = grey_HW.shape
    x0, y0, x1, y1 = box
    outer = clipped((x0 - RIM_PX, y0 - RIM_PX, x1 + RIM_PX, y1 + RIM_PX), width, height)
    is_rim_hw = np.ones((outer[3] - outer[1], outer[2] - outer[0]), bool)
    crop(is_rim_hw, shifted(box, -outer[0], -outer[1]))[:] = False
    rim = crop(grey_HW, outer)[is_rim_hw].astype(np.int16)
    return bool(rim.size) and float((np.abs(rim - np.median(rim)) <= RIM_STEP).mean()) >= FLAT_RIM


def _texts(
    around: _Surroundings, inside_hw: Bools | None, finder: TextFinder
) -> tuple[TextBox, ...]:
    """Text in the region, in its pixels, with letters that reach into it."""
    x0, y0, x1, y1 = around.box
    texts = []
    for item in _find_text(around, finder):
        box = clipped(shifted(item.box, -x0, -y0), x1 - x0, y1 - y0)
        if area_px(box) and (inside_hw is None or crop(inside_hw, box).any()):
            texts.append(TextBox(box, item.confidence))
    return tuple(texts)


def _find_text(around: _Surroundings, finder: TextFinder) -> tuple[TextBox, ...]:
    """Text, and colour scales with their labels; colour flow is not text.

    Colour is searched at full size: a thin plate behind a name has no patch in a smaller picture.
    """
    grey_hw, chroma_hw = around.brightest_hw, around.chroma_hw
    if chroma_hw is None:
        return finder.find(grey_hw)
    colours = find_colour_overlay(around.pixels, chroma_hw, around.colour)
    if colours is None:
        return finder.find(grey_hw)
    texts = finder.find(without_flow(grey_hw, colours.flow_hw))
    if colours.plates:
        lettering = _on_plates(around.pixels, colours.plates, finder)
        texts = (*texts, *(item for item in lettering if not is_covered(item, texts)))
    return (*texts, *(TextBox(box, 1.0) for box in colours.scales))


def _on_plates(frame_hw3: Pixels, plates: Sequence[Box], finder: TextFinder) -> tuple[TextBox, ...]:
    """Text on the plates of a frame; only the part around them is searched."""
    height, width = frame_hw3.shape[:2]
    part = part_to_search(plates, width, height)
    left, top = part[:2]
    inner = tuple(shifted(plate, -left, -top) for plate in plates)
    distance_hw = on_plates(crop(frame_hw3, part), inner)
    texts = finder.find(distance_hw, frame_side_px=max(height, width))
    return tuple(TextBox(shifted(item.box, left, top), item.confidence) for item in texts)


def _risk(
    views: Sequence[RegionView], keep_text: bool, tagged: bool | None
) -> tuple[Risk, tuple[str, ...]]:
    boxes = sum(len(view.texts) for view in views)
    area = sum(view.text_px for view in views)
    unsure = any(view.region.confidence < SURE for view in views)
    much = boxes > MANY_BOXES or area > MUCH_SHARE * sum(v.used_hw.size for v in views)
    holds = {
        "text_kept": boxes > 0 and keep_text,
        "text_masked": boxes > 0 and not keep_text,
        "much_text": much,
        "region_unsure": unsure,
        "tagged_by_file": bool(tagged),
    }
    reasons = tuple(reason for reason, is_true in holds.items() if is_true)
    if much or (boxes > 0 and (keep_text or unsure)) or (tagged and unsure):
        return "high", reasons
    return ("low" if reasons else "none"), reasons


def _region_json(region: Region) -> dict[str, Any]:
    spacing = region.spacing_mm
    return {
        "box": list(region.box),
        "outline": [list(corner) for corner in region.outline],
        "found": region.source,
        "confidence": round(region.confidence, 3),
        "spacing_mm": None if spacing is None else list(spacing),
    }
