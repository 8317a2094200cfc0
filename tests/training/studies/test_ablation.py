"""Every arm of the ablation differs by what it says, and is evaluated on the same splits."""

from pathlib import Path

import pytest
import torch

from service.fewshot.uncertainty.intervals import Estimate
from service.imaging.analysis.preprocess import PreprocessSpec
from training.augmentation.config import GROUPS, AugmentationConfig
from training.catalogue.manifest import read_manifest
from training.distil.config import DistillConfig
from training.distil.runs import simulated_frames
from training.evaluation.sets import read_sets
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD
from training.networks.readout import ReadoutConfig
from training.networks.student import Trunk
from training.studies.ablation import ablate, arms
from training.studies.arms import SHOTS, Arm, arms_table


def test_each_group_stands_alone_once_and_is_left_out_once() -> None:
    results = dict(arms(AugmentationConfig()))
    assert len(results) == 2 + 2 * len(GROUPS)
    assert results["none"] is None
    for group in GROUPS:
        alone, without = results[f"only {group}"], results[f"without {group}"]
        assert alone is not None
        assert without is not None
        assert alone.only(group) == alone
        assert without.without(group) == without != results["all"]


def test_the_table_names_every_arm_with_its_interval() -> None:
    gain = dict.fromkeys(SHOTS, Estimate(1.0, 0.5, 1.5))
    text = arms_table([Arm("only beam", dict.fromkeys(SHOTS, 60.0), gain)], "augmentation")
    assert "| only beam | 60.00 | 60.00 | +1.00 [+0.50, +1.50] | +1.00 [+0.50, +1.50] |" in text


@pytest.mark.slow  # the read-out of a real trunk is fitted fourteen times
def test_an_ablation_compares_every_arm_with_none(manifest: Path) -> None:
    torch.manual_seed(0)
    config = DistillConfig(
        spec=PreprocessSpec(64, IMAGENET_MEAN, IMAGENET_STD),
        load_px=72,
        readout=ReadoutConfig(dim=8, views=1),
    )
    reported: list[Arm] = []
    sets = read_sets(read_manifest(manifest), ["lesions"])
    results = ablate(
        Trunk().eval(),
        config,
        simulated_frames(24),
        sets,
        shots=(2, 5),
        seeds=2,
        on_arm=reported.append,
    )
    assert [arm.name for arm in results] == [name for name, _ in arms(config.augment)]
    assert reported == results
    assert results[0].gain[5].value == 0
    assert any(arm.gain[5].value != 0 for arm in results[1:])
