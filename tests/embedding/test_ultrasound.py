"""The embedding of a frame shows whether it is ultrasound."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from service.cli.demo import SAMPLES
from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import load_encoder
from service.embedding.ultrasound_gate import read_ultrasound_test
from service.errors import ArtifactMismatch, InputError
from service.imaging.analysis.preprocess import preprocess
from service.imaging.formats.decode import decode


def page() -> np.ndarray:
    image = Image.new("L", (400, 500), 250)
    draw = ImageDraw.Draw(image)
    for top in range(20, 480, 24):
        draw.text((20, top), "Dear colleague, thank you for", 10, ImageFont.load_default(18))
    return np.asarray(image)


def test_the_shipped_encoder_tells_frames_from_pages_chessboards_and_noise() -> None:
    encoder = load_encoder(SHIPPED_BUNDLE)
    strangers = [
        page(),
        (np.indices((200, 200)).sum(0) // 25 % 2 * 255).astype(np.uint8),
        np.random.default_rng(0).integers(0, 256, (200, 200)).astype(np.uint8),
    ]
    files = [sorted((SAMPLES / scene).glob("*.png"))[0] for scene in ("a_lines", "cyst", "mass")]
    frames = [decode(file.read_bytes(), max_pixels=10**6).pixels_HW for file in files]
    inputs = [preprocess(one[None], encoder.spec) for one in (*frames, *strangers)]
    passed = encoder.ultrasound.passed(encoder.encode(np.concatenate(inputs)))
    assert passed.tolist() == [True] * 3 + [False] * 3


def test_the_bundle_says_how_the_test_was_measured() -> None:
    about = load_encoder(SHIPPED_BUNDLE).manifest.about["ultrasound_test"]
    assert set(about) == {"kind_left_out", "pictures_left_out", "false_alarms", "least"}
    assert max(row["share"] for row in about["false_alarms"].values()) <= 0.01
    assert min(row["auroc"] for row in about["pictures_left_out"].values()) >= 0.97


def stored(path: Path, **changed: object) -> Path:
    values = {"weights_D": np.ones(4, np.float32), "bias": -1.0, "least": 0.0} | changed
    np.savez(path, **{name: value for name, value in values.items() if value is not None})
    return path


def test_scores_are_linear_and_the_least_passes(tmp_path: Path) -> None:
    test = read_ultrasound_test(stored(tmp_path / "u.npz"), 4, "enc_1")
    rows = np.array([[1, 0, 0, 0], [0, 0.5, 0.4, 0]])
    np.testing.assert_allclose(test.scores(rows), [0.0, -0.1])
    assert test.passed(rows).tolist() == [True, False]
    with pytest.raises(InputError):
        test.scores(np.ones((1, 3)))


@pytest.mark.parametrize(
    "changed",
    [
        {"weights_D": np.ones(3, np.float32)},
        {"weights_D": np.ones(4)},
        {"weights_D": np.full(4, np.nan, np.float32)},
        {"bias": np.inf},
        {"least": None},
        {"least": "low"},
        {"weights_D": np.array([{}] * 4, dtype=object)},
    ],
)
def test_a_test_that_cannot_be_used_is_refused(tmp_path: Path, changed) -> None:
    with pytest.raises(ArtifactMismatch):
        read_ultrasound_test(stored(tmp_path / "u.npz", **changed), 4, "enc_1")


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "u.npz"
    path.write_bytes(b"PK no archive")
    with pytest.raises(ArtifactMismatch):
        read_ultrasound_test(path, 4, "enc_1")
