"""Configurations are found by name or file, refuse nonsense, and survive JSON."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from service.errors import Conflict, InputError
from service.imaging.analysis.thumbnails import encode_png
from training.configs import dinov3_vitb16_resnet50
from training.distil.config import (
    DistillConfig,
    LossConfig,
    config_names,
    load_config,
    load_config_with_weights,
    resize_run,
)
from training.distil.runs import corpus_frames, simulated_frames
from training.networks.config import StudentConfig, TeacherConfig

CATALOGUE = Path(dinov3_vitb16_resnet50.__file__).parents[1] / "catalogue" / "datasets.toml"
JUDGED = {"busi", "aul", "pocus", "covidx-us", "butterfly"}  # bench sets, and what holds them


def test_every_named_configuration_loads_and_is_written_down_whole() -> None:
    assert {"resnet50_stage3", "smoke_cpu", "dinov3_vitb16_resnet50"} <= set(config_names())
    for name in config_names():
        config = load_config(name)
        assert set(config.to_json()) == {field.name for field in dataclasses.fields(config)}


def test_a_users_file_is_run(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from training.distil.config import DistillConfig\n"
        "def config():\n    return DistillConfig(seed=7)\n"
    )
    assert load_config(str(path)) == DistillConfig(seed=7)


@pytest.mark.parametrize("text", ["", "config = 3\n", "def config():\n    return 3\n"])
def test_a_file_that_gives_no_configuration_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match="DistillConfig"):
        load_config(str(path))


@pytest.mark.parametrize("name", ["no_such", "no_such.py", "__init__", "../config"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        load_config(name)


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "sometimes"},
        {"mode": "cached", "mixup": 0.2},
        {"mode": "cached", "student": StudentConfig(train="all")},
        {"student": StudentConfig(train="stage2")},
        {"batch": 0},
        {"steps": -1},
        {"teachers": ()},
        {"losses": LossConfig(regression=0)},
        {"mode": "online", "losses": LossConfig(feature_preservation=1.0)},
        {"mode": "online", "student": StudentConfig(stages=3)},
        {"mode": "online", "student": StudentConfig("resnet50", stages=3, train="all")},
        {"mode": "online", "student": StudentConfig(stages=2, train="all")},
    ],
    ids=str,
)
def test_a_configuration_that_cannot_run_is_refused_at_once(fields: dict) -> None:
    with pytest.raises(InputError, match=r"expected|cached runs"):
        DistillConfig(**fields)


def test_the_papers_run_is_what_it_claims() -> None:
    config = load_config("dinov3_vitb16_resnet50")
    assert config.mode == "online"
    assert config.student.architecture == "resnet50"
    assert [teacher.architecture for teacher in config.teachers] == ["vit_base_patch16_dinov3"]
    assert len(set(config.corpus)) == len(config.corpus) >= 40
    assert not JUDGED & set(config.corpus)


@pytest.mark.skipif(not CATALOGUE.exists(), reason="the catalogue is not in this tree")
def test_the_papers_sets_are_all_in_the_catalogue() -> None:
    known = set(tomllib.loads(CATALOGUE.read_text(encoding="utf-8")))
    assert set(dinov3_vitb16_resnet50.CORPUS) <= known


def test_the_contrastive_loss_needs_two_views_of_every_frame() -> None:
    losses = LossConfig(contrastive=1.0)
    assert DistillConfig(batch=8, losses=losses).frames_per_step == 4
    assert DistillConfig(batch=8).frames_per_step == 8
    with pytest.raises(InputError, match="even batch"):
        DistillConfig(batch=7, losses=losses)
    with pytest.raises(InputError, match="2 views"):
        DistillConfig(views=1, losses=losses)
    assert DistillConfig(mode="online", views=1, losses=losses).losses.contrastive == 1


TWO_TEACHERS = """
from training.distil.config import DEFAULT_TEACHER, DistillConfig
from training.networks.config import IMAGENET_TRUNK, TeacherConfig


def config():
    return DistillConfig(teachers=(DEFAULT_TEACHER, TeacherConfig(IMAGENET_TRUNK)))
"""


def test_weights_of_the_command_line_reach_teachers_but_not_the_copy_of_the_student(
    tmp_path: Path,
) -> None:
    path = tmp_path / "two_teachers.py"
    path.write_text(TWO_TEACHERS)
    config = load_config_with_weights(str(path), "trunk.safetensors", "vit.safetensors")
    assert config.student.weights == "trunk.safetensors"
    assert [teacher.weights for teacher in config.teachers] == ["vit.safetensors", ""]


def test_a_smaller_batch_keeps_its_queue_as_many_batches_long() -> None:
    config = resize_run(load_config("dinov3_vitb16_resnet50"), steps=2, batch=2)
    assert (config.steps, config.batch, config.losses.queue_rows) == (2, 2, 16)
    assert resize_run(config) == config


def test_a_manifest_without_the_configured_sets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(
        "path,use,dataset,label,group,split,licence,label_conflict\na.png,corpus,mine,,,,CC0,0\n"
    )
    config = DistillConfig(corpus=("theirs",), teachers=(TeacherConfig("test_vit"),))
    with pytest.raises(InputError, match="no corpus frames"):
        corpus_frames(path, config, 0)
    with pytest.raises(InputError, match="--manifest"):
        corpus_frames(None, config, 0)


COLUMNS = "path,use,dataset,label,group,split,licence,label_conflict\n"


def manifest_of(folder: Path, rows: str) -> Path:
    """Three simulated frames and a manifest that names them as ``rows`` say."""
    for name, frame in zip("abc", simulated_frames(3), strict=True):
        (folder / f"{name}.png").write_bytes(encode_png(frame))
    path = folder / "manifest.csv"
    path.write_text(COLUMNS + rows)
    return path


def test_frames_that_the_manifest_judges_on_are_not_distilled_from(tmp_path: Path) -> None:
    config = DistillConfig(teachers=(TeacherConfig("test_vit"),))
    mine = "a.png,corpus,mine,,p1,,CC0,0\nb.png,corpus,mine,,p2,,CC0,0\n"
    apart = manifest_of(tmp_path, mine + "c.png,bench,theirs,x,p3,,CC0,0\n")
    assert len(corpus_frames(apart, config, 0)) == 2
    same = manifest_of(tmp_path, mine + "b.png,bench,theirs,x,p3,,CC0,0\n")
    with pytest.raises(Conflict, match="1 frames by same file"):
        corpus_frames(same, config, 0)
    subject = manifest_of(tmp_path, mine + "c.png,bench,mine,x,p2,,CC0,0\n")
    with pytest.raises(Conflict, match="1 frames by same group"):
        corpus_frames(subject, config, 0)


def test_one_process_of_a_run_looks_for_leaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DistillConfig(teachers=(TeacherConfig("test_vit"),))
    path = manifest_of(tmp_path, "a.png,corpus,mine,,,,CC0,0\na.png,bench,mine,x,,,CC0,0\n")
    monkeypatch.setenv("RANK", "1")
    assert len(corpus_frames(path, config, 0)) == 1
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(Conflict):
        corpus_frames(path, config, 0)


def test_a_frame_of_a_use_that_nobody_guards_is_refused(tmp_path: Path) -> None:
    config = DistillConfig(teachers=(TeacherConfig("test_vit"),))
    rows = "a.png,corpus,mine,,p1,,CC0,0\na.png,Bench,theirs,x,p3,,CC0,0\n"
    with pytest.raises(InputError, match="expected a use of corpus or bench, got 'Bench' in 1"):
        corpus_frames(manifest_of(tmp_path, rows), config, 0)
