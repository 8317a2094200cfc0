"""The reference of a version: how it answers its own labelled examples when they are held out.

It is made from what the catalog holds of the examples now, so an erased patient leaves it at once.

Shape suffixes: S examples, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.arrays import Bools, Doubles, Ints
from service.catalog.records import VersionExample
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.monitoring.monitor_records import ReferenceFigures
from service.classifiers.monitoring.tally import bins_of, median_of, strata_of
from service.classifiers.prediction import UltrasoundGate
from service.errors import NotEnoughExamples
from service.fewshot.calibrator import margins
from service.fewshot.drift.drift_alarms import MIN_GROUPS, drift_limits, limits_of_mixture
from service.fewshot.drift.drift_reference import (
    MIN_STRATUM_GROUPS,
    DriftReference,
    HeldOutUse,
    drift_reference,
    neighbours_of_other_groups,
)
from service.fewshot.heldout import OutOfFold, in_groups

GRID = 1.25  # between two lengths of which limits are known; shorter ones are wider


@dataclass
class VersionReference:
    """A reference, and the limits that follow from it, as far as they were needed.

    Attributes:
        forgettings: of the workspace when the examples were read.
    """

    forgettings: int
    figures: ReferenceFigures
    drift: DriftReference
    _limits: dict[tuple[int, float], Doubles] = field(default_factory=dict)

    @property
    def not_tested_because(self) -> str | None:
        """Why there are no limits."""
        if self.drift.groups >= MIN_GROUPS:
            return None
        return (
            f"held-out examples of {in_groups(self.drift.groups)}, in classes of "
            f"{MIN_STRATUM_GROUPS} or more; tests need {MIN_GROUPS}"
        )

    def limits(self, counts_C: Ints, false_alarms: float) -> Doubles:
        """(F,) limits of a window with so many answers of each stratum.

        Takes up to a second at first.
        """
        length = _on_grid(int(self.drift.tested(counts_C).sum()))
        key = (length, false_alarms)
        if key not in self._limits:
            self._limits[key] = drift_limits(self.drift, length, false_alarms)
        return limits_of_mixture(self._limits[key], self.drift, counts_C, false_alarms)


def _on_grid(compared: int) -> int:
    """The next smaller length on the grid, whose limits are a little wider."""
    power = int(np.floor(np.log(max(1, compared)) / np.log(GRID) + 1e-9))
    return max(1, int(GRID**power))


def version_reference(
    loaded: LoadedClassifier,
    examples: Sequence[VersionExample],
    scores: OutOfFold,
    gate: UltrasoundGate | None,
) -> VersionReference:
    """The reference of a version.

    Args:
        examples: that are still kept; ``scores`` are theirs, in the same order.

    Raises:
        NotEnoughExamples: no kept example has scores and neighbours of another group.
    """
    use = held_out_use(loaded, examples, scores, gate)
    if not len(use.groups_N):
        raise NotEnoughExamples("no kept example was held out from its version")
    names = loaded.version.classes
    strata = strata_of(loaded.version.kind, loaded)
    counts_C = np.bincount(use.stratum_N, minlength=strata)
    shares: Mapping[str, float] = {}
    if strata > 1:
        shares = {name: float(counts_C[c] / counts_C.sum()) for c, name in enumerate(names)}
    similarity = median_of(bins_of(1 - use.similarity_N))
    figures = ReferenceFigures(
        examples=len(use.groups_N),
        groups=len(np.unique(use.groups_N)),
        most_probable=shares,
        abstained_share=float(use.abstained_N.mean()),
        similarity_median=None if similarity is None else 1 - similarity,
        distance_median=median_of(bins_of(use.distance_N)),
        confidence_mean=float(use.confidence_N.mean()),
    )
    drift = drift_reference(use, strata)
    return VersionReference(loaded.classifier.forgettings, figures, drift)


def held_out_use(
    loaded: LoadedClassifier,
    examples: Sequence[VersionExample],
    scores: OutOfFold,
    gate: UltrasoundGate | None,
) -> HeldOutUse:
    """How the version answers its examples, each without what its group taught."""
    place_of = {example.example_id: row for row, example in enumerate(examples)}
    support = loaded.support
    in_both = [s for s, e in enumerate(support.examples) if e.example_id in place_of]
    rows = [place_of[support.examples[s].example_id] for s in in_both]
    groups_S = np.array([support.examples[s].group for s in in_both], np.int64)
    unit_SD = support.unit_ND[in_both]
    if len(rows) < 2:
        nothing = np.empty(0)
        integers = np.empty(0, np.int64)
        return HeldOutUse(nothing, nothing, nothing, integers > 0, integers, integers)
    similarity_S, nearest_S = neighbours_of_other_groups(unit_SD, groups_S)
    confidence_S, guess_S, ambiguous_S = _answers(loaded, scores.rows(np.array(rows)))
    abstained_S = ambiguous_S | loaded.model.novelty.far(1 - nearest_S)
    if gate is not None:
        abstained_S |= ~gate.passed(unit_SD)
    kept_S = np.isfinite(similarity_S) & np.isfinite(confidence_S)
    return HeldOutUse(
        similarity_N=similarity_S[kept_S],
        distance_N=1 - nearest_S[kept_S],
        confidence_N=confidence_S[kept_S],
        abstained_N=abstained_S[kept_S],
        stratum_N=guess_S[kept_S],
        groups_N=groups_S[kept_S],
    )


def _answers(loaded: LoadedClassifier, scores: OutOfFold) -> tuple[Doubles, Ints, Bools]:
    """(S,) confidence, number of the most probable class, and whether the answer is ambiguous."""
    heads = loaded.model.heads
    count = len(scores)
    if None in heads:
        calibrator = heads[None].calibrator
        shares_SC = calibrator.calibration.probabilities(scores.heads[None].chosen.logits_NC)
        guess_S = np.where(np.isfinite(shares_SC), shares_SC, -1).argmax(1)
        ambiguous_S = margins(shares_SC) < calibrator.min_margin
        return shares_SC.max(1), guess_S, ambiguous_S
    surest = [
        head.calibrator.calibration.probabilities(scores.heads[label].chosen.logits_NC).max(1)
        for label, head in heads.items()
        if label in scores.heads
    ]
    confidence_S: Doubles = np.stack(surest, axis=1).mean(1)
    return confidence_S, np.zeros(count, np.int64), np.zeros(count, bool)
