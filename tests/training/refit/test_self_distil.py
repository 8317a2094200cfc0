"""The end of an encoder that learns the mean of several views, and the bundle made of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from service.arrays import unit_rows
from service.embedding.bundle import read_manifest
from service.embedding.encoder import load_encoder
from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.bundle.deploy import assemble, fold_norms
from training.bundle.export import NETWORKS, ExportFacts
from training.bundle.recovered import read_trunk
from training.catalogue.manifest import ManifestRow
from training.catalogue.simulator import simulate
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD
from training.networks.readout import WIDTH_TO_STAGE3, Readout, pool_features
from training.networks.student import Trunk
from training.refit.refit import RefitData
from training.refit.self_distil import self_distil
from training.refit.tail_training import (
    SelfDistilConfig,
    ViewStreams,
    mean_targets,
    self_distillation,
    train_tail,
)
from training.refit.trunk_tail import TrunkTail

FRAMES, DIM = 8, 6
CONFIG = SelfDistilConfig(
    views=("served", "flipped"), target_views=("served", "flipped"), epochs=2, batch=4, blocks=1
)


@pytest.fixture(scope="module")
def trunk() -> tuple[Trunk, Readout]:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(DIM, WIDTH_TO_STAGE3)) / 80
    readout = Readout(weights.astype(np.float32), np.zeros(DIM, np.float32))
    spec = PreprocessSpec(64, IMAGENET_MEAN, IMAGENET_STD)
    student, _ = fold_norms(assemble(Trunk(3), readout), spec)
    return student.trunk, readout


@pytest.fixture(scope="module")
def data(trunk: tuple[Trunk, Readout]) -> ViewStreams:
    """Streams of two views that differ a little, and their embeddings by the untrained tail."""
    rng = np.random.default_rng(1)
    texture = np.exp(1.0 * rng.normal(size=(FRAMES, 1024, 1, 1)))  # what tells frames apart
    frame = texture * rng.normal(size=(FRAMES, 1024, 4, 4))
    views = {
        name: (frame + 1.0 * rng.normal(size=frame.shape)).astype(np.float32)
        for name in CONFIG.views
    }
    tail = TrunkTail(*trunk, 1)
    with torch.inference_mode():
        rows = {
            name: unit_rows(tail(torch.from_numpy(v).float()).numpy()) for name, v in views.items()
        }
    return ViewStreams({name: [stream] for name, stream in views.items()}, rows)


def test_a_tail_that_learnt_nothing_joins_to_the_same_trunk(
    trunk: tuple[Trunk, Readout],
) -> None:
    before, readout = trunk
    joined, same = TrunkTail(before, readout, 2).join(before)
    frames = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected, actual = (pool_features(t.read(frames)[0], None) for t in (before, joined))
    torch.testing.assert_close(actual, expected)
    np.testing.assert_array_equal(same.weights_DK, readout.weights_DK)


def test_training_brings_views_closer_to_their_mean_and_changes_only_the_copy(
    trunk: tuple[Trunk, Readout], data: ViewStreams, tmp_path: Path
) -> None:
    before = {name: weights.clone() for name, weights in trunk[0].state_dict().items()}
    tail = TrunkTail(*trunk, 1)
    losses = train_tail(tail, data, replace(CONFIG, epochs=6, learning_rate=1e-5), tmp_path)
    assert np.mean(losses[-2:]) < 0.8 * np.mean(losses[:2])
    for name, weights in trunk[0].state_dict().items():
        torch.testing.assert_close(weights, before[name])


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(
    trunk: tuple[Trunk, Readout], data: ViewStreams, tmp_path: Path
) -> None:
    whole, first, second = (TrunkTail(*trunk, 1) for _ in range(3))
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    expected = train_tail(whole, data, CONFIG, tmp_path / "whole")

    class Stop(Exception):
        pass

    class EndsAfterAnEpoch(ViewStreams):
        asked = 0

        def batch(self, views, frames_B):  # type: ignore[no-untyped-def]
            type(self).asked += 1
            if type(self).asked > FRAMES // CONFIG.batch:
                raise Stop
            return super().batch(views, frames_B)

    stopping = EndsAfterAnEpoch(data.streams, data.embeddings_ND)
    with pytest.raises(Stop):
        train_tail(first, stopping, CONFIG, tmp_path / "parts")
    losses = train_tail(second, data, CONFIG, tmp_path / "parts")
    assert losses == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(second.weights_DK, whole.weights_DK)
    with pytest.raises(InputError, match="another self-distillation"):
        train_tail(second, data, replace(CONFIG, seed=1), tmp_path / "parts")


def test_rows_that_give_their_targets_lose_nothing_and_equal_rows_do(data: ViewStreams) -> None:
    targets, centre = mean_targets(data, CONFIG.target_views)
    rows = torch.from_numpy(targets + centre)
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1, atol=1e-5)
    # Around a centre of 0 rows and targets have one direction.
    perfect = self_distillation(rows, rows / rows.norm(dim=1, keepdim=True), rows[0] * 0, 1.0)
    assert perfect.item() == pytest.approx(0, abs=1e-5)
    collapsed = self_distillation(rows[:1].repeat(FRAMES, 1), torch.from_numpy(targets),
                                  torch.from_numpy(centre), 1.0)  # fmt: skip
    assert collapsed.item() > 0.5


def test_a_tail_needs_blocks_before_it(trunk: tuple[Trunk, Readout]) -> None:
    with pytest.raises(InputError, match="1 to 5 blocks"):
        TrunkTail(*trunk, 6)


@pytest.mark.slow
def test_a_self_distilled_bundle_loads_and_differs_only_in_its_end(
    trunk_bundle: Path, tmp_path: Path
) -> None:
    rows = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        frame = simulate("tissue", np.random.default_rng(number)).pixels_HW
        Image.fromarray(frame).save(path)
        rows.append(ManifestRow(path, "corpus", "own", "", f"own/{number}", "", "CC0", False))
    frames = [np.asarray(Image.open(row.path)) for row in rows]
    data = RefitData(rows, frames, frames[:2])
    facts = ExportFacts("9.9.9", True, (), "none", "none")
    config = replace(CONFIG, side_px=64, epochs=1, batch=2)
    run, out = tmp_path / "run", tmp_path / "out"
    manifest = self_distil(trunk_bundle, data, config, facts, run, out)
    assert manifest.about["self_distillation"]["blocks"] == 1
    assert manifest.about["fidelity"]["int8"]["mean_cosine"] > 0.9
    encoder = load_encoder(out)
    assert encoder.spec.border == 0.1
    assert "last 1 blocks of stage 3" in encoder.card
    before = read_trunk(trunk_bundle / "encoder.fp32.onnx")[0].state_dict()
    after = read_trunk(out / NETWORKS["fp32"])[0].state_dict()
    changed = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-6)}
    assert changed
    assert all(name.startswith(("stages.2.blocks.5", "norm")) for name in changed)
    with pytest.raises(InputError, match="another self-distillation"):
        self_distil(trunk_bundle, data, replace(config, blocks=2), facts, run, tmp_path / "other")
    turned = replace(data, corpus=data.corpus[::-1])
    with pytest.raises(InputError, match="another self-distillation, with other content"):
        self_distil(trunk_bundle, turned, config, facts, run, tmp_path / "other")
    assert read_manifest(trunk_bundle).encoder_id != manifest.encoder_id
    for name in NETWORKS.values():
        assert str(tmp_path).encode() not in (out / name).read_bytes()
        assert onnx.load(out / name).graph.output[0].name == "embedding"
