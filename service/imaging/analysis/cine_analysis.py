"""The frames of one file, with the same regions in all: the first frames decide on them.

Text is searched for in all of them, several at a time.

Shape suffixes: T frames, H height, W width, h w of the used region.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from service.arrays import Pixels
from service.errors import CorruptImage
from service.imaging.analysis import regions
from service.imaging.analysis.boxes import Box, crop, is_inside
from service.imaging.analysis.clip_quality import ClipQuality
from service.imaging.analysis.frame_analysis import (
    RISKS,
    AnalyzedFrame,
    FrameAnalysis,
    RegionMode,
    analyze_frame,
    choose_regions,
    texts_in,
)
from service.imaging.analysis.quality import is_blank
from service.imaging.analysis.regions import Region
from service.imaging.analysis.text import TextBox, TextFinder, is_covered, without
from service.imaging.formats.frames import Correction, ImageInfo, grey_of

PREVIEW = 8  # frames that are decoded before the first is used
KNOWN_SHARE = 0.8  # of a box of text; its cells come and go with the speckle around it
LOOKS = 4  # so that the last of 32 frames is searched, the usual number, by itself
MAX_TEXTS = 256  # boxes that are masked in each frame of a clip
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

    Of a clip, call ``look`` before with the frames that are held at once. The frames of the preview
    are used first. A still has one frame.
    """

    def __init__(self, info: ImageInfo, finder: TextFinder, region_mode: RegionMode) -> None:
        self.info = info
        self._finder = finder
        self._region_mode = region_mode
        self._analyzed: AnalyzedFrame | None = None
        self._is_single = False
        self._texts: tuple[tuple[TextBox, ...], ...] = ()  # of each region
        self._looks = 0
        self._quality = ClipQuality()
        self._preview: list[tuple[Pixels, Pixels]] = []  # colours and grey, not yet measured
        self._samples: list[Pixels] = []
        # Of the frames that ``use`` will be given again; None for one of another size.
        self._greys: deque[Pixels | None] = deque()

    def decide(self, preview: Sequence[Pixels]) -> None:
        """Find regions, text and quality findings in the first frames.

        Raises:
            InputError: the requested box is not inside the frame.
        """
        if not preview:
            return
        self._is_single = len(preview) == 1
        if self._is_single:
            self._analyzed = self._analyze(preview[0], self._chosen(preview, [preview[0]]))
            return
        greys = [grey_of(p) if p.shape[:2] == preview[0].shape[:2] else None for p in preview]
        pairs = [(p, grey) for p, grey in zip(preview, greys, strict=True) if grey is not None]
        shown = [(p, grey) for p, grey in pairs if not is_blank(grey)] or pairs
        pixels = [p for p, _ in shown]
        analyzed = self._analyze(pixels[0], self._chosen(pixels, [grey for _, grey in shown]))
        self._texts = tuple(view.texts for view in analyzed.views)
        self._analyzed = analyzed
        self._add_text(pixels[-1], [()] * len(self._texts))
        self._preview, self._samples, self._greys = pairs, pixels, deque(greys)

    def _measure_preview(self) -> None:
        """Late, because until ``decide`` is done the encoder waits."""
        if self._preview:
            box = self._decided.analysis.regions[0].box
            self._quality.sample([crop(pixels, box) for pixels in self._samples])
            for pixels, grey_HW in self._preview:
                self._quality.add(crop(pixels, box), crop(grey_HW, box))
        self._preview, self._samples = [], []

    def _chosen(self, shown: Sequence[Pixels], greys: Sequence[Pixels]) -> tuple[Region, ...]:
        """The regions, with the spacing of the frame where they have none of their own."""
        is_auto = self._region_mode == "auto"
        # In the brightest of each pixel no tissue is missing that other frames show.
        surface = shown[0] if len(shown) == 1 else reduce(np.maximum, greys)
        if is_auto and self.info.regions and regions.cut_tissue(self.info.regions, surface):
            self._leave_regions()
        declared = regions.declared(self.info.regions, *surface.shape[:2])
        if is_auto and len(shown) > 1 and not declared:
            chosen = regions.clip_panes(np.stack(greys))
        else:
            chosen = choose_regions(surface, self._region_mode, self.info.regions)
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

    def look(self, frames: Sequence[Pixels]) -> None:
        """Search the next frames for text, before the first of them is used.

        The brightest of each pixel of all is searched, and of every ``LOOKS``th group its last
        frame, in which text has more contrast. Where that shows text beside what is known, each
        frame is searched. What is found is masked in these frames and in all later ones.

        Args:
            frames: the preview first, and then as many as are held at once.
        """
        if self._is_single or self._analyzed is None:
            return
        boxes = [region.box for region in self._decided.analysis.regions]
        right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
        held = [p for p in frames if p.shape[0] >= bottom and p.shape[1] >= right]
        alike = [p for p in held if p.shape[:2] == held[0].shape[:2]]
        others = [p for p in held if p.shape[:2] != held[0].shape[:2]]
        pictures = [_brightest_of(alike)] if alike else []
        self._looks += 1
        if self._looks % LOOKS == 0 and len(alike) > 1:
            pictures.append(alike[-1])
        more = [p for p in (*pictures, *others) if self._shows_more(p)]
        for pixels in (*more, *(alike if more and len(alike) > 1 else ())):
            self._add_text(pixels, self._texts)
        self._texts = tuple(_joined(texts) for texts in self._texts)

    def _shows_more(self, pixels: Pixels) -> bool:
        """Whether a frame has text in a region outside the boxes that are known there."""
        found = texts_in(pixels, self._decided.analysis.regions, self._finder)
        return any(
            not any(is_inside(text.box, other.box, share=KNOWN_SHARE) for other in known)
            for texts, known in zip(found, self._texts, strict=True)
            for text in texts
        )

    def _add_text(self, pixels: Pixels, known: Sequence[Sequence[TextBox]]) -> None:
        """Mask the text of a frame from now on where it is not known; all counts for the risk."""
        first = self._decided.analysis
        other = self._analyze(pixels, first.regions)
        self._texts = tuple(
            (*texts, *(text for text in view.texts if not is_covered(text, others)))
            for texts, others, view in zip(self._texts, known, other.views, strict=True)
        )
        worse = max((first, other.analysis), key=lambda analysis: RISKS.index(analysis.risk))
        self._analyzed = AnalyzedFrame(self._decided.views, worse)

    @property
    def analysis(self) -> FrameAnalysis:
        """The analysis of the frames used so far. Raises CorruptImage: there was no frame."""
        analysis = self._decided.analysis
        if self._is_single:
            return analysis
        self._measure_preview()
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
        greys = self._greys_of(pixels, [region.box for region in used_regions])
        used = [regions.blanked(g, r) for g, r in zip(greys, used_regions, strict=True)]
        if self._region_mode == "none":
            return tuple(used)
        return tuple(without(u, t) for u, t in zip(used, self._texts, strict=True))

    def _greys_of(self, pixels: Pixels, boxes: Sequence[Box]) -> list[Pixels]:
        """The grey of each box; the frame is measured, those of the preview with the last."""
        if not self._greys:
            greys = [grey_of(crop(pixels, box)) for box in boxes]
            self._quality.add(crop(pixels, boxes[0]), greys[0])
            return greys
        known_HW = self._greys.popleft()
        if not self._greys:
            self._measure_preview()
        grey_HW = grey_of(pixels) if known_HW is None else known_HW
        return [crop(grey_HW, box) for box in boxes]

    def show(self, pixels: Pixels) -> Pixels:
        """The pixels for a thumbnail: (h, w) of the largest region, searched for text again."""
        if self._is_single:
            return self._decided.views[0].shown_hw
        largest = self._decided.analysis.regions[:1]
        analyzed = analyze_frame(pixels, largest, self._finder, keep_text=False)
        return without(analyzed.views[0].shown_hw, self._texts[0])


def _brightest_of(frames: Sequence[Pixels]) -> Pixels:
    """The brightest of each pixel, in colour where a frame is."""
    if len({pixels.ndim for pixels in frames}) > 1:
        frames = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in frames]
    return reduce(np.maximum, frames)


def _joined(texts: tuple[TextBox, ...]) -> tuple[TextBox, ...]:
    """The boxes, or one around all of so many that each frame would take long to mask."""
    if len(texts) <= MAX_TEXTS:
        return texts
    boxes = np.array([text.box for text in texts])
    around = (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())
    return (TextBox(around, max(text.confidence for text in texts)),)
