"""Bundles of format 1 load for ever."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from service.embedding.bundle import (
    MANIFEST_NAME,
    describe_file,
    encoder_id_of,
    near_duplicate_cosine,
    parse_manifest,
    read_manifest,
)
from service.embedding.encoder import load_encoder
from service.errors import ArtifactMismatch
from service.imaging.analysis.preprocess import SQUASH_REDUCED, preprocess

BUNDLE = Path(__file__).parents[1] / "fixtures" / "bundle_v1"


def test_the_first_bundle_format_loads_and_passes_its_golden_frames() -> None:
    encoder = load_encoder(BUNDLE)
    assert encoder.encoder_id == "enc_b2de2962cdf59262aa6d603c"
    frames = np.full((2, 40, 50), 99, np.uint8)
    assert encoder.encode(preprocess(frames, encoder.spec)).shape == (2, 16)


def test_a_bundle_that_names_no_border_has_none_and_keeps_its_id() -> None:
    document = read_manifest(BUNDLE).to_json()
    del document["input"]["border"]
    manifest = parse_manifest(document)
    assert manifest.spec.border == 0
    assert manifest.encoder_id == "enc_b2de2962cdf59262aa6d603c"


def test_another_border_is_another_encoder() -> None:
    manifest = read_manifest(BUNDLE)
    spec = replace(manifest.spec, border=0.1)
    other_id = encoder_id_of(manifest.files, manifest.networks, spec)
    assert other_id != manifest.encoder_id
    with pytest.raises(ArtifactMismatch, match=other_id):
        parse_manifest(replace(manifest, spec=spec).to_json())
    assert parse_manifest(replace(manifest, spec=spec, encoder_id=other_id).to_json()).spec == spec


def test_another_resize_rule_is_another_encoder() -> None:
    manifest = read_manifest(BUNDLE)
    spec = replace(manifest.spec, resize=SQUASH_REDUCED)
    other_id = encoder_id_of(manifest.files, manifest.networks, spec)
    assert other_id != manifest.encoder_id
    assert parse_manifest(replace(manifest, spec=spec, encoder_id=other_id).to_json()).spec == spec


def test_a_bundle_may_say_from_which_cosine_frames_are_near_duplicates() -> None:
    silent = read_manifest(BUNDLE)
    assert near_duplicate_cosine(silent) == near_duplicate_cosine(None) == 0.9
    assert "near_duplicate_cosine" not in silent.to_json()
    stated = parse_manifest(silent.to_json() | {"near_duplicate_cosine": 0.92})
    assert near_duplicate_cosine(stated) == 0.92
    assert stated.encoder_id == silent.encoder_id
    assert parse_manifest(stated.to_json()) == stated


@pytest.mark.parametrize("cosine", [0, 1.01, float("nan"), "near", [0.9]])
def test_a_cosine_of_near_duplicates_that_is_none_is_refused(cosine: object) -> None:
    with pytest.raises(ArtifactMismatch, match="missing or wrong field"):
        parse_manifest(read_manifest(BUNDLE).to_json() | {"near_duplicate_cosine": cosine})


def test_a_bundle_says_how_exactly_each_runtime_gives_its_golden_embeddings(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))
    document = read_manifest(folder).to_json()
    shifted = dict(np.load(folder / "golden.npz"))
    (name,) = [name for name in shifted if name.startswith("embeddings_")]
    precision = name.split("_")[1]
    # A third of another direction: a cosine of about 0.95, below what is demanded by default.
    shifted[name] = shifted[name] + np.roll(shifted[name], 1, axis=1) / 3
    shifted[name] /= np.linalg.norm(shifted[name], axis=1, keepdims=True)
    np.savez(folder / "golden.npz", **shifted)
    golden = describe_file(folder, "golden.npz")
    document["files"] = [
        asdict(golden) if file["name"] == "golden.npz" else file for file in document["files"]
    ]

    def load_with(least: dict[str, dict[str, float]]) -> str:
        written = document | {"golden_cosine": least}
        (folder / MANIFEST_NAME).write_text(json.dumps(written))
        return load_encoder(folder).encoder_id

    with pytest.raises(ArtifactMismatch, match="golden cosine of at least"):
        load_with({})
    assert load_with({precision: {"onnxruntime": 0.5, "another": 1.0}}) == document["encoder_id"]
    with pytest.raises(ArtifactMismatch, match="a cosine in"):
        load_with({precision: {"onnxruntime": 1.5}})
