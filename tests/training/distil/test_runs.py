"""A run folder belongs to its frames, and a run that is asked for epochs takes a step."""

import dataclasses
import json
from pathlib import Path

import pytest

from service.errors import InputError
from tests.training.small_runs import SMALL_RUN
from training.distil.checkpoint import CHECKPOINT_NAME
from training.distil.config import LossConfig
from training.distil.ranks import Ranks
from training.distil.runs import distil_frames, simulated_frames

ALONE = Ranks()


def test_a_student_does_not_go_on_from_one_that_learnt_other_frames(tmp_path: Path) -> None:
    frames = simulated_frames(12)
    losses = distil_frames(frames[:6], SMALL_RUN, tmp_path, ranks=ALONE)
    assert distil_frames(frames[:6], SMALL_RUN, tmp_path, ranks=ALONE) == losses
    with pytest.raises(InputError, match="other content"):
        distil_frames(frames[6:], SMALL_RUN, tmp_path, ranks=ALONE)


def test_a_run_that_learnt_nothing_yet_may_be_given_other_frames(tmp_path: Path) -> None:
    frames = simulated_frames(12)
    distil_frames(frames[:6], SMALL_RUN, tmp_path, ranks=ALONE)
    (tmp_path / CHECKPOINT_NAME).unlink()
    distil_frames(frames[6:], SMALL_RUN, tmp_path, ranks=ALONE)
    assert json.loads((tmp_path / "frames.json").read_text())["frames"] == 6


def test_a_run_of_before_frames_were_noted_goes_on(tmp_path: Path) -> None:
    frames = simulated_frames(6)
    losses = distil_frames(frames, SMALL_RUN, tmp_path, ranks=ALONE)
    (tmp_path / "frames.json").unlink()
    assert distil_frames(frames, SMALL_RUN, tmp_path, ranks=ALONE) == losses


def test_an_epoch_has_a_step_where_each_frame_is_shown_twice(tmp_path: Path) -> None:
    config = dataclasses.replace(
        SMALL_RUN, steps=0, epochs=2, batch=8, losses=LossConfig(statistics_rows=4, contrastive=0.2)
    )
    assert len(distil_frames(simulated_frames(6), config, tmp_path, ranks=ALONE)) == 2
