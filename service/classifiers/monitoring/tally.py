"""Counts of answers of one version, which add up over time and over processes.

Nothing of one prediction can be read from them once there are several. Real numbers are counted in
millionths, so that sums do not depend on their order.

Shape suffixes: C outputs (classes or labels), T strata, F figures, E bins.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.arrays import Doubles, Ints
from service.catalog.monitoring.monitoring_records import OTHER
from service.classifiers.fitting import MULTI
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.prediction import PredictedItem
from service.fewshot.classifier import Prediction
from service.fewshot.drift.drift_reference import FIGURES

MILLION = 1_000_000
EDGES_E = np.concatenate([[0.0], np.geomspace(0.001, 2.0, 48)])  # of 1 - cosine
MAX_MACHINES = 20  # of one store of counts; a hostile file may name any
MAX_MACHINE_NAME = 64
UNREADABLE_PICTURES = frozenset({"blank", "frozen"})  # whose embedding says nothing


@dataclass
class Tally:
    """What was answered.

    Attributes:
        compared: answers that count for the figures: not blank and not frozen.
        abstained: reason -> answers.
        called, most_probable: per output, in the order of the version.
        findings: quality finding -> answers.
        machines, sizes: of the files, as far as they say.
        in_stratum: compared answers per most probable class, or of all for a multi-label version.
        sums: per figure of ``FIGURES``: millionths per stratum.
        similarity, distance: compared answers per bin of 1 - cosine: mean of the nearest
            examples, and the nearest one.
    """

    called: list[int]
    most_probable: list[int]
    in_stratum: list[int]
    sums: dict[str, list[int]]
    answers: int = 0
    compared: int = 0
    abstained: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    machines: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    similarity: list[int] = field(default_factory=lambda: [0] * len(EDGES_E))
    distance: list[int] = field(default_factory=lambda: [0] * len(EDGES_E))

    @classmethod
    def empty(cls, outputs: int, strata: int) -> "Tally":
        """No answers of a version with so many outputs."""
        sums = {name: [0] * strata for name in FIGURES}
        return cls([0] * outputs, [0] * outputs, [0] * strata, sums)

    @classmethod
    def of_counts(cls, counts: Mapping[str, Any], outputs: int, strata: int) -> "Tally":
        """What ``to_counts`` gave, or a sum of several."""
        tally = cls.empty(outputs, strata)
        for name, value in counts.items():
            if hasattr(tally, name):
                known = getattr(tally, name)
                setattr(tally, name, Counter(value) if isinstance(known, Counter) else value)
        return tally

    def to_counts(self) -> dict[str, Any]:
        """An object of counts, as the catalog adds them."""
        counts: dict[str, Any] = {}
        for name, value in vars(self).items():
            counts[name] = dict(value) if isinstance(value, Counter) else value
        return counts

    def add(self, item: PredictedItem, numbers: Mapping[str, int]) -> None:
        """Count one answer; ``numbers`` are those of the outputs by name."""
        prediction = item.prediction
        self.answers += 1
        reason = None if prediction.abstained is None else prediction.abstained.because
        if reason is not None:
            self.abstained[reason] += 1
        self.most_probable[numbers[prediction.most_probable]] += 1
        for output in prediction.outputs:
            if output.called:
                self.called[numbers[output.label]] += 1
        for finding in item.findings:
            self.findings[finding] += 1
        if item.acquisition is not None:
            if item.acquisition.machine:
                _count(self.machines, item.acquisition.machine[:MAX_MACHINE_NAME])
            _count(self.sizes, item.acquisition.size_name)
        if reason not in UNREADABLE_PICTURES:
            self._compare(prediction, abstained=reason is not None, numbers=numbers)

    def _compare(
        self, prediction: Prediction, *, abstained: bool, numbers: Mapping[str, int]
    ) -> None:
        if prediction.similarity is None or prediction.distance is None:
            return  # without examples there is nothing to compare with
        self.compared += 1
        several = len(self.in_stratum) > 1
        stratum = numbers[prediction.most_probable] if several else 0
        self.in_stratum[stratum] += 1
        values = (prediction.similarity, confidence(prediction, multi=not several), abstained)
        for name, value in zip(FIGURES, values, strict=True):
            self.sums[name][stratum] += round(MILLION * value)
        self.similarity[bin_of(1 - prediction.similarity)] += 1
        self.distance[bin_of(prediction.distance)] += 1

    def in_strata(self) -> tuple[Ints, Doubles]:
        """(T,) compared answers and (T, F) sums of the figures of each stratum."""
        sums_TF = np.stack([np.array(self.sums[name]) for name in FIGURES], axis=1) / MILLION
        return np.array(self.in_stratum, np.int64), sums_TF


def _count(names: Counter[str], name: str) -> None:
    """Count a name; when there are many already, a new one is counted as one of the others."""
    names[name if name in names or len(names) < MAX_MACHINES else OTHER] += 1


def tally_of(loaded: LoadedClassifier) -> Tally:
    """No answers of a version."""
    return Tally.empty(len(loaded.version.classes), strata_of(loaded.version.kind, loaded))


def strata_of(kind: str, loaded: LoadedClassifier) -> int:
    """How many strata the figures have: one per class, or one for all labels."""
    return 1 if kind == MULTI else len(loaded.version.classes)


def confidence(prediction: Prediction, *, multi: bool) -> float:
    """Of the most probable class; of labels the mean of the greater of p and 1 - p."""
    shares = [output.probability for output in prediction.outputs]
    if not multi:
        return max(shares)
    return sum(max(share, 1 - share) for share in shares) / len(shares)


def bin_of(distance: float) -> int:
    """The number of the bin of 1 - cosine; the last one is open."""
    return max(0, int(np.searchsorted(EDGES_E, distance, side="right")) - 1)


def bins_of(distances_N: Doubles) -> list[int]:
    """(E,) how many fall into each bin."""
    numbers_N = np.maximum(np.searchsorted(EDGES_E, distances_N, side="right") - 1, 0)
    counts: list[int] = np.bincount(numbers_N, minlength=len(EDGES_E)).tolist()
    return counts


def median_of(counts: Sequence[int]) -> float | None:
    """The median of binned distances, by linear interpolation in its bin; None without any."""
    total = sum(counts)
    if not total:
        return None
    below_E = np.cumsum(counts)
    number = int(np.searchsorted(below_E, total / 2))
    low = float(EDGES_E[number])
    high = float(EDGES_E[number + 1]) if number + 1 < len(EDGES_E) else low
    before = float(below_E[number] - counts[number])
    return low + (high - low) * (total / 2 - before) / counts[number]
