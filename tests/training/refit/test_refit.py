"""The trunk of a bundle with another read-out, input size and border, and its networks alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from service.arrays import unit_rows
from service.embedding.bundle import MANIFEST_NAME, SHIPPED_BUNDLE, read_manifest
from service.embedding.encoder import load_encoder
from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec, normalise, preprocess
from training.__main__ import app
from training.bundle.export import ExportFacts, copy_precisions, with_border
from training.bundle.onnx_files import open_pooled
from training.bundle.recovered import read_networks
from training.catalogue.manifest import ManifestRow, write_manifest
from training.catalogue.simulator import simulate
from training.commands.refit import read_inputs
from training.networks.readout import WIDTH_TO_STAGE3, ReadoutConfig
from training.refit.corpus_views import read_views, view_frames
from training.refit.refit import RefitConfig, RefitData, refit

SPEC = PreprocessSpec(64, (0.5,) * 3, (0.25,) * 3, border=0.1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for number in range(12):
        path = folder / f"{number}.png"
        frame = simulate("tissue", np.random.default_rng(number)).pixels_HW
        Image.fromarray(frame).save(path)
        rows.append(ManifestRow(path, "corpus", "own", "", f"own/{number}", "", "CC0", False))
    return rows


@pytest.mark.parametrize(
    "view", ["served", "whole", "flipped", "whole_cropped3", "gamma2", "augmented1"]
)
def test_each_view_but_that_of_margins_has_the_border_of_the_encoder(
    corpus: list[ManifestRow], view: str
) -> None:
    (square,) = view_frames([corpus[0].path], 0, view, SPEC)
    border_px = SPEC.border_px
    assert square.shape == (64, 64)
    assert square[border_px:-border_px, border_px:-border_px].any()
    square = square.copy()
    square[border_px:-border_px, border_px:-border_px] = 0
    assert not square.any()


def test_margins_and_augmentations_are_drawn_by_their_number(corpus: list[ManifestRow]) -> None:
    for kind in ("margins", "augmented"):
        first, again, other = (
            view_frames([corpus[0].path], 0, f"{kind}{number}", SPEC)[0] for number in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_the_mirror_image_of_the_mirror_image_is_the_frame(corpus: list[ManifestRow]) -> None:
    whole, flipped = (
        view_frames([corpus[0].path], 0, view, SPEC)[0] for view in ("whole", "whole_flipped")
    )
    np.testing.assert_allclose(flipped[:, ::-1].astype(int), whole.astype(int), atol=1)


def test_gammas_are_lighter_and_darker_and_crops_are_parts(corpus: list[ManifestRow]) -> None:
    whole, lighter, darker, first, last = (
        view_frames([corpus[0].path], 0, f"whole{end}", SPEC)[0]
        for end in ("", "_gamma1", "_gamma2", "_cropped1", "_cropped3")
    )
    assert darker.mean() < whole.mean() < lighter.mean()
    assert (first != last).any()


@pytest.mark.parametrize("view", ["upside", "cropped4", "gamma0", "whole_served", ""])
def test_an_unknown_view_is_refused(corpus: list[ManifestRow], view: str) -> None:
    with pytest.raises(InputError, match=f"{view!r}"):
        view_frames([corpus[0].path], 0, view, SPEC)


def test_pooled_views_are_read_from_their_folder_the_second_time(
    corpus: list[ManifestRow], tmp_path: Path
) -> None:
    def mean_of_frames(frames_B3SS: np.ndarray) -> np.ndarray:
        return frames_B3SS.mean((2, 3))

    def none_is_left(frames_B3SS: np.ndarray) -> np.ndarray:
        raise AssertionError(frames_B3SS.shape)

    views = ("served", "margins1")
    first = read_views(corpus, views, mean_of_frames, SPEC, tmp_path)
    again = read_views(corpus, views, none_is_left, SPEC, tmp_path)
    np.testing.assert_array_equal(first, again)
    assert first[0].shape == (12, 3)
    with pytest.raises(InputError, match="another corpus"):
        read_views(corpus[:5], views, none_is_left, SPEC, tmp_path)


def test_a_bundle_with_another_border_has_its_own_id_and_claims_nothing_measured(
    tmp_path: Path,
) -> None:
    before = read_manifest(SHIPPED_BUNDLE)
    other = 0.2 if before.spec.border != 0.2 else 0.1
    with_border(SHIPPED_BUNDLE, tmp_path, other, "9.9.9")
    encoder = load_encoder(tmp_path)
    assert encoder.spec.border == other
    assert encoder.encoder_id != before.encoder_id
    assert encoder.ultrasound is None
    assert "benchmark" not in encoder.manifest.about
    assert f"border of {other} " in encoder.card
    assert not any(b'File "' in path.read_bytes() for path in tmp_path.glob("*.onnx"))


@pytest.fixture
def stating(tmp_path: Path) -> Path:
    """The shipped bundle, which says from which cosine frames are near-duplicates."""
    folder = Path(shutil.copytree(SHIPPED_BUNDLE, tmp_path / "stating"))
    stated = replace(read_manifest(folder), near_duplicate_cosine=0.93)
    (folder / MANIFEST_NAME).write_text(json.dumps(stated.to_json()))
    return folder


def test_a_border_keeps_the_cosine_of_near_duplicates(stating: Path, tmp_path: Path) -> None:
    assert with_border(stating, tmp_path / "out", 0.2, "9.9.9").near_duplicate_cosine == 0.93


@pytest.mark.parametrize(("wanted", "cosine"), [(None, 0.93), (0.95, 0.95)])
def test_a_bundle_made_from_another_keeps_its_cosine_of_near_duplicates_unless_told(
    wanted: float | None, cosine: float, corpus: list[ManifestRow], stating: Path, tmp_path: Path
) -> None:
    rows = [row if n else replace(row, use="bench") for n, row in enumerate(corpus)]
    write_manifest(rows, tmp_path / "manifest.csv")
    golden = corpus[0].path.parent
    _, facts = read_inputs(tmp_path / "manifest.csv", golden, stating, "9.9.9", 1, wanted)
    made = copy_precisions(stating, tmp_path / "out", facts, precisions=["int8"])
    assert made.near_duplicate_cosine == cosine
    assert read_manifest(tmp_path / "out") == made


@pytest.mark.parametrize("command", ["export", "refit", "self-distil"])
def test_a_cosine_of_near_duplicates_that_is_none_is_refused_before_the_work(
    command: str, tmp_path: Path
) -> None:
    paths = ["manifest", "run", "golden", "out", "shipped"]
    options = [word for name in paths for word in (f"--{name}", str(tmp_path / name))]
    options += ["--version", "9.9.9", "--near-duplicate-cosine", "1.5"]
    if command == "export":
        options += ["--teacher", "none", "--initial", "none"]
    result = CliRunner().invoke(app, [command, *options], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "expected a cosine above 0 and up to 1, got 1.5" in result.output


@pytest.mark.slow
def test_a_refitted_bundle_loads_and_its_map_has_the_direction_of_its_embedding(
    corpus: list[ManifestRow], tmp_path: Path
) -> None:
    frames = [np.asarray(Image.open(row.path)) for row in corpus]
    data = RefitData(corpus, frames, frames[:2])
    config = RefitConfig(64, views=("served", "margins1"), readout=ReadoutConfig(dim=8))
    facts = ExportFacts("9.9.9", True, (), "none", "none")
    manifest = refit(SHIPPED_BUNDLE, data, config, facts, tmp_path / "run", tmp_path / "out")
    assert manifest.about["fidelity"]["int8"]["mean_cosine"] > 0.9
    other = replace(config, side_px=96)
    with pytest.raises(InputError, match="another refit"):
        refit(SHIPPED_BUNDLE, data, other, facts, tmp_path / "run", tmp_path / "other")
    turned = replace(data, corpus=corpus[::-1])
    with pytest.raises(InputError, match="another refit, with other content"):
        refit(SHIPPED_BUNDLE, turned, config, facts, tmp_path / "run", tmp_path / "other")
    encoder = load_encoder(tmp_path / "out")
    assert (encoder.dim, encoder.spec.side_px, encoder.spec.border) == (8, 64, 0.1)
    inputs = np.concatenate([preprocess(frame[None], encoder.spec) for frame in frames[:3]])
    embeddings, maps = encoder.encode_mapped(inputs)
    means = maps.mean((2, 3))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(means, embeddings, atol=1e-3)


@pytest.mark.slow
def test_a_refit_that_keeps_the_read_out_only_centres_it_on_what_is_served(
    corpus: list[ManifestRow], tmp_path: Path
) -> None:
    frames = [np.asarray(Image.open(row.path)) for row in corpus]
    data = RefitData(corpus, frames, frames[:2])
    source = read_manifest(SHIPPED_BUNDLE)
    config = RefitConfig(source.spec.side_px, 0.1, readout=None)
    facts = ExportFacts("9.9.9", False, (), "a teacher", "random weights")
    refit(SHIPPED_BUNDLE, data, config, facts, tmp_path / "run", tmp_path / "out")
    kept = read_networks(tmp_path / "out" / "encoder.fp32.onnx").readout
    before = read_networks(SHIPPED_BUNDLE / source.networks["fp16"]).readout
    np.testing.assert_allclose(kept.weights_DK, before.weights_DK, atol=1e-6)
    served = view_frames(
        [row.path for row in corpus], 0, "served", replace(source.spec, border=0.1)
    )
    inputs = normalise(np.stack(served), source.spec)
    exact_NK = open_pooled(tmp_path / "out" / "encoder.fp32.onnx")(inputs)
    rows_ND = exact_NK @ kept.weights_DK.T + kept.bias_D
    assert np.linalg.norm(rows_ND.mean(0)) < 0.01 * np.linalg.norm(rows_ND, axis=1).mean()
    encoder = load_encoder(tmp_path / "out")
    assert encoder.precision == "int8"
    cosine_N = (encoder.encode(inputs) * unit_rows(rows_ND)).sum(1)
    assert cosine_N.min() > 0.97


@pytest.mark.slow
def test_a_second_network_gets_its_share_of_the_embedding_beside_a_kept_read_out(
    corpus: list[ManifestRow], trunk_bundle: Path, lite_weights: Path, tmp_path: Path
) -> None:
    frames = [np.asarray(Image.open(row.path)) for row in corpus]
    data = RefitData(corpus, frames, frames[:2], lite_weights)
    config = RefitConfig(64, readout=ReadoutConfig(dim=8))
    facts = ExportFacts("9.9.9", False, (), "a teacher", "random weights")
    out = tmp_path / "out"
    manifest = refit(trunk_bundle, data, config, facts, tmp_path / "run", out)
    assert manifest.about["second_network"]["share"] == config.lite_share
    assert "30% of the squared length" in (out / "MODEL_CARD.md").read_text()
    assert load_encoder(out).dim == 8
    found = read_networks(out / "encoder.fp32.onnx")
    assert found.lite is not None
    pool = open_pooled(tmp_path / "run" / "encoder.int8.onnx")
    (pooled_NK,) = read_views(corpus, ("served",), pool, SPEC, tmp_path / "run" / "views")
    around_NK = pooled_NK - pooled_NK.mean(0)
    parts = (slice(0, WIDTH_TO_STAGE3), slice(WIDTH_TO_STAGE3, None))
    squares = [
        np.square(around_NK[:, part] @ found.readout.weights_DK[:, part].T).sum() for part in parts
    ]
    assert 0.05 < squares[1] / sum(squares) < 0.5  # eight directions of sixteen keep no exact share
    with pytest.raises(InputError, match="a second network already"):
        refit(out, data, config, facts, tmp_path / "again", tmp_path / "third")
    with pytest.raises(InputError, match="another refit"):
        refit(trunk_bundle, replace(data, lite_weights=None), config, facts, tmp_path / "run", out)
