"""The smallest run is the same everywhere, and the whole way is open."""

from pathlib import Path

import pytest

from training.commands.smoke import run_smoke
from training.distil.config import load_config, load_config_with_weights, resize_run
from training.distil.metrics import read_metrics
from training.distil.ranks import Ranks
from training.distil.runs import distil_frames, simulated_frames

# Losses of the first steps of smoke_cpu, made a run of their own, on the 36 first simulated
# frames. A change of the numerics changes them: then say so, and put in what this test got.
GOLDEN = [1.3298, 1.6268, 1.2888, 0.9011, 1.2679, 0.9723, 0.9240, 0.9806]


def test_the_smoke_run_gives_its_golden_losses(tmp_path: Path) -> None:
    config = resize_run(load_config("smoke_cpu"), steps=len(GOLDEN))
    losses = distil_frames(simulated_frames(36), config, tmp_path, ranks=Ranks(), tensorboard=True)
    # Kernels differ between processors and numbers of threads, and every step multiplies what
    # differs: two threads against one gave 0.2 % after 4 steps and 1.6 % after 8.
    assert losses[:5] == pytest.approx(GOLDEN[:5], rel=5e-3)
    assert losses == pytest.approx(GOLDEN, rel=0.05)
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.csv")] == list(range(8))
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.slow
def test_the_whole_way_from_simulated_frames_to_the_service_is_open(tmp_path: Path) -> None:
    said: list[str] = []
    report = run_smoke(tmp_path, said.append)
    assert len(said) == 5
    assert report.accuracy > report.chance
    assert report.fidelity["fp32"] == pytest.approx(1)
    assert report.fidelity["int8"] > 0.9
    assert report.served_error < 1e-3


@pytest.mark.slow
def test_the_papers_architectures_take_real_steps(tmp_path: Path) -> None:
    config = resize_run(
        load_config_with_weights("dinov3_vitb16_resnet50", "", "random"), steps=2, batch=2
    )
    losses = distil_frames(simulated_frames(6), config, tmp_path, ranks=Ranks())
    assert len(losses) == 2
    assert all(0 < loss < 100 for loss in losses)
