"""Measure what each group of augmentation adds to the embedding of a trained student.

Augmentation enters the embedding in two ways: through the views that the student is trained on, and
through the views that the read-out is fitted on. Only the second is taken apart here, as it needs
no training: the read-out is fitted with views of one group alone, or of all but one, and evaluated
on the same splits.

Shape suffixes: N frames, K pooled features.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from service.arrays import Floats
from training.augmentation.config import GROUPS, AugmentationConfig
from training.bundle.export import Frames, pooled_features, serving_config
from training.distil.config import DistillConfig
from training.evaluation.protocol import SEEDS
from training.evaluation.sets import EvaluationSet
from training.networks.backbones import AnyBackbone
from training.networks.readout import fit_readout
from training.studies.arms import SHOTS, Arm, Scores, arm, scores_of

NONE, ALL = "none", "all"


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
    """Fit and evaluate the read-out of every arm; the first is the one without augmentation.

    Args:
        sets: to be evaluated on, none of them in-domain.
    """
    config = serving_config(config)
    plain_NK = pooled_features(student, corpus, config)
    evaluated = [(s.labelled, pooled_features(student, s.frames(), config)) for s in sets]
    results: list[Arm] = []
    base: Scores = {}
    for name, augment in arms(config.augment):
        views = [] if augment is None else _views(student, config, augment, corpus)
        readout = fit_readout(plain_NK, config.readout, views)
        scores = scores_of(readout.embed, evaluated, shots, seeds)
        base = base or scores
        results.append(arm(name, scores, base))
        on_arm(results[-1])
    return results


def _views(
    student: AnyBackbone, config: DistillConfig, augment: AugmentationConfig, corpus: Frames
) -> list[Floats]:
    changed = replace(config, augment=augment)
    numbers = range(1, config.readout.views + 1)
    return [pooled_features(student, corpus, changed, view=number) for number in numbers]
