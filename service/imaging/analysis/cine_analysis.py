"""The frames of one file, with the same regions in all: the first frames decide on them.

Shape suffixes: T frames, H height, W width, h w of the used region.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from service.arrays import Pixels
from service.errors import CorruptImage
from service.imaging.analysis import regions
from service.imaging.analysis.boxes import crop
from service.imaging.analysis.clip_quality import ClipQuality
from service.imaging.analysis.frame_analysis import (
    RISKS,
    AnalyzedFrame,
    FrameAnalysis,
    RegionMode,
    analyze_frame,
    choose_regions,
)
from service.imaging.analysis.quality import is_blank
from service.imaging.analysis.regions import Region
from service.imaging.analysis.text import TextBox, TextFinder, without
from service.imaging.formats.frames import Correction, ImageInfo, grey_of

PREVIEW = 8  # frames that are decoded before the first is used
MAX_PREVIEW, MAX_PREVIEW_BYTES = 64, 64_000_000  # of a clip that begins with blank frames


def needs_more(preview: Sequence[Pixels], newest: int) -> bool:
    """Whether a preview shows nothing yet, so that more frames are decoded for it.

    Args:
        newest: number of frames at its end that were added last; the others are blank.
    """
    held = sum(pixels.nbytes for pixels in preview)
    if not newest or len(preview) >= MAX_PREVIEW or held >= MAX_PREVIEW_BYTES:
        return False
    return all(is_blank(pixels) for pixels in preview[-newest:])


class CineAnalysis:
    """Call ``decide`` once, then ``use`` for each frame in order, on one thread.

    The frames of the preview are used first. A still has one frame.
    """

    def __init__(self, info: ImageInfo, finder: TextFinder, region_mode: RegionMode) -> None:
        self.info = info
        self._finder = finder
        self._region_mode = region_mode
        self._analyzed: AnalyzedFrame | None = None
        self._is_single = False
        self._texts: tuple[tuple[TextBox, ...], ...] = ()  # of each region
        self._quality = ClipQuality()
        self._measured = 0  # frames of the preview that ``use`` will be given again

    def decide(self, preview: Sequence[Pixels]) -> None:
        """Find regions, text and quality findings in the first frames.

        Raises:
            InputError: the requested box is not inside the frame.
        """
        if not preview:
            return
        self._is_single = len(preview) == 1
        same_size = [p for p in preview if p.shape[:2] == preview[0].shape[:2]]
        shown = same_size
        if not self._is_single:
            shown = [p for p in same_size if not is_blank(p)] or same_size
        first, last = shown[0], shown[-1]
        chosen = self._chosen(shown)
        analyzed = self._analyze(first, chosen)
        self._texts = tuple(view.texts for view in analyzed.views)
        if not self._is_single:
            analyzed = self._with_last(analyzed, last)
            box = analyzed.analysis.regions[0].box
            self._quality.sample([crop(p, box) for p in shown])
            for pixels in same_size:
                used = crop(pixels, box)
                self._quality.add(used, grey_of(used))
            self._measured = len(preview)
        self._analyzed = analyzed

    def _chosen(self, shown: Sequence[Pixels]) -> tuple[Region, ...]:
        """The regions, with the spacing of the frame where they have none of their own."""
        # In the brightest of each pixel no tissue is missing that other frames show.
        surface = shown[0] if len(shown) == 1 else reduce(np.maximum, map(grey_of, shown))
        is_auto = self._region_mode == "auto"
        if is_auto and self.info.regions and regions.cut_tissue(self.info.regions, surface):
            self._leave_regions()
        chosen = choose_regions(surface, self._region_mode, self.info.regions)
        if is_auto and chosen[0].source != "declared" and len(shown) > 1:
            chosen = regions.clip_panes(np.stack([grey_of(p) for p in shown]))
        spacing = self.info.spacing_mm
        return tuple(replace(r, spacing_mm=r.spacing_mm or spacing) for r in chosen)

    def _leave_regions(self) -> None:
        """The declared regions belong to another frame, and so does every spacing."""
        others = tuple(c for c in self.info.corrections if c.fact != "regions")
        wrong = Correction("regions", len(self.info.regions))
        corrections = (*others, wrong)
        self.info = replace(self.info, regions=(), spacing_mm=None, corrections=corrections)

    def _analyze(self, pixels: Pixels, chosen: Sequence[Region]) -> AnalyzedFrame:
        keep_text, tagged = self._region_mode == "none", self.info.burned_in
        return analyze_frame(pixels, chosen, self._finder, keep_text=keep_text, tagged=tagged)

    def _with_last(self, analyzed: AnalyzedFrame, last: Pixels) -> AnalyzedFrame:
        """Add the text of the last frame."""
        first = analyzed.analysis
        other = self._analyze(last, first.regions)
        pairs = zip(self._texts, other.views, strict=True)
        self._texts = tuple((*texts, *view.texts) for texts, view in pairs)
        worse = max((first, other.analysis), key=lambda analysis: RISKS.index(analysis.risk))
        return AnalyzedFrame(analyzed.views, worse)

    @property
    def analysis(self) -> FrameAnalysis:
        """The analysis of the frames used so far. Raises CorruptImage: there was no frame."""
        analysis = self._decided.analysis
        if self._is_single:
            return analysis
        return replace(analysis, findings=self._quality.findings())

    @property
    def _decided(self) -> AnalyzedFrame:
        if self._analyzed is None:
            raise CorruptImage("no frame of the file decodes")
        return self._analyzed

    def use(self, pixels: Pixels) -> tuple[Pixels, ...]:
        """The input of the encoder for a frame: uint8 (h, w) of each region, largest first."""
        if self._is_single:
            return tuple(view.used_hw for view in self._decided.views)
        used_regions = self._decided.analysis.regions
        greys = [grey_of(crop(pixels, region.box)) for region in used_regions]
        if self._measured:
            self._measured -= 1
        else:
            self._quality.add(crop(pixels, used_regions[0].box), greys[0])
        used = [regions.blanked(g, r) for g, r in zip(greys, used_regions, strict=True)]
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
