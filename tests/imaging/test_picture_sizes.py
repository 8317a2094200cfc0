"""Smaller pictures for measuring: the same greys as plain means, in less time."""

import cv2
import numpy as np
import pytest
from screens import speckle

from service.imaging.analysis.pixels import box_of, halved, shrunk, small_grey
from service.imaging.analysis.text import WORK_SIDE_PX, at_work_size


@pytest.mark.parametrize("sides", [(1080, 1920), (1283, 700), (1077, 1331), (300, 400)])
def test_a_small_grey_picture_has_the_means_of_the_areas(sides: tuple[int, int]) -> None:
    frame = speckle(*sides)
    scale = 256 / max(sides)
    apart = np.abs(small_grey(frame, scale).astype(int) - shrunk(frame, scale))
    assert apart.max() <= 1
    assert np.count_nonzero(apart) <= 3  # rounded to the other side


def test_sums_of_a_picture_of_many_bright_pixels_do_not_overflow() -> None:
    assert np.all(small_grey(np.full((2200, 4096), 255, np.uint8), 1 / 16) == 255)


def test_a_picture_is_halved_as_often_as_it_stays_large_enough() -> None:
    frame = np.zeros((1000, 1601), np.uint8)
    frame[:, 1::2] = 100
    half = halved(frame, from_px=900, at_least=0.3)
    assert half.shape == (500, 800)  # a quarter would be too small
    assert np.all(half == 50)
    assert halved(frame, from_px=900, at_least=0.2).shape == (500, 800)  # now below 900 px
    assert halved(frame, from_px=2000, at_least=0.2) is frame
    assert halved(frame[:12], from_px=900, at_least=0.01).shape[0] == 12  # too few rows for half


def test_a_frame_is_searched_for_text_at_its_own_size_or_at_most_960_px() -> None:
    small = np.zeros((700, WORK_SIDE_PX), np.uint8)
    assert at_work_size(small) is small
    for height, width in ((1080, 1920), (887, 1271), (4000, 3001), (20, 3000)):
        work = at_work_size(np.zeros((height, width, 3), np.uint8))
        assert max(work.shape[:2]) == WORK_SIDE_PX
        assert all(side % 2 == 0 for side in work.shape[:2])
        assert work.shape[1] / work.shape[0] == pytest.approx(width / height, rel=0.02) or (
            work.shape[0] == 8
        )


def test_no_line_is_passed_over_at_a_third_of_the_size() -> None:
    frame = np.zeros((3000, 2900), np.uint8)
    frame[1499:1502] = 255
    assert at_work_size(frame).max() >= 100


def test_the_box_of_a_mark_has_a_margin_inside_the_picture() -> None:
    mask = np.zeros((100, 200), np.uint8)
    assert box_of(mask, 9) == (0, 0, 0, 0)
    cv2.rectangle(mask, (3, 50), (20, 60), 1, -1)
    assert box_of(mask, 9) == (0, 41, 30, 70)
