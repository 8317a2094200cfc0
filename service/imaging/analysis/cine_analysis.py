"""The frames of one file, all looked at alike: the regions are decided by its first frames.

Shape suffixes: T frames, h height, w width of the used region.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from service.errors import CorruptImage
from service.imaging.analysis import quality, regions
from service.imaging.analysis.frame_analysis import (
    RISKS,
    AnalyzedFrame,
    FrameAnalysis,
    RegionMode,
    analyze_regions,
    choose_regions,
)
from service.imaging.analysis.text import TextBox, TextFinder, without
from service.imaging.formats.frames import ImageInfo, Pixels, grey_of

PREVIEW = 8  # frames that are gathered before the first is used


class CineAnalysis:
    """Decide once, then ``use`` each frame. For one thread."""

    def __init__(self, info: ImageInfo, finder: TextFinder, region_mode: RegionMode) -> None:
        self._opened = info
        self._finder = finder
        self._region_mode = region_mode
        self._analyzed: AnalyzedFrame | None = None
        self._texts: tuple[tuple[TextBox, ...], ...] = ()  # of each region

    def decide(self, preview: Sequence[Pixels]) -> None:
        """Find region, writing and faults in the first frames, all of one size.

        Raises:
            InputError: the wished box is not inside the frame.
        """
        if not preview:
            return
        told = self._opened.regions
        found = choose_regions(preview[0], self._region_mode, told)
        alike = [p for p in preview if p.shape[:2] == preview[0].shape[:2]]
        if self._region_mode == "auto" and found[0].found != "declared" and len(alike) > 1:
            found = (regions.from_clip(np.stack([grey_of(p) for p in alike])),)
        keep, tagged = self._region_mode == "none", self._opened.burned_in
        analyzed = analyze_regions(preview[0], found, self._finder, keep=keep, tagged=tagged)
        self._texts = tuple(view.texts for view in analyzed.views)
        if len(alike) > 1:
            analyzed = self._with_last(analyzed, alike)
        self._analyzed = analyzed

    def _with_last(self, analyzed: AnalyzedFrame, alike: Sequence[Pixels]) -> AnalyzedFrame:
        """Writing that comes later counts as well; a clip whose frames never differ is frozen."""
        known = analyzed.analysis
        last = analyze_regions(
            alike[-1],
            known.regions,
            self._finder,
            keep=self._region_mode == "none",
            tagged=self._opened.burned_in,
        )
        pairs = zip(self._texts, last.views, strict=True)
        self._texts = tuple((*texts, *view.texts) for texts, view in pairs)
        worse = max((known, last.analysis), key=lambda s: RISKS.index(s.risk))
        x0, y0, x1, y1 = known.regions[0].box
        still = quality.frozen(np.stack([grey_of(p[y0:y1, x0:x1]) for p in alike]))
        findings = known.findings if still is None else (*known.findings, still)
        analysis = replace(worse, findings=findings)
        return AnalyzedFrame(analyzed.views, analysis)

    @property
    def analysis(self) -> FrameAnalysis:
        """What was looked at. Raises CorruptImage: there was no frame."""
        return self._decided.analysis

    @property
    def _decided(self) -> AnalyzedFrame:
        if self._analyzed is None:
            raise CorruptImage("no frame of the file decodes")
        return self._analyzed

    def use(self, pixels: Pixels) -> tuple[Pixels, ...]:
        """What the encoder gets of a frame: uint8 (h, w) of each region, largest first."""
        grey_HW = grey_of(pixels)
        used = [regions.cut(grey_HW, region) for region in self._decided.analysis.regions]
        if self._region_mode == "none":
            return tuple(used)
        return tuple(without(u, t) for u, t in zip(used, self._texts, strict=True))

    def show(self, pixels: Pixels) -> Pixels:
        """What a thumbnail may show: (h, w) of the largest region, searched for writing again."""
        largest = self._decided.analysis.regions[:1]
        analyzed = analyze_regions(pixels, largest, self._finder, keep=False)
        return without(analyzed.views[0].shown_hw, self._texts[0])
