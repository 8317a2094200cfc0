"""Designs differ in one thing each, share what is computed once, and are evaluated alike."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.catalogue.manifest import read_manifest
from training.distil.config import DistillConfig, load_config
from training.distil.runs import simulated_frames
from training.distil.targets import Targets
from training.evaluation.sets import read_sets
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD, StudentConfig, TeacherConfig
from training.networks.readout import ReadoutConfig
from training.studies.designs import (
    PLAIN,
    Design,
    SharedTargets,
    compute_shared,
    designs,
    evaluate_designs,
    reduce_config,
    select_designs,
    tables,
    targets_of,
)

VIEWS, FRAMES, SIMULATED, BLOCKS, TOKENS = 2, 3, 2, (5, 8, 11), 4
VIT = TeacherConfig("vit", blocks=BLOCKS)
CONFIG = DistillConfig(views=VIEWS, batch=2, steps=4, teachers=(VIT,))


def cache(frames: int, start: int) -> Targets:
    """Targets that tell sample, teacher and column from each other."""
    samples = VIEWS * frames
    numbers = np.arange(start, start + samples, dtype=np.float16)[:, None]
    vit = numbers + np.arange(len(BLOCKS) * TOKENS, dtype=np.float16) / 16
    maps = numbers.reshape(samples, 1, 1, 1)
    return Targets(maps, [vit, -numbers], [maps, -maps], [(1, 1, 1)] * 2)


@pytest.fixture
def stored() -> SharedTargets:
    teachers = (VIT, TeacherConfig("imagenet_trunk"))
    return SharedTargets(teachers, cache(FRAMES, 0), cache(SIMULATED, 100), [])


def named(name: str) -> Design:
    return next(design for design in designs(CONFIG) if design.name == name)


def test_the_plain_design_comes_first_and_no_two_are_the_same() -> None:
    found = designs(CONFIG)
    assert found[0] == Design(PLAIN, CONFIG)
    facts = {repr(dataclasses.replace(design, name="")) for design in found}
    assert len(facts) == len({design.folder for design in found}) == len(found)


def test_a_design_learns_from_the_blocks_it_names(stored: SharedTargets) -> None:
    plain = targets_of(named(PLAIN), stored)
    assert len(plain.pooled) == 1
    np.testing.assert_array_equal(plain.pooled[0], stored.corpus.pooled[0])
    last = targets_of(named("last block alone"), stored)
    np.testing.assert_array_equal(last.pooled[0], stored.corpus.pooled[0][:, -TOKENS:])
    first = targets_of(named("first block alone"), stored)
    np.testing.assert_array_equal(first.pooled[0], stored.corpus.pooled[0][:, :TOKENS])


def test_a_second_teacher_and_places_come_where_they_are_asked_for(stored: SharedTargets) -> None:
    both = targets_of(named("two teachers"), stored)
    np.testing.assert_array_equal(both.pooled[1], stored.corpus.pooled[1])
    assert both.dense == ()
    assert len(targets_of(named("relational loss on top"), stored).dense) == 1


def test_simulated_frames_stand_beside_the_corpus_in_every_view(stored: SharedTargets) -> None:
    found = targets_of(named("simulated frames too"), stored)
    wanted = [0, 1, 2, 100, 101, 3, 4, 5, 102, 103]  # view 0 of all frames, then view 1
    assert found.streams_MChw.ravel().tolist() == wanted
    assert found.pooled[0][:, 0].tolist() == wanted


def test_a_reduced_run_keeps_how_much_larger_frames_are_loaded() -> None:
    small = reduce_config(
        load_config("resnet50_stage4"), side=112, views=3, steps=7, batch=8, dim=64
    )
    assert (small.spec.side_px, small.load_px, small.serve_px) == (112, 128, 0)
    assert (small.steps, small.batch, small.views) == (7, 8, 3)
    assert (small.readout.dim, small.readout.views) == (64, 2)
    assert len(small.teachers) == 1


def test_a_design_that_does_not_exist_is_refused() -> None:
    assert [d.name for d in select_designs(CONFIG, ["no stage 4"])] == [PLAIN, "no stage 4"]
    with pytest.raises(InputError, match="larger"):
        select_designs(CONFIG, ["larger"])


@pytest.mark.slow  # a real trunk is read, trained and evaluated
def test_designs_are_judged_on_the_same_splits_and_once(manifest: Path, tmp_path: Path) -> None:
    plain = DistillConfig(
        views=2,
        batch=4,
        steps=2,
        learning_rate=1e-3,
        student=StudentConfig(weights="random"),
        teachers=(
            TeacherConfig("test_vit", "random", (2, 5), mean=(0.5,) * 3, std=(0.5,) * 3),
        ),
        spec=PreprocessSpec(64, IMAGENET_MEAN, IMAGENET_STD),
        load_px=72,
        readout=ReadoutConfig(dim=8, views=1),
    )  # fmt: skip
    sets = read_sets(read_manifest(manifest), ["lesions"])
    made = compute_shared(plain, simulated_frames(12), sets, tmp_path / "cache", simulated=6)
    chosen = select_designs(plain, ["no stage 4", "simulated frames too"])
    first = list(evaluate_designs(chosen, made, tmp_path, shots=(2, 5), seeds=2))
    assert first[0].shipped.gain[5].value == 0
    assert [each.alone is None for each in first] == [False, True, False]
    trained = sorted(path.parent.name for path in tmp_path.glob("*/metrics.csv"))
    assert trained == [PLAIN, "simulated_frames_too"]
    (tmp_path / PLAIN / "checkpoint.pt").unlink()  # what is evaluated is not trained again
    again = list(evaluate_designs(chosen, made, tmp_path, shots=(2, 5), seeds=2))
    assert tables(again) == tables(first)
    assert not (tmp_path / PLAIN / "checkpoint.pt").exists()
    for document in tmp_path.glob("*/scores.json"):  # of other splits: not read, but evaluated anew
        document.write_text(document.read_text().replace('"made_of": "', '"made_of": "0'))
    anew = list(evaluate_designs(chosen[:1], made, tmp_path, shots=(2, 5), seeds=2))
    assert anew[0].shipped.scores == first[0].shipped.scores
    assert (tmp_path / PLAIN / "checkpoint.pt").exists()
    (more,) = evaluate_designs(chosen[:1], made, tmp_path, shots=(2,), seeds=3)
    assert list(more.shipped.scores) == [2]
