"""Designs of the read-out: what moves a frame shrinks, and every design is judged alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service.arrays import Floats
from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.__main__ import app
from training.catalogue.manifest import read_manifest
from training.evaluation.compare import HeldOutPredictions
from training.evaluation.protocol import LabelledSet
from training.evaluation.sets import read_sets
from training.networks.readout import WIDTH_TO_STAGE3, ReadoutConfig
from training.studies.readout_designs import (
    CorpusKeys,
    Motion,
    ReadoutDesign,
    fit_design,
    readout_designs,
    select_readout_designs,
    signed_power,
)
from training.studies.readout_report import DesignScores, WayScores, pool_set, report

FRAMES, DIM = 24, 4
ONLY_MEAN = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)  # one block, so that a fit takes no time
READOUT = ReadoutConfig(dim=DIM, energy=ONLY_MEAN)
WHITENED = ReadoutDesign("whitened", ("served", "flipped"), READOUT, within=10.0)
NOTHING = CorpusKeys([""] * FRAMES, [""] * FRAMES)
TISSUE, VIEW, PATIENT = -1, -2, -3  # columns of the last block


def corpus(rng: np.random.Generator) -> tuple[list[Floats], CorpusKeys]:
    """Two views; tissue differs between frames, VIEW between views, PATIENT inside a group too."""
    first_NK = np.zeros((FRAMES, WIDTH_TO_STAGE3), np.float32)
    first_NK[:, -8:] = 0.05 * rng.normal(size=(FRAMES, 8))
    first_NK[:, TISSUE] = np.repeat(rng.normal(size=FRAMES // 4), 4)
    first_NK[:, VIEW] = rng.normal(size=FRAMES)
    first_NK[:, PATIENT] = rng.normal(size=FRAMES)
    second_NK = first_NK.copy()
    second_NK[:, VIEW] = rng.normal(size=FRAMES)
    groups = [f"g{number // 4}" for number in range(FRAMES)]
    return [first_NK, second_NK], CorpusKeys(groups, ["", *groups[1:]])


def reach(design: ReadoutDesign, *columns: int) -> list[float]:
    """How far a step along each feature moves the embedding of a frame, in the mean."""
    views, keys = corpus(np.random.default_rng(0))
    embed = fit_design(design, views, keys)
    steps = np.zeros((len(columns), WIDTH_TO_STAGE3), np.float32)
    steps[range(len(columns)), list(columns)] = 0.5
    moved = [embed(views[0] + step_K) - embed(views[0]) for step_K in steps]
    return [float(np.linalg.norm(rows_ND, axis=1).mean()) for rows_ND in moved]


def test_a_whitened_design_moves_less_along_what_differs_between_views() -> None:
    blind = replace(WHITENED, within=1e-6)
    (of_view, of_tissue), (before, tissue_before) = (
        reach(design, VIEW, TISSUE) for design in (WHITENED, blind)
    )
    assert of_view < 0.8 * before
    assert of_tissue > tissue_before


@pytest.mark.parametrize("motion", ["groups", "classes"])
def test_what_differs_inside_a_group_or_label_shrinks_where_it_counts(motion: Motion) -> None:
    (counted,) = reach(replace(WHITENED, motion=motion), PATIENT)
    (not_counted,) = reach(WHITENED, PATIENT)
    assert counted < 0.8 * not_counted


def test_embeddings_have_the_width_and_the_length_of_one() -> None:
    views, _ = corpus(np.random.default_rng(0))
    rows_ND = fit_design(replace(WHITENED, power=0.5), views, NOTHING)(views[0])
    assert rows_ND.shape == (FRAMES, DIM)
    np.testing.assert_allclose(np.linalg.norm(rows_ND, axis=1), 1, atol=1e-5)


def test_a_power_keeps_the_sign() -> None:
    np.testing.assert_allclose(signed_power(np.float32([-4, 0, 9]), 0.5), [-2, 0, 3])


@pytest.mark.parametrize(
    ("design", "views", "message"),
    [
        (WHITENED, 1, "two views"),
        (replace(WHITENED, readout=replace(READOUT, dim=FRAMES)), 2, "more than 24 frames"),
        (replace(WHITENED, motion="groups"), 2, "share a group"),
    ],
)
def test_what_cannot_be_fitted_is_refused(design: ReadoutDesign, views: int, message: str) -> None:
    given, _ = corpus(np.random.default_rng(0))
    with pytest.raises(InputError, match=message):
        fit_design(design, given[:views], NOTHING)


def test_designs_have_names_of_their_own_and_are_chosen_by_them() -> None:
    names = [design.name for design in readout_designs()]
    assert len(set(names)) == len(names)
    (chosen,) = select_readout_designs(["steadied"], dim=7)
    assert (chosen.name, chosen.readout.dim) == ("steadied", 7)
    with pytest.raises(InputError, match="'other'"):
        select_readout_designs(["other"])


def test_a_set_is_pooled_once_with_every_region_of_its_files(
    manifest: Path, tmp_path: Path
) -> None:
    (lesions,) = read_sets(read_manifest(manifest), ["lesions"])
    spec = PreprocessSpec(32, (0.5,) * 3, (0.25,) * 3, border=0.1)
    first = pool_set(lesions, "whole", lambda frames: frames.mean((2, 3)), spec, tmp_path)
    assert first.counts == (1,) * len(lesions.rows)
    assert first.pooled_RK.shape == (len(lesions.rows), 3)

    def none_is_left(frames_B3SS: Floats) -> Floats:
        raise AssertionError(frames_B3SS.shape)

    again = pool_set(lesions, "whole", none_is_left, spec, tmp_path)
    np.testing.assert_array_equal(again.pooled_RK, first.pooled_RK)


def scores(labelled: LabelledSet, few: float, right: float) -> WayScores:
    truth = labelled.labels_N
    guesses = np.where(np.arange(len(truth)) % 10 < 10 * right, truth, "a")
    return WayScores(
        {5: [few, few + 1]}, HeldOutPredictions(labelled, np.arange(len(truth)), guesses)
    )


def test_the_report_shows_the_gain_over_each_way_and_what_no_single_set_gives(
    labelled: LabelledSet,
) -> None:
    other = replace(labelled, name="other")
    base = DesignScores(
        "base",
        {
            ("served", "toy"): scores(labelled, 60, 0.5),
            ("served", "other"): scores(other, 60, 0.5),
            ("whole", "toy"): scores(labelled, 62, 0.5),
            ("whole", "other"): scores(other, 62, 0.5),
        },
    )
    better = DesignScores(
        "better",
        {key: scores(labelled, 70 if key[1] == "toy" else 60, 0.9) for key in base.scored},
    )
    lines = report(base, [better]).splitlines()
    served, across, _ = (line.split("|") for line in lines[-3:])
    assert served[2].strip() == "served - served"
    assert served[3].strip().startswith("+5.0")
    assert served[-2].strip() == "+0.0"  # without toy nothing is gained
    assert across[3].strip().startswith("+3.0")


@pytest.mark.slow
def test_the_command_pools_once_and_writes_the_report(manifest: Path, tmp_path: Path) -> None:
    arguments = [
        "read-out-report", "--manifest", str(manifest), "--run", str(tmp_path),
        "--out", str(tmp_path / "report.md"), "--sets", "lesions:24,lung", "--shots", "2",
        "--seeds", "2", "--dim", "8", "--only", "steadied;whitened, frames of a group",
    ]  # fmt: skip
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    text = (tmp_path / "report.md").read_text()
    for row in ("as it serves", "with the border", "steadied", "whitened, frames of a group"):
        assert row in text
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert (tmp_path / "report.md").read_text() == text
