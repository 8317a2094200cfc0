"""The frames of one file, all looked at alike: the regions are decided by its first frames.

Shape suffixes: T frames, h height, w width of the used region.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from service.errors import CorruptImage
from service.imaging import quality, regions
from service.imaging.frames import Opened, Pixels, grey_of
from service.imaging.look import RISKS, Looked, Sight, Wish, examine, regions_of
from service.imaging.text import TextBox, TextFinder, without

PREVIEW = 8  # frames that are gathered before the first is used


class CineLook:
    """Decide once, then ``use`` each frame. For one thread."""

    def __init__(self, opened: Opened, finder: TextFinder, wish: Wish) -> None:
        self._opened = opened
        self._finder = finder
        self._wish = wish
        self._looked: Looked | None = None
        self._texts: tuple[tuple[TextBox, ...], ...] = ()  # of each region

    def decide(self, preview: Sequence[Pixels]) -> None:
        """Find region, writing and faults in the first frames, all of one size.

        Raises:
            InputError: the wished box is not inside the frame.
        """
        if not preview:
            return
        told = self._opened.regions
        found = regions_of(preview[0], self._wish, told)
        alike = [p for p in preview if p.shape[:2] == preview[0].shape[:2]]
        if self._wish == "auto" and found[0].found != "declared" and len(alike) > 1:
            found = (regions.from_clip(np.stack([grey_of(p) for p in alike])),)
        keep, tagged = self._wish == "none", self._opened.burned_in
        looked = examine(preview[0], found, self._finder, keep=keep, tagged=tagged)
        self._texts = tuple(view.texts for view in looked.views)
        if len(alike) > 1:
            looked = self._with_last(looked, alike)
        self._looked = looked

    def _with_last(self, looked: Looked, alike: Sequence[Pixels]) -> Looked:
        """Writing that comes later counts as well; a clip whose frames never differ is frozen."""
        known = looked.sight
        last = examine(
            alike[-1],
            known.regions,
            self._finder,
            keep=self._wish == "none",
            tagged=self._opened.burned_in,
        )
        pairs = zip(self._texts, last.views, strict=True)
        self._texts = tuple((*texts, *view.texts) for texts, view in pairs)
        worse = max((known, last.sight), key=lambda s: RISKS.index(s.risk))
        x0, y0, x1, y1 = known.regions[0].box
        still = quality.frozen(np.stack([grey_of(p[y0:y1, x0:x1]) for p in alike]))
        findings = known.findings if still is None else (*known.findings, still)
        sight = replace(worse, findings=findings)
        return Looked(looked.views, sight)

    @property
    def sight(self) -> Sight:
        """What was looked at. Raises CorruptImage: there was no frame."""
        return self._decided.sight

    @property
    def _decided(self) -> Looked:
        if self._looked is None:
            raise CorruptImage("no frame of the file decodes")
        return self._looked

    def use(self, pixels: Pixels) -> tuple[Pixels, ...]:
        """What the encoder gets of a frame: uint8 (h, w) of each region, largest first."""
        grey_HW = grey_of(pixels)
        used = [regions.cut(grey_HW, region) for region in self._decided.sight.regions]
        if self._wish == "none":
            return tuple(used)
        return tuple(without(u, t) for u, t in zip(used, self._texts, strict=True))

    def show(self, pixels: Pixels) -> Pixels:
        """What a thumbnail may show: (h, w) of the largest region, searched for writing again."""
        largest = self._decided.sight.regions[:1]
        looked = examine(pixels, largest, self._finder, keep=False)
        return without(looked.views[0].shown_hw, self._texts[0])
