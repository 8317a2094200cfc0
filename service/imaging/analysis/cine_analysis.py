"""The frames of one file, with the same regions in all: the first frames decide on them.

Shape suffixes: T frames, h height, w width of the used region.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from service.arrays import Pixels
from service.errors import CorruptImage
from service.imaging.analysis import quality, regions
from service.imaging.analysis.boxes import crop
from service.imaging.analysis.frame_analysis import (
    RISKS,
    AnalyzedFrame,
    FrameAnalysis,
    RegionMode,
    analyze_frame,
    choose_regions,
)
from service.imaging.analysis.regions import Region
from service.imaging.analysis.text import TextBox, TextFinder, without
from service.imaging.formats.frames import ImageInfo, grey_of

PREVIEW = 8  # frames that are decoded before the first is used


class CineAnalysis:
    """Call ``decide`` once, then ``use`` for each frame, on one thread. A still has one frame."""

    def __init__(self, info: ImageInfo, finder: TextFinder, region_mode: RegionMode) -> None:
        self._info = info
        self._finder = finder
        self._region_mode = region_mode
        self._analyzed: AnalyzedFrame | None = None
        self._is_single = False
        self._texts: tuple[tuple[TextBox, ...], ...] = ()  # of each region

    def decide(self, preview: Sequence[Pixels]) -> None:
        """Find regions, text and quality findings in the first frames.

        Raises:
            InputError: the requested box is not inside the frame.
        """
        if not preview:
            return
        first = preview[0]
        self._is_single = len(preview) == 1
        chosen = choose_regions(first, self._region_mode, self._info.regions)
        same_size = [p for p in preview if p.shape[:2] == first.shape[:2]]
        is_searched = self._region_mode == "auto" and chosen[0].source != "declared"
        if is_searched and len(same_size) > 1:
            chosen = regions.clip_panes(np.stack([grey_of(p) for p in same_size]))
        analyzed = self._analyze(first, chosen)
        self._texts = tuple(view.texts for view in analyzed.views)
        if len(same_size) > 1:
            analyzed = self._with_last(analyzed, same_size)
        self._analyzed = analyzed

    def _analyze(self, pixels: Pixels, chosen: Sequence[Region]) -> AnalyzedFrame:
        keep_text, tagged = self._region_mode == "none", self._info.burned_in
        return analyze_frame(pixels, chosen, self._finder, keep_text=keep_text, tagged=tagged)

    def _with_last(self, analyzed: AnalyzedFrame, preview: Sequence[Pixels]) -> AnalyzedFrame:
        """Add the text of the last frame, and the finding that a clip is frozen."""
        first = analyzed.analysis
        last = self._analyze(preview[-1], first.regions)
        pairs = zip(self._texts, last.views, strict=True)
        self._texts = tuple((*texts, *view.texts) for texts, view in pairs)
        worse = max((first, last.analysis), key=lambda analysis: RISKS.index(analysis.risk))
        box = first.regions[0].box
        frozen = quality.frozen(np.stack([grey_of(crop(p, box)) for p in preview]))
        findings = first.findings if frozen is None else (*first.findings, frozen)
        return AnalyzedFrame(analyzed.views, replace(worse, findings=findings))

    @property
    def analysis(self) -> FrameAnalysis:
        """The analysis of the file. Raises CorruptImage: there was no frame."""
        return self._decided.analysis

    @property
    def _decided(self) -> AnalyzedFrame:
        if self._analyzed is None:
            raise CorruptImage("no frame of the file decodes")
        return self._analyzed

    def use(self, pixels: Pixels) -> tuple[Pixels, ...]:
        """The input of the encoder for a frame: uint8 (h, w) of each region, largest first."""
        if self._is_single:
            return tuple(view.used_hw for view in self._decided.views)
        grey_HW = grey_of(pixels)
        used = [regions.cut(grey_HW, region) for region in self._decided.analysis.regions]
        if self._region_mode == "none":
            return tuple(used)
        return tuple(without(u, t) for u, t in zip(used, self._texts, strict=True))

    def show(self, pixels: Pixels) -> Pixels:
        """The pixels for a thumbnail: (h, w) of the largest region, searched for text again."""
        if self._is_single:
            return self._decided.views[0].shown_hw
        largest = self._decided.analysis.regions[:1]
        analyzed = analyze_frame(pixels, largest, self._finder, keep_text=False)
        return without(analyzed.views[0].shown_hw, self._texts[0])
