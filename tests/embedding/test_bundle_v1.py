"""Bundles of format 1 load for ever."""

from pathlib import Path

import numpy as np

from service.embedding.encoder import load_encoder
from service.imaging.analysis.preprocess import preprocess

BUNDLE = Path(__file__).parents[1] / "fixtures" / "bundle_v1"


def test_the_first_bundle_format_loads_and_passes_its_golden_frames() -> None:
    encoder = load_encoder(BUNDLE)
    assert encoder.encoder_id == "enc_b2de2962cdf59262aa6d603c"
    frames = np.full((2, 40, 50), 99, np.uint8)
    assert encoder.encode(preprocess(frames, encoder.spec)).shape == (2, 16)
