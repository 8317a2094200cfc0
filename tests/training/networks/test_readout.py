"""The read-out: maps average to what is pooled, and augmentation moves embeddings less."""

import numpy as np
import pytest
import torch

from service.errors import InputError
from training.networks.readout import (
    STAGE3_WIDTH,
    STAGE4_WIDTH,
    WIDTH_TO_STAGE3,
    ReadoutConfig,
    fit_readout,
    pool_features,
    principal_axes,
    stack_feature_maps,
)

CONFIG = ReadoutConfig(dim=12)


@pytest.mark.parametrize("rows", [4, 10, 12])
@pytest.mark.parametrize("ends_at_stage3", [True, False])
def test_every_pooled_feature_is_the_mean_over_space_of_its_map(
    rows: int, ends_at_stage3: bool
) -> None:
    torch.manual_seed(0)
    stage3 = torch.randn(2, STAGE3_WIDTH, rows, rows)
    stage4 = None if ends_at_stage3 else torch.rand(2, STAGE4_WIDTH, rows // 2, rows // 2)
    means_BK = stack_feature_maps(stage3, stage4).mean((2, 3))
    torch.testing.assert_close(means_BK, pool_features(stage3, stage4), atol=1e-5, rtol=1e-4)


def test_pooled_features_are_standard_deviations() -> None:
    torch.manual_seed(0)
    stage3 = torch.randn(1, STAGE3_WIDTH, 12, 12)
    stage4 = torch.rand(1, STAGE4_WIDTH, 6, 6)
    found = pool_features(stage3, stage4)
    top = stage3.relu()[:, :, :4].std((2, 3), correction=0)
    torch.testing.assert_close(
        found[:, :STAGE3_WIDTH], stage3.std((2, 3), correction=0), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        found[:, 2 * STAGE3_WIDTH : 3 * STAGE3_WIDTH], top, atol=1e-5, rtol=1e-4
    )


def _frames_and_views() -> tuple[np.ndarray, np.ndarray]:
    """Frames, and the same frames moved along one direction by as much as they differ."""
    rng = np.random.default_rng(0)
    frames_NK = rng.normal(size=(60, WIDTH_TO_STAGE3)).astype(np.float32)
    direction_K = rng.normal(size=WIDTH_TO_STAGE3).astype(np.float32)
    views_NK = frames_NK + rng.normal(size=(60, 1)).astype(np.float32) * direction_K
    return frames_NK, views_NK


def test_a_frame_and_its_view_come_closer_when_motion_is_known() -> None:
    frames_NK, views_NK = _frames_and_views()
    without = fit_readout(frames_NK, CONFIG)
    with_views = fit_readout(frames_NK, CONFIG, [views_NK])
    cosines = [
        (readout.embed(frames_NK) * readout.embed(views_NK)).sum(1).mean()
        for readout in (without, with_views)
    ]
    assert 1 - cosines[1] < 0.3 * (1 - cosines[0])


def test_views_that_do_not_move_change_nothing() -> None:
    frames_NK, _ = _frames_and_views()
    without = fit_readout(frames_NK, CONFIG).embed(frames_NK)
    still = fit_readout(frames_NK, CONFIG, [frames_NK]).embed(frames_NK)
    np.testing.assert_allclose(still @ still.T, without @ without.T, atol=1e-4)


def test_the_last_block_is_the_mean_of_stage_3() -> None:
    torch.manual_seed(0)
    stage3 = torch.randn(1, STAGE3_WIDTH, 12, 12)
    found = pool_features(stage3, torch.rand(1, STAGE4_WIDTH, 6, 6))
    torch.testing.assert_close(found[:, -STAGE3_WIDTH:], stage3.mean((2, 3)))


def test_shapes_that_do_not_fit_are_refused() -> None:
    frames_NK, _ = _frames_and_views()
    with pytest.raises(InputError, match="more than 12 rows"):
        fit_readout(frames_NK[:10], CONFIG)
    with pytest.raises(InputError, match="views of shape"):
        fit_readout(frames_NK, CONFIG, [frames_NK[:5]])


@pytest.mark.parametrize("rows", [6, 40])
def test_principal_axes_are_those_of_the_singular_values_with_few_and_with_many_rows(
    rows: int,
) -> None:
    rows_NK = np.random.default_rng(0).normal(size=(rows, 12)) * np.arange(1, 13)
    strengths, axes = principal_axes(rows_NK, 4)
    _, singular, expected = np.linalg.svd(rows_NK)
    np.testing.assert_allclose(strengths, singular[:4] ** 2)
    np.testing.assert_allclose(np.abs((axes * expected[:4]).sum(1)), 1)
