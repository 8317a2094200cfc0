"""The shipped bundle loads, and a changed one is refused with the reason."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.embedding.bundle import SHIPPED_BUNDLE, read_manifest
from service.embedding.encoder import load_encoder
from service.errors import ArtifactMismatch
from service.imaging.analysis.preprocess import normalise, preprocess

TINY = Path(__file__).parents[1] / "fixtures" / "bundle_v1"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED_BUNDLE, tmp_path / "bundle"))


def test_the_shipped_bundle_gives_unit_embeddings_whatever_the_batch() -> None:
    encoder = load_encoder(SHIPPED_BUNDLE)
    side_px = encoder.spec.side_px
    frames = np.random.default_rng(0).integers(0, 255, (3, side_px, side_px)).astype(np.uint8)
    inputs = normalise(frames, encoder.spec)
    together = encoder.encode(inputs)
    alone = np.concatenate([encoder.encode(one[None]) for one in inputs])
    assert together.shape == (3, encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("folder", "precision", "tolerance"),
    [(SHIPPED_BUNDLE, "int8", 1e-5), (SHIPPED_BUNDLE, "fp16", 2e-3), (TINY, "fp32", 1e-5)],
)
def test_the_mean_of_a_feature_map_has_the_direction_of_the_embedding(
    folder: Path, precision: str, tolerance: float
) -> None:
    encoder = load_encoder(folder, precision=precision)
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64)).astype(np.uint8)
    inputs = preprocess(frames, encoder.spec)
    embeddings, maps = encoder.encode_mapped(inputs)
    assert maps.shape == (2, *encoder.manifest.feature_map)
    np.testing.assert_allclose(embeddings, encoder.encode(inputs), atol=1e-6)
    means = maps.mean((2, 3))
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, embeddings, atol=tolerance)


def test_passes_side_by_side_on_half_of_the_threads_give_the_same_embeddings() -> None:
    encoder = load_encoder(SHIPPED_BUNDLE, threads=2, with_lanes=True)
    side_px = encoder.spec.side_px
    greys = np.random.default_rng(0).integers(0, 255, (3, side_px, side_px)).astype(np.uint8)
    frames = normalise(greys, encoder.spec)
    expected = encoder.encode(frames)
    assert len(encoder.lanes) == 2
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda lane: lane.encode(frames), encoder.lanes))
    for embeddings_BD in found:
        np.testing.assert_allclose(embeddings_BD, expected, atol=1e-6)
    assert load_encoder(SHIPPED_BUNDLE, threads=1, with_lanes=True).lanes == ()


def test_a_changed_network_is_refused_with_both_digests(bundle: Path) -> None:
    network = bundle / "encoder.int8.onnx"
    data = bytearray(network.read_bytes())
    data[len(data) // 2] ^= 1
    network.write_bytes(data)
    with pytest.raises(ArtifactMismatch, match=r"expected \d+ bytes, sha256 .*got"):
        load_encoder(bundle)


def test_another_preprocessing_is_refused_because_the_id_no_longer_fits(bundle: Path) -> None:
    file = bundle / "manifest.json"
    document = json.loads(file.read_text())
    document["input"]["mean"][0] += 0.1
    file.write_text(json.dumps(document))
    with pytest.raises(ArtifactMismatch, match="expected encoder_id"):
        load_encoder(bundle)


def test_a_precision_that_is_not_in_the_bundle_is_refused(bundle: Path) -> None:
    with pytest.raises(ArtifactMismatch, match="int8"):
        load_encoder(bundle, precision="fp32")


def test_a_package_without_the_float_network_serves_the_same_encoder(bundle: Path) -> None:
    whole = read_manifest(bundle)
    (bundle / whole.networks["fp16"]).unlink()
    assert load_encoder(bundle, threads=1).encoder_id == whole.encoder_id
    with pytest.raises(ArtifactMismatch, match=rf"\['int8'\] and not fp16.*{whole.version}"):
        load_encoder(bundle, precision="fp16")
    (bundle / whole.networks["int8"]).unlink()
    with pytest.raises(ArtifactMismatch, match="and not int8"):
        load_encoder(bundle)


def test_the_bundle_says_what_it_is_worth_and_is_small_enough_to_ship() -> None:
    encoder = load_encoder(SHIPPED_BUNDLE)
    assert not encoder.manifest.interim
    assert "no medical device" in encoder.card
    benchmark = encoder.manifest.about["benchmark"]
    assert set(benchmark["mean_over_sets"]) >= {benchmark["shipped"], "teacher", "imagenet_trunk"}
    sizes = {f.name: f.stat().st_size for f in SHIPPED_BUNDLE.rglob("*") if f.is_file()}
    assert sum(sizes.values()) < 90e6
    # Packages leave the halves out.
    assert sum(sizes.values()) - sizes[encoder.manifest.networks["fp16"]] < 40e6


def test_loading_an_encoder_reports_to_nobody_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    # ONNX Runtime's telemetry writes a device id there when it is on; CI variables silence it.
    silencers = ("ORT_DISABLE_TELEMETRY", "CI", "TF_BUILD", "GITHUB_ACTIONS", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in silencers}
    program = (
        "from pathlib import Path; from service.embedding.encoder import load_encoder;"
        f"print(load_encoder(Path({str(TINY)!r})).dim)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"HOME": str(tmp_path)},
        cwd=TINY.parents[2],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "16\n", done.stderr
    assert list(tmp_path.rglob("*")) == []
