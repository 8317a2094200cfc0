"""The finder of text learns from drawn examples, and what is exported is what was taught."""

import cv2
import numpy as np
import pytest
import torch

from service.errors import InputError
from training.text_detector.synthetic_text import (
    TextLine,
    draw_text,
    find_fonts,
    random_text,
    render_text,
)
from training.text_detector.textnet import (
    TextNet,
    TextNetConfig,
    draw_example,
    export,
    fit,
    text_loss,
)

CONFIG = TextNetConfig(steps=30, batch=4, side_px=64)


def backgrounds() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [cv2.GaussianBlur(rng.integers(0, 90, (96, 96), np.uint8), (0, 0), 2) for _ in range(3)]


def test_a_drawn_patch_tells_where_its_letters_are() -> None:
    rng = np.random.default_rng(3)
    pairs = [draw_example(backgrounds(), CONFIG, rng) for _ in range(30)]
    assert all(patch.shape == (64, 64) and cells.shape == (16, 16) for patch, cells in pairs)
    assert 5 < sum(cells.any() for _, cells in pairs) < 30


def test_letters_change_their_box_and_nothing_else() -> None:
    frame = np.full((80, 300), 20, np.uint8)
    box = draw_text(frame, TextLine("DOE, JANE", "hershey-simplex", 14, 240), 30, 20)
    assert box is not None
    x0, y0, x1, y1 = box
    assert frame[y0:y1, x0:x1].max() > 200
    frame[y0:y1, x0:x1] = 20
    assert (frame == 20).all()
    assert draw_text(frame, TextLine("DOE, JANE", "hershey-simplex", 14, 240), 250, 20) is None
    assert render_text(TextLine("", "hershey-simplex", 14, 240)).shape == (1, 1)


def test_texts_differ_and_are_the_same_for_a_seed() -> None:
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    texts = [random_text(rng) for _ in range(40)]
    assert texts == [random_text(again) for _ in range(40)]
    assert len(set(texts)) > 30


def test_a_perfect_guess_costs_nothing_and_a_wrong_one_does() -> None:
    truth = torch.zeros(2, 1, 8, 8)
    truth[:, :, 2:4, 2:6] = 1
    sure = (truth * 2 - 1) * 30
    assert text_loss(sure, truth).item() == pytest.approx(0, abs=1e-4)
    assert text_loss(-sure, truth).item() > 10


def test_training_lowers_the_loss_and_the_export_computes_the_same(tmp_path) -> None:
    rng = np.random.default_rng(9)
    pairs = [draw_example(backgrounds(), CONFIG, rng) for _ in range(16)]
    frames = torch.from_numpy(np.stack([p[0] for p in pairs]))[:, None] / 255
    truth = torch.from_numpy(np.stack([p[1] for p in pairs]))[:, None].float()
    torch.manual_seed(CONFIG.seed)
    fresh = TextNet(CONFIG)
    taught = fit(backgrounds(), CONFIG)
    with torch.no_grad():
        before, after = text_loss(fresh(frames), truth), text_loss(taught(frames), truth)
    assert after < 0.8 * before
    export(taught, tmp_path / "finder.onnx")
    network = cv2.dnn.readNetFromONNX(str(tmp_path / "finder.onnx"))
    network.setInput(frames[:1].numpy())
    with torch.no_grad():
        np.testing.assert_allclose(network.forward(), taught(frames[:1]).numpy(), atol=1e-4)


def test_a_network_of_before_says_what_is_text_in_frames_as_they_are() -> None:
    frame = np.full((192, 192), 30, np.uint8)
    frame[:, 96:] = 200

    def bright_is_text(frame_11hw: np.ndarray) -> np.ndarray:
        means = cv2.resize(frame_11hw[0, 0], None, fx=1 / 4, fy=1 / 4, interpolation=cv2.INTER_AREA)
        return np.where(means > 0.4, 6, -6).astype(np.float32)[None, None]

    config = TextNetConfig(steps=60, batch=4, untouched=4, side_px=64)
    patch = torch.from_numpy(frame[64:128, 64:128].copy())[None, None] / 255
    taught = fit(backgrounds(), config, frames=[frame], former=bright_is_text)
    alone = fit(backgrounds(), config, frames=[frame])
    with torch.no_grad():
        shown, hidden = taught(patch)[0, 0], alone(patch)[0, 0]
    assert shown[:, 10:].mean() > 2
    assert shown[:, :6].mean() < -2
    assert hidden[:, 10:].mean() < shown[:, 10:].mean() - 2


def test_folders_without_fonts_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="fonts"):
        find_fonts([tmp_path])


def test_weights_of_another_network_and_no_background_are_refused() -> None:
    with pytest.raises(InputError, match="another text network"):
        fit(backgrounds(), CONFIG, start={"stem.weight": torch.ones(3)})
    with pytest.raises(InputError, match="got none"):
        fit([], CONFIG)
