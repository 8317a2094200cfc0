"""The interim loop learns, resumes where it was, and feeds the student what the service will."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from service.imaging.preprocess import PreprocessSpec, preprocess
from training.config import DistillConfig
from training.data import Row, load_frames
from training.export import _inputs
from training.loop import distil
from training.student import Trunk
from training.targets import Targets


def trunk() -> Trunk:
    torch.manual_seed(0)
    return Trunk()


@pytest.fixture(scope="module")
def targets() -> Targets:
    rng = np.random.default_rng(0)
    return Targets(
        rng.normal(size=(8, 1024, 2, 2)).astype(np.float16),
        rng.normal(size=(8, 1024)).astype(np.float16),
        rng.normal(size=(8, 12)).astype(np.float16),
    )


class Stopping(Targets):
    """Interrupts the run when a step asks for its targets once too often."""

    def __init__(self, targets: Targets, *, after: int) -> None:
        object.__setattr__(self, "left", after)
        super().__init__(targets.streams_MChw, targets.imagenet_MD, targets.teacher_MD)

    def __getattribute__(self, name: str) -> object:
        if name == "streams_MChw":
            left = object.__getattribute__(self, "left")
            if left == 0:
                raise KeyboardInterrupt
            object.__setattr__(self, "left", left - 1)
        return super().__getattribute__(name)


def test_the_loss_falls_and_only_stage_4_changes(targets: Targets, tmp_path: Path) -> None:
    student, before = trunk(), trunk()
    losses = distil(student, targets, DistillConfig(epochs=5, batch=4), tmp_path)
    assert losses[-1] < 0.8 * losses[0]
    for name, value in student.state_dict().items():
        if name.startswith(("stem", "stages.0", "stages.1", "stages.2")):
            torch.testing.assert_close(value, before.state_dict()[name])


def test_an_interrupted_run_resumes_to_the_same_losses(targets: Targets, tmp_path: Path) -> None:
    config = DistillConfig(epochs=3, batch=4)
    whole = distil(trunk(), targets, config, tmp_path / "whole")
    partial = tmp_path / "partial"
    stopping = Stopping(targets, after=4)
    with pytest.raises(KeyboardInterrupt):
        distil(trunk(), stopping, config, partial)
    resumed = distil(trunk(), targets, config, partial)
    assert resumed == pytest.approx(whole, rel=1e-4)  # sums of threads in another order


def test_training_sees_a_file_exactly_as_the_service_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (70, 90, 3)).astype(np.uint8)).save(out, "PNG")
    (tmp_path / "a.png").write_bytes(out.getvalue())
    row = Row(tmp_path / "a.png", "corpus", "d", "", "g", "", "CC0", False)
    frames = load_frames([row])
    spec = PreprocessSpec(64, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    np.testing.assert_array_equal(preprocess(frames[0][None], spec), _inputs(frames, spec))
