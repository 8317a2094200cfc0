"""Burned-in text is found and masked; tissue is not changed."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from screens import say, speckle

from service.cli.demo import SAMPLES
from service.embedding.onnx_session import open_text_finder
from service.errors import ArtifactMismatch
from service.imaging.analysis.boxes import crop, shifted
from service.imaging.analysis.text import TextBox, TextFinder, part_to_search, without


def masked(finder: TextFinder, frame: np.ndarray) -> np.ndarray:
    inside = np.zeros(frame.shape[:2], bool)
    for item in finder.find(frame):
        x0, y0, x1, y1 = item.box
        inside[y0:y1, x0:x1] = True
    return inside


@pytest.mark.parametrize("size", [0.45, 0.6, 0.9, 1.4])
def test_a_name_over_tissue_is_covered_whole(finder: TextFinder, size: float) -> None:
    frame = speckle(400, 480)
    before = frame.copy()
    say(frame, "DOE, JANE 4711", 40, 200, size=size, grey=250)
    ink = np.abs(frame.astype(int) - before) > 40
    assert masked(finder, frame)[ink].mean() > 0.98


def test_dark_writing_and_writing_in_colour_are_found(finder: TextFinder) -> None:
    bright = np.clip(speckle(300, 400).astype(int) + 110, 0, 255).astype(np.uint8)
    say(bright, "NAME: DOE", 60, 150, grey=0, size=0.8)
    assert finder.find(bright)
    colour = np.stack([speckle(300, 400) // 3] * 3, axis=-1)
    blue = colour[..., 2].copy()
    say(blue, "NAME: DOE", 60, 150, size=0.8, grey=255)
    colour[..., 2] = blue
    assert finder.find(colour)


def test_tissue_without_writing_is_left_alone(finder: TextFinder) -> None:
    assert not any(finder.find(speckle(360, 480, seed)) for seed in range(8))


def test_tissue_between_bright_lines_is_seldom_taken_for_a_line_of_letters(
    finder: TextFinder,
) -> None:
    files = sorted(SAMPLES.rglob("*.png"))
    boxed = [bool(finder.find(np.asarray(Image.open(file).convert("L")))) for file in files]
    assert len(files) == 60
    assert sum(boxed) <= 6


def test_letters_between_bright_lines_are_found(finder: TextFinder) -> None:
    frame = speckle(300, 400)
    for y in range(40, 300, 40):
        cv2.line(frame, (0, y), (399, y + 6), (230,), 3, cv2.LINE_AA)
    before = frame.copy()
    say(frame, "DOE, JANE 4711", 60, 190, size=0.6, grey=220)
    ink = np.abs(frame.astype(int) - before) > 40
    assert masked(finder, frame)[ink].mean() > 0.95


def test_a_large_screen_is_searched_in_its_own_pixels(finder: TextFinder) -> None:
    frame = np.zeros((1200, 1600), np.uint8)
    say(frame, "DOE, JANE", 900, 1000, size=1.6)
    (x0, y0, x1, y1) = finder.find(frame)[0].box
    assert 850 < x0 < 905
    assert 920 < y0 < 975
    assert x1 > 1120
    assert y1 > 1000


def test_black_around_a_name_is_left_out_and_changes_no_box(finder: TextFinder) -> None:
    frame = np.zeros((600, 900), np.uint8)
    say(frame, "DOE, JANE", 500, 400, size=0.8)
    whole = frame.copy()
    whole[[0, 0, -1, -1], [0, -1, 0, -1]] = 3  # nothing of this picture is black at its edge
    assert finder.find(frame) == finder.find(whole) != ()


def test_a_part_of_a_frame_is_searched_as_the_frame_is(finder: TextFinder) -> None:
    frame = np.zeros((600, 900), np.uint8)
    say(frame, "DOE, JANE", 500, 400, size=0.8)
    say(frame, "KIDNEY", 530, 480, size=2.5)
    part = part_to_search([(495, 370, 640, 410), (520, 420, 800, 490)], 900, 600)
    boxes = finder.find(np.ascontiguousarray(crop(frame, part)), frame_side_px=900)
    assert [shifted(item.box, *part[:2]) for item in boxes] == [b.box for b in finder.find(frame)]
    assert len(boxes) >= 2


def test_a_part_of_a_large_frame_is_searched_at_the_size_of_the_frame(finder: TextFinder) -> None:
    frame = np.zeros((2400, 3600), np.uint8)
    say(frame, "DOE, JANE", 2000, 1600, size=3.2)
    part = part_to_search([(1990, 1500, 2520, 1650)], 3600, 2400)
    in_part = outer(finder.find(crop(frame, part), frame_side_px=3600))
    whole = outer(finder.find(frame))
    cell = 30  # px of the frame, of the search at half size
    assert shifted(in_part, *part[:2]) == pytest.approx(whole, abs=cell)


def test_what_was_cut_out_of_a_scan_is_not_searched_because_there_it_finds_tissue(
    finder: TextFinder,
) -> None:
    small = np.zeros((60, 60), np.uint8)
    say(small, "DOE", 8, 36, size=0.5)
    large = cv2.resize(small, (240, 240), interpolation=cv2.INTER_CUBIC)
    assert finder.find(small) == ()
    assert finder.find(large)
    assert finder.find(small, frame_side_px=240)  # a part of a larger frame is searched


def outer(found: tuple[TextBox, ...]) -> tuple[int, ...]:
    """The box around all that was found."""
    corners = np.array([item.box for item in found])
    return (*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist())


def test_filled_boxes_hold_one_grey_and_the_rest_is_untouched(finder: TextFinder) -> None:
    frame = speckle(300, 400)
    say(frame, "DOE, JANE", 60, 150, size=0.9, grey=255)
    boxes = finder.find(frame)
    clean = without(frame, boxes)
    inside = masked(finder, frame)
    assert np.array_equal(clean[~inside], frame[~inside])
    assert clean[inside].max() < 200


def test_frames_of_a_few_pixels_are_searched_without_fuss(finder: TextFinder) -> None:
    assert finder.find(np.zeros((8, 9), np.uint8)) == ()


def test_a_damaged_network_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "finder.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(ArtifactMismatch, match=r"finder\.onnx"):
        open_text_finder(broken)
