"""The frames of a camera or a machine, one at a time: regions are held while the scene runs.

The first frame is analysed as a still is. Later ones use its regions and its text until a second
has passed, because the analysis costs as much as the encoder and a box that jumps by a pixel makes
the answer jump. Where another picture comes, its regions are looked for at once. A clip is analysed
with all of its frames at hand; here only the past is known.

Shape suffixes: h w of the used region.
"""

from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np

from service.arrays import Floats, Pixels
from service.imaging.analysis import regions
from service.imaging.analysis.boxes import Box, area_px, crop
from service.imaging.analysis.frame_analysis import RegionMode, analyze_frame, choose_regions
from service.imaging.analysis.quality import (
    BLANK_SPREAD,
    QualityFinding,
    measure,
    step_between,
    still,
)
from service.imaging.analysis.regions import Region
from service.imaging.analysis.text import TextBox, TextFinder, without
from service.imaging.formats.frames import grey_of

LOOK_AGAIN_S = 1.0
SAME_REGION = 0.9  # intersection over union: below it another region was found
# Of the light of two frames, in small: two frames of a scan differ by 0.3 at most within a second,
# and a scan and another screen by 0.6 and more.
OTHER_PICTURE = 0.4
SKETCH_PX, SKETCH_STEP = 24, 4
FROZEN_S = 1.0  # for which the picture stands still
MAX_STEPS = 240  # remembered; at 60 frames a second, four times FROZEN_S


class LiveScene:
    """Call ``use`` with each frame in order, on one thread at a time."""

    def __init__(self, finder: TextFinder, region_mode: RegionMode) -> None:
        self._finder = finder
        self._region_mode = region_mode
        self._regions: tuple[Region, ...] = ()
        self._texts: tuple[tuple[TextBox, ...], ...] = ()
        self._sampled: tuple[QualityFinding, ...] = ()  # findings of the last whole analysis
        self._size: tuple[int, ...] = ()
        self._looked_s = 0.0
        self._looked_at = np.zeros((SKETCH_PX, SKETCH_PX), np.float32)
        self._last_hw: Pixels | None = None
        self._steps: deque[tuple[float, float]] = deque(maxlen=MAX_STEPS)
        self.findings: tuple[QualityFinding, ...] = ()

    def use(self, pixels: Pixels, time_s: float) -> tuple[Pixels, ...]:
        """The input of the encoder: uint8 (h, w) of each region, largest first.

        ``findings`` are then those of this frame, and ``frozen`` where the last ones are equal.

        Args:
            pixels: uint8 (H, W) or (H, W, 3).
            time_s: never falls.

        Raises:
            InputError: the requested box is not inside the frame.
        """
        is_new, sketch = pixels.shape[:2] != self._size, _sketch(pixels)
        is_due = time_s - self._looked_s >= LOOK_AGAIN_S
        if is_new or is_due or _are_apart(sketch, self._looked_at):
            used = self._look(pixels, time_s, is_new=is_new)
            self._looked_at = sketch
        else:
            used = self._cut(pixels)
        largest = crop(pixels, self._regions[0].box)
        self.findings = (*self._of_frame(largest), *self._frozen(grey_of(largest), time_s))
        return used

    def _look(self, pixels: Pixels, time_s: float, *, is_new: bool) -> tuple[Pixels, ...]:
        chosen = choose_regions(pixels, self._region_mode)
        if is_new or not _are_same(chosen, self._regions):
            self._regions, self._last_hw = chosen, None
            self._steps.clear()
        keep_text = self._region_mode == "none"
        analyzed = analyze_frame(pixels, self._regions, self._finder, keep_text=keep_text)
        self._texts = tuple(() if keep_text else view.texts for view in analyzed.views)
        self._sampled = analyzed.analysis.findings
        self._size, self._looked_s = pixels.shape[:2], time_s
        return tuple(view.used_hw for view in analyzed.views)

    def _cut(self, pixels: Pixels) -> tuple[Pixels, ...]:
        return tuple(
            without(regions.blanked(grey_of(crop(pixels, region.box)), region), texts)
            for region, texts in zip(self._regions, self._texts, strict=True)
        )

    def _of_frame(self, largest: Pixels) -> tuple[QualityFinding, ...]:
        """Blank or not is seen in every frame, the rest where the whole analysis is made."""
        others = tuple(finding for finding in self._sampled if finding.reason != "blank")
        spread = measure(largest).spread
        if spread >= BLANK_SPREAD:
            return others
        blank = QualityFinding("blank", round(spread, 2), BLANK_SPREAD)
        return (blank, *(finding for finding in others if finding.reason == "tiny"))

    def _frozen(self, grey_hw: Pixels, time_s: float) -> tuple[QualityFinding, ...]:
        last_hw, self._last_hw = self._last_hw, grey_hw
        if last_hw is None or last_hw.shape != grey_hw.shape:
            return ()
        self._steps.append((time_s, step_between(last_hw, grey_hw)))
        while len(self._steps) > 1 and time_s - self._steps[1][0] >= FROZEN_S:
            self._steps.popleft()
        if time_s - self._steps[0][0] < FROZEN_S:
            return ()
        found = still([step for _, step in self._steps])
        return () if found is None else (found,)


def _sketch(pixels: Pixels) -> Floats:
    """float32 of one size, from few of the pixels."""
    few = np.ascontiguousarray(pixels[::SKETCH_STEP, ::SKETCH_STEP])
    size = (SKETCH_PX, SKETCH_PX)
    return np.asarray(cv2.resize(grey_of(few), size, interpolation=cv2.INTER_AREA), np.float32)


def _are_apart(one: Floats, other: Floats) -> bool:
    """Whether the frames of two sketches show different pictures."""
    return float(np.abs(one - other).sum()) > OTHER_PICTURE * float((one + other).sum())


def _are_same(some: Sequence[Region], others: Sequence[Region]) -> bool:
    return len(some) == len(others) and all(
        _overlap(one.box, other.box) >= SAME_REGION for one, other in zip(some, others, strict=True)
    )


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    shared = area_px(
        (max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3]))
    )
    union = area_px(one) + area_px(other) - shared
    return shared / union if union else 1.0
