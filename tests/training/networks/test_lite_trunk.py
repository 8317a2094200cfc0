"""The second network: its weights, the input of the trunk that it takes, and what is read of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec, normalise
from training.networks.lite_trunk import (
    READ_FROM,
    WIDTH,
    WIDTHS,
    LiteTrunk,
    lite_blocks,
    load_lite_trunk,
    pool_lite_features,
    stack_lite_maps,
)

OWN = PreprocessSpec(64, (127 / 255,) * 3, (128 / 255,) * 3)  # what its weights were trained with


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64)).astype(np.uint8)


@torch.inference_mode()
def test_stored_weights_give_the_maps_of_the_original_network(
    lite_network: Any, lite_weights: Path
) -> None:
    frames = torch.from_numpy(normalise(pixels(), OWN))
    maps = lite_network.bn1(lite_network.conv_stem(frames))
    expected = []
    for number, stage in enumerate(lite_network.blocks):
        maps = stage(maps)
        if number >= READ_FROM:
            expected.append(maps)
    expected.append(lite_network.bn2(lite_network.conv_head(maps)))
    found = load_lite_trunk(lite_weights, OWN)(frames)
    assert [m.shape[1] for m in found] == list(WIDTHS)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@torch.inference_mode()
def test_it_takes_frames_as_they_are_normalised_for_the_trunk(lite_weights: Path) -> None:
    other = PreprocessSpec(64, (0.45, 0.42, 0.38), (0.28, 0.29, 0.3))
    own, taken = (
        functional.relu6(
            load_lite_trunk(lite_weights, spec).conv_stem(
                torch.from_numpy(normalise(pixels(), spec))
            )
        )
        for spec in (OWN, other)
    )
    # The pad at the lower right is the mean grey of either.
    torch.testing.assert_close(taken[:, :, :-1, :-1], own[:, :, :-1, :-1], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_every_feature_of_the_second_network_is_the_mean_over_space_of_its_map() -> None:
    torch.manual_seed(0)
    maps = LiteTrunk()(torch.randn(2, 3, 64, 64))
    pooled_BK = pool_lite_features(maps)
    assert pooled_BK.shape == (2, WIDTH)
    assert sum(wide for wide, _ in lite_blocks()) == WIDTH
    stacked_BKhw = stack_lite_maps(maps)
    assert stacked_BKhw.shape == (2, WIDTH, 2, 2)
    torch.testing.assert_close(stacked_BKhw.mean((2, 3)), pooled_BK, atol=1e-5, rtol=1e-4)


def test_weights_of_another_network_are_refused(lite_weights: Path, tmp_path: Path) -> None:
    stored = torch.load(lite_weights, weights_only=True)
    broken, lacking, strange = (tmp_path / f"{name}.pth" for name in ("broken", "lacking", "other"))
    broken.write_bytes(b"no weights")
    torch.save({k: v for k, v in stored.items() if k != "_conv_head.weight"}, lacking)
    torch.save(stored | {"_blocks.99._bn1.bias": torch.zeros(1)}, strange)
    for path in (broken, lacking, strange, tmp_path / "missing.pth"):
        with pytest.raises(InputError, match=f"{path.name} does not hold the weights"):
            load_lite_trunk(path, OWN)
