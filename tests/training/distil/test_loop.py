"""The loop learns, trains only what it should, and goes on after a break to the same losses."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.augmentation.augmenter import Augmenter
from training.bundle.export import encoder_inputs
from training.catalogue.simulator import samples
from training.distil.config import DistillConfig, LossConfig
from training.distil.loop import distil
from training.distil.ranks import Ranks
from training.distil.sources import Batch, CachedSource, OnlineSource
from training.distil.targets import Targets, cache_targets
from training.networks.backbones import TimmBackbone, build_student
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD, StudentConfig, TeacherConfig
from training.networks.student import Trunk
from training.networks.teacher import build_teacher

ALONE = Ranks()
SMALL = StudentConfig("test_resnet", weights="random", train="all")
ONLINE = DistillConfig(
    mode="online",
    steps=8,
    batch=4,
    learning_rate=2e-3,
    mixup=0.3,
    student=SMALL,
    teachers=(
        TeacherConfig("test_vit", "random", blocks=(2, 5), mean=(0.5,) * 3, std=(0.5,) * 3),
        TeacherConfig(
            "test_resnet", "random", blocks=(2, 3), mean=(0.5,) * 3, std=(0.5,) * 3, weight=0.5
        ),
    ),
    losses=LossConfig(queue=1.0, relational=0.5, queue_rows=16, statistics_rows=16),
    spec=PreprocessSpec(64, IMAGENET_MEAN, IMAGENET_STD),
    bf16=False,
    load_px=72,
    log_every=2,
    checkpoint_every=3,
)
CACHED = DistillConfig(
    epochs=3,
    batch=4,
    bf16=False,
    student=StudentConfig(weights="random"),
    teachers=(TeacherConfig("a"), TeacherConfig("b", weight=0.5)),
)


def trunk() -> Trunk:
    torch.manual_seed(0)
    return Trunk()


@pytest.fixture(scope="module")
def targets() -> Targets:
    rng = np.random.default_rng(0)
    return Targets(
        rng.normal(size=(8, 1024, 2, 2)).astype(np.float16),
        [rng.normal(size=(8, width)).astype(np.float16) for width in (12, 1024)],
    )


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [frame.pixels_HW for _, frame in samples(1, seed=0)]


def student(config: DistillConfig) -> TimmBackbone:
    torch.manual_seed(1)
    made = build_student(config.student)
    assert isinstance(made, TimmBackbone)
    return made


def online(frames: list[np.ndarray], config: DistillConfig) -> OnlineSource:
    torch.manual_seed(2)
    teachers = [build_teacher(teacher, config.spec) for teacher in config.teachers]
    augment = Augmenter(config.augment, config.spec.side_px)
    return OnlineSource(frames, teachers, augment, config, ALONE, bf16=False)


class Stopping:
    """A source whose power fails at one step."""

    def __init__(self, source: CachedSource | OnlineSource, *, at: int) -> None:
        self._source, self._at = source, at
        self.samples, self.shapes = source.samples, source.shapes
        self.from_stream, self.sample_targets = source.from_stream, source.sample_targets

    def batch(self, step: int) -> Batch:
        if step == self._at:
            raise KeyboardInterrupt
        return self._source.batch(step)


def test_a_cached_run_learns_and_changes_only_stage_4(targets: Targets, tmp_path: Path) -> None:
    learnt, before = trunk(), trunk()
    losses = distil(learnt, CachedSource(targets, CACHED, ALONE), CACHED, tmp_path)
    assert len(losses) == 6
    assert np.mean(losses[-2:]) < 0.8 * np.mean(losses[:2])
    was = before.state_dict()
    changed = {
        name.split(".blocks")[0]
        for name, value in learnt.state_dict().items()
        if not torch.equal(value, was[name])
    }
    assert changed == {"stages.3", "norm.weight", "norm.bias", "norm.running_mean",
                       "norm.running_var", "norm.num_batches_tracked"}  # fmt: skip


CONTRASTIVE = dataclasses.replace(
    CACHED,
    views=2,
    epochs=12,
    log_every=1,
    losses=LossConfig(contrastive=1.0),
    student=dataclasses.replace(SMALL, train="stage4"),
)


def test_a_cached_step_with_the_contrastive_loss_shows_two_views_of_each_frame(
    targets: Targets,
) -> None:
    numbered = Targets(
        np.arange(8, dtype=np.float16).reshape(8, 1, 1, 1), targets.pooled
    )  # sample = view x 4 + frame
    source = CachedSource(numbered, CONTRASTIVE, ALONE)
    for step in range(8):
        first, second = source.batch(step).inputs.flatten().int().chunk(2)
        assert len(first) == 2
        assert (first % 4).tolist() == (second % 4).tolist()
        assert (first // 4 != second // 4).all()


def test_an_online_step_with_the_contrastive_loss_shows_each_frame_twice(
    frames: list[np.ndarray],
) -> None:
    config = dataclasses.replace(ONLINE, losses=dataclasses.replace(ONLINE.losses, contrastive=1.0))
    batch = online(frames, config).batch(0)
    first, second = batch.inputs.chunk(2)
    assert len(first) == config.batch // 2
    assert not torch.allclose(first, second)
    plain = dataclasses.replace(config, mixup=0.0)
    source = online(frames, plain)
    source._augment = lambda frames_B1HW, _: frames_B1HW[:, :, :64, :64]
    first, second = source.batch(0).inputs.chunk(2)
    torch.testing.assert_close(first, second)


def test_views_learn_to_find_each_other_and_resume_to_the_same_losses(
    targets: Targets, tmp_path: Path
) -> None:
    narrow = Targets(targets.streams_MChw[:, :192], targets.pooled)
    source = CachedSource(narrow, CONTRASTIVE, ALONE)
    whole = distil(student(CONTRASTIVE), source, CONTRASTIVE, tmp_path / "whole")
    with (tmp_path / "whole" / "metrics.csv").open() as stream:
        found = [float(row["contrastive_loss"]) for row in csv.DictReader(stream)]
    assert found[-1] < 0.8 * found[0]
    config = dataclasses.replace(CONTRASTIVE, checkpoint_every=5)
    with pytest.raises(KeyboardInterrupt):
        distil(student(config), Stopping(source, at=7), config, tmp_path / "part")
    resumed = distil(student(config), source, config, tmp_path / "part")
    assert resumed == pytest.approx(whole, rel=1e-4)


def test_an_online_run_learns_from_two_teachers_at_once(
    frames: list[np.ndarray], tmp_path: Path
) -> None:
    config = dataclasses.replace(ONLINE, steps=24)
    losses = distil(student(config), online(frames, config), config, tmp_path)
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    with (tmp_path / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(1, 24, 2))
    named = {f"{name}_{teacher}_loss" for name in ("regression", "queue", "relational")
             for teacher in (0, 1)}  # fmt: skip
    assert named < set(rows[0])
    assert float(rows[-1]["loss"]) == pytest.approx(losses[-1])
    with Image.open(tmp_path / "losses.png") as picture:
        assert picture.size[0] > 100


@pytest.mark.parametrize("stop", [4, 6], ids=["between checkpoints", "at a checkpoint"])
def test_an_interrupted_online_run_resumes_to_the_same_losses(
    frames: list[np.ndarray], tmp_path: Path, stop: int
) -> None:
    whole = distil(student(ONLINE), online(frames, ONLINE), ONLINE, tmp_path / "whole")
    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        distil(student(ONLINE), Stopping(online(frames, ONLINE), at=stop), ONLINE, part)
    torch.manual_seed(99)  # nothing may hang on the global generator
    resumed = distil(student(ONLINE), online(frames, ONLINE), ONLINE, part)
    assert resumed == pytest.approx(whole, rel=1e-4)  # sums of threads in another order
    with (part / "metrics.csv").open() as stream:
        assert [row["step"] for row in csv.DictReader(stream)] == ["1", "3", "5", "7"]


def test_an_interrupted_cached_run_resumes_to_the_same_losses(
    targets: Targets, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        CACHED, epochs=3, checkpoint_every=2, student=dataclasses.replace(SMALL, train="stage4")
    )
    narrow = Targets(targets.streams_MChw[:, :192], targets.pooled)
    source = CachedSource(narrow, config, ALONE)
    whole = distil(student(config), source, config, tmp_path / "whole")
    part, stopping = tmp_path / "part", Stopping(source, at=3)
    with pytest.raises(KeyboardInterrupt):
        distil(student(config), stopping, config, part)
    resumed = distil(student(config), source, config, part)
    assert resumed == pytest.approx(whole, rel=1e-4)


def test_a_checkpoint_of_another_configuration_is_refused(targets: Targets, tmp_path: Path) -> None:
    config = dataclasses.replace(
        CACHED, epochs=1, student=dataclasses.replace(SMALL, train="stage4")
    )
    narrow = Targets(targets.streams_MChw[:, :192], targets.pooled)
    distil(student(config), CachedSource(narrow, config, ALONE), config, tmp_path)
    other = dataclasses.replace(config, learning_rate=1.0)
    with pytest.raises(InputError, match="other learning_rate"):
        distil(student(other), CachedSource(narrow, other, ALONE), other, tmp_path)


def test_student_and_teachers_see_the_same_mixed_view(frames: list[np.ndarray]) -> None:
    config = dataclasses.replace(
        ONLINE, teachers=(dataclasses.replace(ONLINE.teachers[0], mean=None, std=None),),
        spec=PreprocessSpec(64, (0.5,) * 3, (0.5,) * 3),
    )  # fmt: skip
    source = online(frames, config)
    batch = source.batch(3)
    torch.manual_seed(2)
    again = build_teacher(config.teachers[0], config.spec)(batch.inputs)
    torch.testing.assert_close(batch.teacher_outputs[0].pooled_BD, again, rtol=1e-4, atol=1e-5)


def test_a_step_gives_the_same_views_whenever_it_is_asked_for(frames: list[np.ndarray]) -> None:
    first, second = online(frames, ONLINE), online(frames, ONLINE)
    second.batch(0)
    torch.testing.assert_close(first.batch(1).inputs, second.batch(1).inputs)
    assert not torch.allclose(first.batch(2).inputs, second.batch(3).inputs)


def test_cached_targets_are_what_the_networks_say_of_the_view(
    frames: list[np.ndarray], tmp_path: Path
) -> None:
    config = dataclasses.replace(
        ONLINE, mode="cached", views=2, student=StudentConfig("test_resnet", "random"),
        teachers=(ONLINE.teachers[0], TeacherConfig("imagenet_trunk")), mixup=0.0,
    )  # fmt: skip
    learner = student(config)
    teachers = [build_teacher(t, config.spec, student=learner) for t in config.teachers]
    stored = cache_targets(frames, learner, teachers, config, tmp_path)
    squares = torch.from_numpy(encoder_inputs(frames, config.spec))  # view 0 is the frame itself
    with torch.inference_mode():
        maps, _ = learner.eval()(squares)
    rows = slice(0, len(frames))
    # float16 on disk
    np.testing.assert_allclose(stored.streams_MChw[rows], maps, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(stored.pooled[1][rows], maps.mean((2, 3)), rtol=2e-3, atol=2e-3)
    grey = (squares[:, :1] * config.spec.std[0] + config.spec.mean[0]).clamp(0, 1)
    said = teachers[0].observe(grey)
    np.testing.assert_allclose(stored.pooled[0][rows], said.pooled_BD, rtol=5e-3, atol=5e-3)
    assert stored.dense[0].shape[1:] == said.dense_BEhw.shape[1:]
    with pytest.raises(InputError, match="other seed"):
        cache_targets(frames, learner, teachers, dataclasses.replace(config, seed=5), tmp_path)


def test_fewer_frames_than_a_batch_are_refused(frames: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="at least as many samples"):
        online(frames[:3], ONLINE)


CUT = dataclasses.replace(
    ONLINE,
    student=StudentConfig(stages=3, weights="random", train="all", freeze_norms=True),
    teachers=ONLINE.teachers[:1],
    losses=LossConfig(contrastive=0.2, feature_preservation=1.0, statistics_rows=4),
    learning_rate=1e-4,
    head_rate=20.0,
    mixup=0.0,
    steps=2,
    log_every=1,
    checkpoint_every=1,
)


def cut_student() -> Trunk:
    torch.manual_seed(1)
    made = build_student(CUT.student)
    assert isinstance(made, Trunk)
    return made


def test_a_student_that_ends_at_stage_3_learns_as_a_whole_and_is_held_to_what_it_read(
    frames: list[np.ndarray], tmp_path: Path
) -> None:
    learnt = cut_student()
    losses = distil(learnt, online(frames, CUT), CUT, tmp_path / "whole")
    with (tmp_path / "whole" / "metrics.csv").open() as rows:
        first, second = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(rows)]
    assert first["feature_preservation_loss"] == pytest.approx(0, abs=1e-4)
    assert second["feature_preservation_loss"] > 1e-4
    parts = (
        second["regression_0_loss"]
        + 0.2 * second["contrastive_loss"]
        + second["feature_preservation_loss"]
    )
    assert second["loss"] == pytest.approx(parts, rel=1e-4)
    was = cut_student().state_dict()
    moved = {k.split(".")[0] for k, v in learnt.state_dict().items() if not v.equal(was[k])}
    # The norm at the end is read as it was, and frozen norms keep means and variances.
    assert moved == {"stem", "stages"}
    # After a break it is held to what it read before training, not to what it read at the break.
    with pytest.raises(KeyboardInterrupt):
        distil(cut_student(), Stopping(online(frames, CUT), at=1), CUT, tmp_path / "broken")
    resumed = distil(cut_student(), online(frames, CUT), CUT, tmp_path / "broken")
    np.testing.assert_allclose(resumed, losses, rtol=1e-3)


def test_cached_targets_of_other_frames_or_without_places_are_refused(
    frames: list[np.ndarray], tmp_path: Path
) -> None:
    config = dataclasses.replace(
        ONLINE, mode="cached", views=2, student=StudentConfig("test_resnet", "random"),
        teachers=ONLINE.teachers[:1], losses=LossConfig(), mixup=0.0,
    )  # fmt: skip
    learner = student(config)
    teachers = [build_teacher(config.teachers[0], config.spec)]
    cache_targets(frames, learner, teachers, config, tmp_path)
    with pytest.raises(InputError, match="other content"):
        cache_targets([*frames[1:], frames[0]], learner, teachers, config, tmp_path)
    places = dataclasses.replace(config, losses=LossConfig(relational=1.0))
    with pytest.raises(InputError, match="other dense"):  # they would all be 0
        cache_targets(frames, learner, teachers, places, tmp_path)
