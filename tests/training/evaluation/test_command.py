"""``python -m training evaluate``, sets of ultrabench, runs, maps, and the real weights."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from service.errors import InputError
from training.__main__ import app
from training.catalogue.manifest import load_frames, read_manifest
from training.distil.config import DistillConfig
from training.evaluation.clusters import umap_plane
from training.evaluation.encoders import checkpoint, embed, imagenet_trunk, teacher
from training.evaluation.protocol import shot_split
from training.evaluation.ultrabench import read_ultrabench
from training.networks.readout import ReadoutConfig
from training.networks.student import Trunk

BUNDLE = Path(__file__).parents[2] / "fixtures" / "bundle_v1"
SHARED = Path(os.environ.get("SONOPROBE_SHARED", Path(__file__).parents[4] / "shared"))


def run(*arguments: str | Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == 0, result.output


def test_the_command_evaluates_renders_again_and_states_the_numbers(
    manifest: Path, tmp_path: Path
) -> None:
    bundle, out, again = tmp_path / "bundle", tmp_path / "out", tmp_path / "again"
    shutil.copytree(BUNDLE, bundle)
    common = ("--bundle", bundle, "--manifest", manifest, "--no-costs", "--no-maps")
    others = ("--pixels", "--before", BUNDLE)
    run(*common, *others, "--sets", "lesions", "--seeds", 2, "--out", out)
    run("--from", out / "evaluation.json", "--out", again, "--state-in", bundle)
    for name in ("report.html", "benchmark.md"):
        assert (out / name).read_bytes() == (again / name).read_bytes()
    assert "| pixels |" in (bundle / "MODEL_CARD.md").read_text()
    document = json.loads((out / "evaluation.json").read_text())
    assert document["shipped"] == "bundle_fp32"
    assert [chosen["name"] for chosen in document["sets"]] == ["lesions"]
    unchanged = document["paired_served"]["before_fp32_served"]["mean"]["full"]
    assert unchanged["mean"] == 0
    assert "`bundle_fp32_served` minus the others" in (bundle / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("given", [["--pixels"], []])
def test_nothing_to_evaluate_or_to_evaluate_on_is_refused_in_one_line(
    given: list[str], tmp_path: Path
) -> None:
    words = ["evaluate", *given, "--out", str(tmp_path), "--no-costs"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert result.output.startswith("error: expected sets and encoders of different names")
    assert "Traceback" not in result.output


def prepared(folder: Path, manifest: Path) -> Path:
    """A folder as ultrabench writes it: images and three lists of records."""
    (folder / "images").mkdir(parents=True)
    splits: dict[str, list[dict[str, object]]] = {"train": [], "validation": [], "test": []}
    rows = [row for row in read_manifest(manifest) if row.dataset == "lesions"]
    for number, row in enumerate(row for row in rows if not row.label_conflict):
        split = ("train", "train", "validation", "test")[number % 4]
        shutil.copy(row.path, folder / "images" / f"{number}.png")
        splits[split].append(
            {
                "patient": f"{split}{number // 8}",
                "image": f"images/{number}.png",
                "pathology": row.label,
                "label": ["cyst", "mass", "stone"].index(row.label),
            }
        )
    splits["test"].append({"image": "images/none.png", "label": None})  # for segmentation only
    for split, records in splits.items():
        (folder / f"{split}.json").write_text(json.dumps(records))
    return folder


def test_ultrabench_splits_are_kept(manifest: Path, tmp_path: Path) -> None:
    found = read_ultrabench(prepared(tmp_path / "aul_v1", manifest))
    assert found.labelled.classes == ("cyst", "mass", "stone")
    assert found.labelled.support_N.sum() == 27
    assert len(found.rows) == 36
    split = shot_split(found.labelled, 5, 0)
    assert {found.rows[row].split for row in split.train} <= {"train", "validation"}
    assert {found.rows[row].split for row in split.test} == {"test"}
    assert len(load_frames(found.rows)) == 36


@pytest.mark.parametrize(
    ("split", "records"),
    [
        ("train", None),
        ("validation", [{"label": 1}]),
        ("train", [{"label": 1, "image": "../../secret.png"}]),
        ("test", [{"label": 1, "image": "images/0.png", "patient": "train0"}]),
    ],
)
def test_broken_ultrabench_folders_are_refused(
    manifest: Path, tmp_path: Path, split: str, records: list[dict[str, object]] | None
) -> None:
    folder = prepared(tmp_path / "aul_v1", manifest)
    path = folder / f"{split}.json"
    if records is None:
        path.unlink()
    else:
        path.write_text(json.dumps([*json.loads(path.read_text()), *records]))
    with pytest.raises(InputError):
        read_ultrabench(folder)


def test_a_run_is_evaluated_with_a_readout_fitted_on_the_corpus(
    manifest: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    torch.save({"trunk": Trunk().state_dict()}, tmp_path / "checkpoint.pt")
    config = DistillConfig(readout=ReadoutConfig(dim=3))
    corpus = load_frames(read_manifest(manifest)[:5])
    features_ND = embed(checkpoint(tmp_path, corpus, config), corpus)
    assert features_ND.shape == (5, 3)
    # The read-out centres on the corpus, so its mean there is nothing beside its spread.
    assert np.abs(features_ND.mean(0)).max() < 1e-3 * features_ND.std()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        checkpoint(tmp_path, [], DistillConfig())


@pytest.mark.slow  # numba compiles for most of a minute
def test_a_map_keeps_far_clusters_apart() -> None:
    rng = np.random.default_rng(0)
    features_ND = np.repeat(np.eye(2, 8), 30, axis=0) + 0.02 * rng.normal(size=(60, 8))
    points_N2 = umap_plane(features_ND)
    one, other = points_N2[:30], points_N2[30:]
    apart = np.linalg.norm(one.mean(0) - other.mean(0))
    assert apart > 2 * max(one.std(0).max(), other.std(0).max())


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="no folder of real weights")
def test_the_real_teacher_and_trunk_give_what_the_table_says(manifest: Path) -> None:
    frames = load_frames(read_manifest(manifest)[:2])
    (vit,) = (SHARED / "weights").glob("dinov2*.safetensors")
    (resnet,) = (SHARED / "weights").glob("resnet50v2*.safetensors")
    assert embed(teacher(vit), frames).shape == (2, 2304)
    trunk = imagenet_trunk(resnet)
    assert embed(trunk, frames).shape == (2, 1024)
    # Stem to stage 3 of ResNet-50 and its input norm.
    assert 8.4e6 < trunk.parameters < 8.8e6
    with pytest.raises(InputError):
        teacher(resnet)
