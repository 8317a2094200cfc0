"""Variants of an embedding, evaluated on the same splits and compared with one of them.

Shape suffixes: N frames, D embedding width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np

from service.arrays import Floats
from service.fewshot.uncertainty.intervals import Estimate
from training.bundle.card import table
from training.evaluation.compare import paired_over_seeds
from training.evaluation.protocol import LabelledSet, shot_scores

Scores: TypeAlias = dict[int, dict[str, list[float]]]  # shots -> set -> one score per seed
Given = TypeVar("Given")
SHOTS = (5, 20)


@dataclass(frozen=True, slots=True)
class Arm:
    """Scores of one variant.

    Attributes:
        scores: shots -> mean balanced accuracy over sets and seeds, percent.
        gain: shots -> the same minus that of the variant it is compared with, paired by split, with
            its 95 % interval over seeds.
    """

    name: str
    scores: Mapping[int, float]
    gain: Mapping[int, Estimate]


def scores_of(
    embed: Callable[[Given], Floats],
    evaluated: Sequence[tuple[LabelledSet, Given]],
    shots: Sequence[int],
    seeds: int,
) -> Scores:
    """Balanced accuracies at every number of shots on every set.

    Args:
        embed: what was computed of a set's frames -> features_ND.
        evaluated: labels, and what was computed of the frames.
    """
    embedded = [(labelled, embed(features)) for labelled, features in evaluated]
    return {
        k: {
            labelled.name: shot_scores(rows_ND, labelled, k, seeds)
            for labelled, rows_ND in embedded
        }
        for k in shots
    }


def arm(name: str, scores: Scores, base: Scores) -> Arm:
    """Means, and what is gained over ``base``."""
    means = {shots: float(np.mean(list(by_set.values()))) for shots, by_set in scores.items()}
    gain = {shots: paired_over_seeds(scores[shots], base[shots]) for shots in scores}
    return Arm(name, means, gain)


def arms_table(results: Sequence[Arm], what: str) -> str:
    """A Markdown table; ``what`` heads the names."""
    shots = list(results[0].scores)
    head = [what, *(f"{k} shot" for k in shots), *(f"gain at {k} [95 %]" for k in shots)]
    rows = []
    for result in results:
        gains = [result.gain[k] for k in shots]
        scores = [f"{result.scores[k]:.2f}" for k in shots]
        differences = [f"{g.value:+.2f} [{g.low:+.2f}, {g.high:+.2f}]" for g in gains]
        rows.append([result.name, *scores, *differences])
    return table(head, rows)
