"""What each group of augmentation is worth to the embedding of a trained student.

Augmentation enters the embedding in two ways: the views that stage 4 learnt from, and the views
that steady the read-out. The second needs no training, so it can be taken apart in minutes: the
read-out is fitted anew with views of one group alone, or of all but one, and judged on the same
splits.

Shape suffixes: N frames, K pooled features.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from training.augmentation.config import GROUPS, AugmentationConfig
from training.backbones import AnyBackbone
from training.card import table
from training.config import DistillConfig
from training.evaluation.compare import Estimate, paired_over_seeds
from training.evaluation.protocol import SEEDS, LabelledSet, shot_scores
from training.evaluation.sets import EvaluationSet
from training.export import Frames, pooled_features, served
from training.readout import fit_readout

Floats = npt.NDArray[np.float32]
SHOTS = (5, 20)
NONE, ALL = "none", "all"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to augment.

    Attributes:
        scores: shots -> mean balanced accuracy over sets and seeds, percent.
        gain: shots -> the same minus that without any augmentation, paired by split, with its
            95 % interval over seeds.
    """

    name: str
    scores: Mapping[int, float]
    gain: Mapping[int, Estimate]


def arms(augment: AugmentationConfig) -> Iterator[tuple[str, AugmentationConfig | None]]:
    """Names and configurations: none, all, each group alone, all but each group."""
    yield NONE, None
    yield ALL, augment
    for group in GROUPS:
        yield f"only {group}", augment.only(group)
    for group in GROUPS:
        yield f"without {group}", augment.without(group)


def ablate(
    student: AnyBackbone,
    config: DistillConfig,
    corpus: Frames,
    sets: Sequence[EvaluationSet],
    *,
    shots: Sequence[int] = SHOTS,
    seeds: int = SEEDS,
    on_arm: Callable[[Arm], None] = lambda arm: None,
) -> list[Arm]:
    """Fit and judge the read-out of every arm; the first is the one without augmentation.

    Args:
        student: trained.
        config: of its run.
        corpus: frames that it was trained on.
        sets: to be judged on, none of them in-domain.
        shots: labelled frames per class.
        seeds: splits per number of shots.
        on_arm: is told of every finished arm.
    """
    config = served(config)
    plain_NK = pooled_features(student, corpus, config)
    judged = [(s.labelled, pooled_features(student, s.frames(), config)) for s in sets]
    done: list[Arm] = []
    base: dict[int, dict[str, list[float]]] = {}
    for name, augment in arms(config.augment):
        views = [] if augment is None else _views(student, config, augment, corpus)
        readout = fit_readout(plain_NK, config.readout, views)
        scores = {k: _scores(readout.embed, judged, k, seeds) for k in shots}
        base = base or scores
        done.append(_arm(name, scores, base))
        on_arm(done[-1])
    return done


def _views(
    student: AnyBackbone, config: DistillConfig, augment: AugmentationConfig, corpus: Frames
) -> list[Floats]:
    changed = replace(config, augment=augment)
    numbers = range(1, config.readout.views + 1)
    return [pooled_features(student, corpus, changed, view=number) for number in numbers]


def _scores(
    embed: Callable[[Floats], Floats],
    judged: Sequence[tuple[LabelledSet, Floats]],
    shots: int,
    seeds: int,
) -> dict[str, list[float]]:
    return {
        labelled.name: shot_scores(embed(pooled_NK), labelled, shots, seeds)
        for labelled, pooled_NK in judged
    }


def _arm(
    name: str, scores: dict[int, dict[str, list[float]]], base: dict[int, dict[str, list[float]]]
) -> Arm:
    means = {shots: float(np.mean(list(found.values()))) for shots, found in scores.items()}
    gain = {shots: paired_over_seeds(scores[shots], base[shots]) for shots in scores}
    return Arm(name, means, gain)


def ablation_table(found: Sequence[Arm]) -> str:
    """A Markdown table."""
    shots = list(found[0].scores)
    head = ["augmentation", *(f"{k} shot" for k in shots), *(f"gain at {k} [95 %]" for k in shots)]
    rows = []
    for arm in found:
        gains = [arm.gain[k] for k in shots]
        rows.append(
            [
                arm.name,
                *(f"{arm.scores[k]:.2f}" for k in shots),
                *(f"{g.mean:+.2f} [{g.low:+.2f}, {g.high:+.2f}]" for g in gains),
            ]
        )
    return table(head, rows)
