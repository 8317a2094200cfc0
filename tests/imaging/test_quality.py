"""Each fault of a frame is named, and good tissue is not blamed."""

import cv2
import numpy as np
import pytest
from screens import speckle

from service.errors import InputError
from service.imaging.analysis.quality import assess_quality, frozen, is_blank


def reasons(frame: np.ndarray) -> list[str]:
    return [finding.reason for finding in assess_quality(frame)]


@pytest.mark.parametrize("seed", range(5))
def test_tissue_raises_nothing(seed: int) -> None:
    frame = speckle(300, 400, seed)
    assert reasons(frame) == []
    assert reasons(np.stack([frame] * 3, axis=-1)) == []


def test_a_grey_frame_has_the_same_findings_in_one_channel_and_in_three() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (611, 907), np.uint8)
    pale = np.maximum(speckle(1080, 1920), 120).astype(np.uint8)
    burnt = np.clip(speckle(301, 403).astype(int) * 5, 0, 255).astype(np.uint8)
    findings = [assess_quality(frame) for frame in (noise, pale, burnt, speckle(47, 333))]
    assert all(findings)
    for frame, found in zip((noise, pale, burnt, speckle(47, 333)), findings, strict=True):
        assert assess_quality(np.stack([frame] * 3, axis=-1)) == found


def test_a_tint_is_no_colour_flow_and_no_picture() -> None:
    frame = speckle(300, 400).astype(np.float32)
    tinted = np.stack([frame, frame * 0.8, frame * 0.4], axis=-1).astype(np.uint8)
    assert reasons(tinted) == []


def test_empty_small_and_burnt_out_frames_are_named() -> None:
    assert reasons(np.full((200, 300), 3, np.uint8)) == ["blank"]
    assert reasons(speckle(40, 200)) == ["tiny"]
    burnt = np.clip(speckle(300, 400).astype(int) * 5, 0, 255).astype(np.uint8)
    assert "saturated" in reasons(burnt)


def test_a_frame_of_faint_noise_is_blank_and_a_small_bright_scan_is_not() -> None:
    frame = np.random.default_rng(0).integers(0, 40, (1080, 1920), np.uint8)
    assert is_blank(frame)
    frame[400:640, 800:1120] = speckle(240, 320)
    assert not is_blank(frame)
    assert not is_blank(np.stack([frame] * 3, axis=-1))


def test_colour_flow_is_named_and_coloured_lines_are_not() -> None:
    frame = np.stack([speckle(300, 400)] * 3, axis=-1)
    lines = frame.copy()
    cv2.line(lines, (20, 20), (380, 250), (255, 220, 0), 1)
    assert reasons(lines) == []
    cv2.circle(frame, (200, 150), 40, (210, 30, 20), -1)
    cv2.circle(frame, (250, 170), 30, (20, 40, 220), -1)
    assert reasons(frame) == ["colour_doppler"]


def test_a_page_and_a_colourful_picture_are_no_ultrasound() -> None:
    page = np.full((300, 400), 250, np.uint8)
    page[40:260:12, 30:370] = 20
    assert "not_ultrasound" in reasons(page)
    rows, _ = np.mgrid[:300, :400]
    rainbow = np.stack([rows * 180 // 300, np.full_like(rows, 200), np.full_like(rows, 220)], -1)
    picture = cv2.cvtColor(rainbow.astype(np.uint8), cv2.COLOR_HSV2RGB)
    assert "not_ultrasound" in reasons(picture)


def test_the_lattice_of_a_photographed_screen_is_named() -> None:
    frame = speckle(400, 500).astype(np.float32)
    rows, columns = np.mgrid[:400, :500]
    lattice = 1 + 0.5 * np.sin(rows * 1.1 + columns * 1.3) * np.sin(rows * 1.2 - columns * 1.0)
    assert "photo_of_a_screen" in reasons(np.clip(frame * lattice, 0, 255).astype(np.uint8))


def test_a_repeated_still_is_frozen_and_a_noisy_clip_is_not() -> None:
    still = np.stack([speckle(100, 100)] * 6)
    finding = frozen(still)
    assert finding is not None
    assert finding.reason == "frozen"
    assert frozen(np.stack([speckle(100, 100, seed) for seed in range(6)])) is None
    with pytest.raises(InputError, match="two uint8 frames"):
        frozen(still[:1])
