"""The whole chain: seeded, bounded, and quiet where it is switched off."""

import dataclasses

import pytest
import torch
from torch import Tensor

from service.errors import InputError
from training.augmentation.augmenter import Augmenter
from training.augmentation.beam import Attenuation, Shadow
from training.augmentation.config import EFFECTS, GROUPS, AugmentationConfig
from training.augmentation.geometry import estimate_geometry
from training.augmentation.photometric import Photometric
from training.augmentation.texture import Speckle
from training.augmentation.warp import Crop

CONFIG = AugmentationConfig()
MOVES = {"crop", "flip", "tilt", "zoom", "remap"}


def test_the_same_state_gives_the_same_views_and_another_gives_others(both_frames: Tensor) -> None:
    augmenter = Augmenter(CONFIG, 96)
    first = augmenter(both_frames, seeded(1))
    assert torch.equal(first, augmenter(both_frames, seeded(1)))
    other_B = (first != augmenter(both_frames, seeded(2))).flatten(1).any(1)
    assert other_B.all()


def test_the_generator_moves_on_from_call_to_call(both_frames: Tensor) -> None:
    generator = seeded(1)
    augmenter = Augmenter(CONFIG, 96)
    first = augmenter(both_frames, generator)
    assert not torch.equal(first, augmenter(both_frames, generator))


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_view_does_not_depend_on_the_other_rows_pixels(effect: str, both_frames: Tensor) -> None:
    augmenter = Augmenter(CONFIG.alone(effect), 128)
    views = augmenter(both_frames, seeded(3))
    changed = both_frames.clone()
    changed[1:] = changed[1:].flip(0) * 0.7
    torch.testing.assert_close(augmenter(changed, seeded(3))[0], views[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("side_px", [64, 128, 200])
def test_views_are_float32_of_the_side_in_zero_to_one(side_px: int, both_frames: Tensor) -> None:
    for seed in range(4):
        views = Augmenter(CONFIG, side_px)(both_frames, seeded(seed))
        assert views.shape == (len(both_frames), 1, side_px, side_px)
        assert views.dtype == torch.float32
        assert views.isfinite().all()
        assert 0 <= views.min() <= views.max() <= 1


def test_every_row_of_a_large_batch_is_a_view_of_its_own_frame(both_frames: Tensor) -> None:
    """More rows than are worked on at once; with every effect off rows come back in order."""
    many = both_frames.repeat(3, 1, 1, 1)[:21]
    views = Augmenter(CONFIG.only(), many.shape[2])(many, seeded(0))
    assert torch.equal(views, many)


def test_all_off_returns_the_frames_and_not_their_memory(both_frames: Tensor) -> None:
    views = Augmenter(CONFIG.only(), both_frames.shape[2])(both_frames, seeded(0))
    assert torch.equal(views, both_frames)
    assert views.data_ptr() != both_frames.data_ptr()


def test_frames_of_any_shape_become_square(linear_frames: Tensor) -> None:
    wide = linear_frames[:, :, :70, :]
    for config in (CONFIG, CONFIG.only()):
        assert Augmenter(config, 64)(wide, seeded(0)).shape == (len(wide), 1, 64, 64)


def test_a_much_larger_frame_is_reduced_without_aliasing() -> None:
    checks = (torch.arange(512)[:, None] + torch.arange(512)) % 2
    frame = checks.float()[None, None]
    view = Augmenter(CONFIG.alone("flip"), 64)(frame, seeded(0))
    assert (view - 0.5).abs().max() < 0.05


@pytest.mark.parametrize("effect", EFFECTS)
def test_each_effect_alone_changes_frames(effect: str, both_frames: Tensor) -> None:
    views = Augmenter(CONFIG.alone(effect), both_frames.shape[2])(both_frames, seeded(11))
    changed_B = (views - both_frames).abs().amax((1, 2, 3)) > 1e-3
    assert changed_B.float().mean() > 0.7


@pytest.mark.parametrize("effect", [e for e in EFFECTS if e not in (MOVES | {*GROUPS["overlay"]})])
def test_black_background_stays_black_under_every_change_of_grey(
    effect: str, sector_frames: Tensor, true_fan: Tensor
) -> None:
    outside = (~true_fan).expand_as(sector_frames)
    assert sector_frames[outside].max() == 0
    for seed in range(3):
        views = Augmenter(CONFIG.alone(effect), sector_frames.shape[2])(sector_frames, seeded(seed))
        assert views[outside].max() == 0


def test_black_frames_stay_black_without_overlay() -> None:
    black = torch.zeros(8, 1, 64, 64)
    assert Augmenter(CONFIG.without("overlay"), 64)(black, seeded(0)).max() == 0


@pytest.mark.parametrize("group", GROUPS)
def test_without_switches_off_exactly_its_group(group: str) -> None:
    config = CONFIG.without(group)
    for effect in EFFECTS:
        before, after = getattr(CONFIG, effect), getattr(config, effect)
        expected = dataclasses.replace(before, chance=0) if effect in GROUPS[group] else before
        assert after == expected
    assert CONFIG.only(*(other for other in GROUPS if other != group)) == config


def test_groups_cover_every_effect_once() -> None:
    names = [field.name for field in dataclasses.fields(AugmentationConfig)]
    assert sorted(EFFECTS) == sorted(names)
    assert set(GROUPS) == {"generic", "beam", "texture", "receiver", "probe", "overlay"}


def test_an_effect_falls_on_about_its_share_of_frames() -> None:
    config = dataclasses.replace(
        CONFIG.only(), attenuation=Attenuation(chance=0.3, rate=(2, 2), floor=(0, 0))
    )
    frames = torch.full((400, 1, 32, 32), 0.5)
    views = Augmenter(config, 32)(frames, seeded(0))
    share = (views.mean((1, 2, 3)) < 0.4).float().mean()
    assert 0.23 < share < 0.37


def test_views_carry_no_gradient(both_frames: Tensor) -> None:
    views = Augmenter(CONFIG, 64)(both_frames.clone().requires_grad_(True), seeded(0))
    assert not views.requires_grad


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(2, 1, 64, 64, dtype=torch.bfloat16),
        torch.full((2, 1, 64, 64), 1.5),
        torch.full((2, 1, 64, 64), -0.1),
        torch.full((2, 1, 64, 64), torch.nan),
        torch.zeros(2, 3, 64, 64),
    ],
)
def test_what_is_not_grey_float32_in_range_is_refused(frames: Tensor) -> None:
    with pytest.raises(InputError, match="expected"):
        Augmenter(CONFIG, 64)(frames, seeded(0))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Shadow(chance=1.2),
        lambda: Attenuation(rate=(2.0, 1.0)),
        lambda: Crop(area=(0.0, 1.0)),
        lambda: Speckle(shapes=(0.7,)),
        lambda: Speckle(shapes=()),
        lambda: Photometric(operations=("invert",)),
        lambda: CONFIG.without("physics"),
        lambda: CONFIG.only("physics"),
        lambda: CONFIG.alone("physics"),
        lambda: Augmenter(CONFIG, 8),
        lambda: Attenuation(rate=(0.0, float("nan"))),
    ],
)
def test_wrong_settings_are_refused_when_they_are_written(wrong) -> None:
    with pytest.raises(InputError, match="expected"):
        wrong()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_code_runs_on_a_gpu_with_a_generator_of_either_side(both_frames: Tensor) -> None:
    frames = both_frames.cuda()
    for generator in (seeded(0), torch.Generator("cuda").manual_seed(0)):
        views = Augmenter(CONFIG, 96)(frames, generator)
        assert views.device == frames.device
        assert 0 <= views.min() <= views.max() <= 1
    here = estimate_geometry(both_frames).beams
    there = estimate_geometry(frames).beams
    torch.testing.assert_close(there.apex_row.cpu(), here.apex_row, atol=1e-3, rtol=0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
