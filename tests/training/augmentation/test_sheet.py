"""``augment preview`` writes the sheet, and says in one line what is wrong."""

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from training.augmentation.config import EFFECTS
from training.augmentation.preview import FULL_DRAWS, LABEL_PX
from training.catalogue.simulator import write_samples
from training.commands.augment import app


def test_preview_shows_every_effect_of_simulated_and_given_frames(tmp_path: Path) -> None:
    write_samples(tmp_path / "given", per_class=1)
    out = tmp_path / "made" / "sheet.png"
    arguments = ["--simulated", "--images", str(tmp_path / "given"), "--rows", "2"]
    result = run("--out", str(out), "--side-px", "48", *arguments)
    assert result.exit_code == 0, result.output
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet)
    columns = 2 + len(EFFECTS) + FULL_DRAWS
    assert pixels.shape == (LABEL_PX + 6 * 48, columns * 48, 3)
    tiles = pixels[LABEL_PX:].reshape(6, 48, columns, 48, 3)
    original = tiles[:, :, 1]
    for column in range(2, columns):
        assert (tiles[:, :, column] != original).any()


def test_a_preview_of_nothing_is_refused(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path / "sheet.png"))
    assert result.exit_code == 2
    assert "--simulated" in result.output


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path / "sheet.png"), "--images", str(tmp_path))
    assert result.exit_code == 2
    assert "found none" in result.output


def test_an_unknown_group_is_refused(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path / "s.png"), "--simulated", "--without", "physics")
    assert result.exit_code == 2
    assert "overlay" in result.output


def run(*arguments: str):
    return CliRunner().invoke(app, ["preview", *arguments])
