"""Findings on the quality of a clip, from all of its used frames.

One frame does not speak for a clip: the first is often blank, and later ones may be burnt out.
"""

import math
from collections.abc import Sequence

from service.arrays import Pixels
from service.imaging.analysis.quality import (
    BLANK_SPREAD,
    DOPPLER_SHARE,
    REASONS,
    SATURATED_SHARE,
    QualityFinding,
    assess_quality,
    is_blank,
    may_flow,
    measure,
    step_between,
    still,
)

TENTH = 0.1  # a fault counts that as many of the frames have
SAMPLES = 3  # of the preview, for the faults that cost more to find


class ClipQuality:
    """Add the region of every used frame in order, before any masking; then ask for findings."""

    def __init__(self) -> None:
        self._spreads: list[float] = []
        self._full: list[float] = []
        self._flow: list[float] = []
        self._steps: list[float] = []
        self._last_hw: Pixels | None = None
        self._sampled: tuple[QualityFinding, ...] = ()

    def sample(self, preview: Sequence[Pixels]) -> None:
        """Look for a lattice, a page and a small region in some frames that show something."""
        shown = [used for used in preview if not is_blank(used)] or list(preview[:1])
        step = max(1, len(shown) // SAMPLES)
        each = [assess_quality(used) for used in shown[::step][:SAMPLES]]
        found = {finding.reason: finding for findings in each for finding in findings}
        counts = {r: sum(r in (f.reason for f in findings) for findings in each) for r in found}
        self._sampled = tuple(f for r, f in found.items() if 2 * counts[r] > len(each))

    def add(self, used: Pixels, grey_hw: Pixels) -> None:
        """The region of one frame, uint8 (h, w) or (h, w, 3), and its grey by ``grey_of``."""
        # Most videos have faint colours alone, from their compression.
        measures = measure(used if used.ndim == 3 and may_flow(used) else grey_hw)
        self._spreads.append(measures.spread)
        self._full.append(measures.full)
        self._flow.append(measures.flow)
        if self._last_hw is not None and self._last_hw.shape == grey_hw.shape:
            self._steps.append(step_between(self._last_hw, grey_hw))
        self._last_hw = grey_hw

    def findings(self) -> tuple[QualityFinding, ...]:
        """In the order of ``REASONS``.

        ``blank`` holds for all frames, ``frozen`` for nine of ten steps between them,
        ``saturated`` and ``colour_doppler`` for one frame of ten, the others for most frames.
        """
        sampled = {finding.reason: finding for finding in self._sampled}
        for reason in ("blank", "saturated", "colour_doppler"):
            sampled.pop(reason, None)
        found = list(sampled.values())
        brightest = max(self._spreads, default=math.inf)
        if brightest < BLANK_SPREAD:
            found = [QualityFinding("blank", round(brightest, 2), BLANK_SPREAD)]
            found += [finding for finding in sampled.values() if finding.reason == "tiny"]
        else:
            full, flow = _of_a_tenth(self._full), _of_a_tenth(self._flow)
            if full > SATURATED_SHARE:
                found.append(QualityFinding("saturated", round(full, 3), SATURATED_SHARE))
            if flow > DOPPLER_SHARE and "not_ultrasound" not in sampled:
                found.append(QualityFinding("colour_doppler", round(flow, 4), DOPPLER_SHARE))
        frozen = still(self._steps)
        if frozen is not None:
            found.append(frozen)
        return tuple(sorted(found, key=lambda finding: REASONS.index(finding.reason)))


def _of_a_tenth(shares: Sequence[float]) -> float:
    """The value that at least a tenth of the frames reach; of few frames the largest."""
    ordered = sorted(shares, reverse=True)
    return ordered[math.ceil(TENTH * len(ordered)) - 1] if ordered else 0.0
