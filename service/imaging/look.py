"""One frame -> what of it is used, what is shown, and what there is to say about it.

The only place where region, text and quality meet; the corridor calls it once per frame.

Shape suffixes: h height, w width of a used region.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.imaging import quality, regions
from service.imaging.frames import DicomRegion, luma
from service.imaging.quality import Finding
from service.imaging.regions import Box, Region
from service.imaging.text import TextBox, TextFinder, without

Pixels: TypeAlias = npt.NDArray[np.uint8]
Wish: TypeAlias = Literal["auto", "none"] | Box
Risk: TypeAlias = Literal["none", "low", "high"]
RISKS: tuple[Risk, ...] = ("none", "low", "high")

SURE = 0.5  # least confidence of a region for its outside to count as separated
MANY_BOXES, MUCH_SHARE = 4, 0.04  # more writing than a label or a measure: the screen itself


@dataclass(frozen=True, slots=True)
class View:
    """One used region of a frame.

    Attributes:
        used_hw: uint8, what the encoder gets: the region's box, black outside its outline, writing
            inside it filled with the grey around. As it is when the caller wanted no region.
        shown_hw: uint8, what a thumbnail may show: never with writing that was found.
        texts: writing inside the region, in its pixels.
        masked_px: pixels of the region's box that are not as the machine gave them.
    """

    region: Region
    used_hw: Pixels
    shown_hw: Pixels
    texts: tuple[TextBox, ...]
    masked_px: int


@dataclass(frozen=True, slots=True)
class Looked:
    """A frame after the look.

    Attributes:
        views: one per region, largest first; at least one.
        blanked_px: pixels of the frame in no view, or masked in one.
        risk: that a name is left in what is used or shown, or was hard to tell from the scan.
        risk_reasons: closed list, see ``docs/intake.md``.
        findings: of the quality gate, on the largest region.
    """

    views: tuple[View, ...]
    blanked_px: int
    risk: Risk
    risk_reasons: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = field(default=())


def read_wish(text: str) -> Wish:
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


def look(
    pixels: Pixels,
    finder: TextFinder,
    *,
    wish: Wish = "auto",
    declared: Sequence[DicomRegion] = (),
    tagged_burned_in: bool | None = None,
) -> Looked:
    """Find the scan, blank what is not it, mask writing in it, and judge it.

    Args:
        pixels: uint8 (H, W) or (H, W, 3).
        finder: of text.
        wish: ``auto``, ``none`` (the whole frame, unmasked for the encoder), or a box.
        declared: regions that the file tells of.
        tagged_burned_in: BurnedInAnnotation of the file.

    Raises:
        InputError: the wished box is not inside the frame.
    """
    height, width = pixels.shape[:2]
    found = _regions(pixels, wish, declared)
    views = tuple(_view(pixels, region, finder, keep=wish == "none") for region in found)
    kept = sum(v.used_hw.size - v.masked_px for v in views)
    risk, reasons = _risk(views, wish, tagged_burned_in)
    x0, y0, x1, y1 = found[0].box
    return Looked(
        views=views,
        blanked_px=max(0, height * width - kept),
        risk=risk,
        risk_reasons=reasons,
        findings=quality.judge(pixels[y0:y1, x0:x1]),
    )


def _regions(pixels: Pixels, wish: Wish, declared: Sequence[DicomRegion]) -> tuple[Region, ...]:
    height, width = pixels.shape[:2]
    if wish == "none":
        return (regions.whole(height, width),)
    if wish != "auto":
        return (regions.given(wish, height, width),)
    told = regions.declared(declared, height, width)
    if told:
        return tuple(regions.within(region, pixels) for region in told)
    return (regions.from_pixels(pixels),)


def _view(pixels: Pixels, region: Region, finder: TextFinder, *, keep: bool) -> View:
    x0, y0, x1, y1 = region.box
    inner = pixels[y0:y1, x0:x1]
    grey_hw = inner if inner.ndim == 2 else luma(inner)
    used_hw = grey_hw.copy()
    inside_hw = region.mask()
    if inside_hw is not None:
        used_hw[~inside_hw] = 0
    bright = used_hw if inner.ndim == 2 else _brightest(inner, inside_hw)
    texts = finder.find(bright)
    shown_hw = without(used_hw, texts)
    masked_hw = np.zeros(used_hw.shape, bool) if inside_hw is None else ~inside_hw
    if keep:
        return View(region, used_hw, shown_hw, texts, int(masked_hw.sum()))
    for item in texts:
        left, top, right, bottom = item.box
        masked_hw[top:bottom, left:right] = True
    return View(region, shown_hw, shown_hw, texts, int(masked_hw.sum()))


def _brightest(inner: Pixels, inside_hw: npt.NDArray[np.bool_] | None) -> Pixels:
    """Brightest channel, so that red and blue letters are no darker than white ones."""
    bright_hw = np.asarray(cv2.max(cv2.max(inner[..., 0], inner[..., 1]), inner[..., 2]), np.uint8)
    if inside_hw is not None:
        bright_hw[~inside_hw] = 0
    return bright_hw


def _risk(views: Sequence[View], wish: Wish, tagged: bool | None) -> tuple[Risk, tuple[str, ...]]:
    boxes = [item for view in views for item in view.texts]
    area = sum((b.box[2] - b.box[0]) * (b.box[3] - b.box[1]) for b in boxes)
    unsure = any(view.region.confidence < SURE for view in views)
    reasons: list[str] = []
    if boxes:
        reasons.append("text_kept" if wish == "none" else "text_masked")
    much = len(boxes) > MANY_BOXES or area > MUCH_SHARE * sum(v.used_hw.size for v in views)
    if much:
        reasons.append("much_text")
    if unsure:
        reasons.append("region_unsure")
    if tagged:
        reasons.append("tagged_by_file")
    high = much or (bool(boxes) and (wish == "none" or unsure)) or (bool(tagged) and unsure)
    if high:
        return "high", tuple(reasons)
    return ("low" if reasons else "none"), tuple(reasons)
