"""Commands that learn from a corpus refuse one that knows the evaluation, and tell what ran."""

import csv
import dataclasses
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.errors import InputError
from tests.training.small_runs import SMALL_RUN
from training.__main__ import app
from training.bundle.export import load_run, run_settings
from training.distil.config import resize_run
from training.distil.ranks import Ranks
from training.distil.runs import distil_frames, simulated_frames

OUT = ["--golden", "samples", "--out", "out", "--shipped", "shipped"]
COMMANDS = {
    "export": ["export", "--run", "run", *OUT, "--teacher", "t", "--initial", "i"],
    "refit": ["refit", "--run", "run", *OUT, "--version", "1"],
    "self-distil": ["self-distil", "--run", "run", *OUT, "--version", "1"],
    "ablate": ["ablate", "--run", "run", "--out", "out.md"],
    "evaluate": ["evaluate", "--checkpoint", "run", "--out", "out", "--no-costs", "--no-maps"],
}
CONFIG = dataclasses.replace(SMALL_RUN, steps=50, batch=8)


@pytest.fixture
def folder(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands run, with a frame that may be given away."""
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "a.png").write_bytes(next(manifest.parent.rglob("*.png")).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rewritten(manifest: Path, folder: Path, *, without: str = "", leaking: bool = False) -> Path:
    """The manifest elsewhere, without rows of one use or with a bench frame in the corpus."""
    with manifest.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows = [{**row, "path": str(manifest.parent / row["path"])} for row in rows]
    if leaking:
        leak = [row for row in rows if row["dataset"] == "lesions"][1]
        rows.append({**leak, "use": "corpus", "dataset": "other", "group": "x", "label": ""})
    path = folder / "manifest.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["use"] != without)
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_corpus_that_holds_an_evaluation_frame_is_refused_before_the_work(
    manifest: Path, folder: Path, name: str
) -> None:
    leaking = rewritten(manifest, folder, leaking=True)
    result = CliRunner().invoke(app, [*COMMANDS[name], "--manifest", str(leaking)])
    assert result.exit_code == 1
    assert "the distillation pool knows the evaluation: 1 frames by same file" in result.output
    assert not (folder / "out").exists()


@pytest.mark.parametrize("use", ["corpus", "bench"])
@pytest.mark.parametrize("name", ["export", "refit", "self-distil"])
def test_a_manifest_without_corpus_or_bench_is_refused_before_the_work(
    manifest: Path, folder: Path, name: str, use: str
) -> None:
    part = rewritten(manifest, folder, without=use)
    result = CliRunner().invoke(app, [*COMMANDS[name], "--manifest", str(part)])
    assert result.exit_code == 1
    assert "expected corpus frames and bench frames" in result.output


@pytest.mark.parametrize("name", ["export", "refit", "self-distil"])
def test_no_golden_and_no_unseen_frames_are_refused_before_the_work(
    manifest: Path, folder: Path, name: str
) -> None:
    command = [*COMMANDS[name], "--manifest", str(manifest)]
    assert CliRunner().invoke(app, [*command, "--unseen", "0"]).exit_code == 2
    (folder / "samples" / "a.png").unlink()
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "expected PNG frames" in result.output


def test_a_bundle_states_the_steps_that_ran_and_not_those_of_the_configuration(
    tmp_path: Path,
) -> None:
    ran = resize_run(CONFIG, steps=1, batch=4)
    distil_frames(simulated_frames(6), ran, tmp_path, ranks=Ranks())
    given = dataclasses.replace(CONFIG, student=dataclasses.replace(CONFIG.student, weights="x"))
    student, settings = load_run(tmp_path, given)
    assert not student.training
    stated = run_settings(settings)
    assert (stated["steps"], stated["batch"], stated["losses"]) == (1, 4, {"regression": 1.0})
    larger = dataclasses.replace(CONFIG, spec=dataclasses.replace(CONFIG.spec, side_px=96))
    with pytest.raises(InputError, match="another spec than the configuration"):
        load_run(tmp_path, larger)
