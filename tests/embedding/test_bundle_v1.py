"""Bundles of format 1 load for ever."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.embedding.bundle import encoder_id_of, parse_manifest, read_manifest
from service.embedding.encoder import load_encoder
from service.errors import ArtifactMismatch
from service.imaging.analysis.preprocess import preprocess

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
