"""When frames follow each other by the tags of DICOM, also where these do not fit."""

from typing import Any

import dicom_files as made
import numpy as np
import pytest
from pydicom.tag import Tag

from service.imaging.formats.frames import ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling

SIX = np.stack([np.full((16, 24), 20 * t, np.uint8) for t in range(6)])
POINTER = "FrameIncrementPointer"


def timed(**tags: Any) -> tuple[ImageInfo, list[float | None]]:
    """Six frames: their info and their times in milliseconds."""
    image = read(made.dicom(SIX, **tags), Sampling(), DecodeLimits())
    times = [frame.time_s for frame in image]
    return image.info, [None if time is None else round(1000 * time) for time in times]


def facts(info: ImageInfo) -> list[tuple[str, float | None, float | None]]:
    return [(c.fact, c.declared, c.used) for c in info.corrections]


def test_a_vector_of_the_right_length_gives_every_time() -> None:
    info, times = timed(FrameTimeVector=[0, 30, 50, 30, 50, 40])
    assert times == [0, 30, 80, 110, 160, 200]
    assert (info.frame_rate_hz, info.corrections) == (25, ())


@pytest.mark.parametrize("first", [40, -40, 1000])
def test_what_stands_before_the_first_frame_does_not_count(first: float) -> None:
    info, times = timed(FrameTimeVector=[first, 40, 38, 40, 42, 40])
    assert times == [0, 40, 78, 118, 160, 200]
    assert info.corrections == ()


def test_a_vector_that_is_too_short_gives_way_to_the_rate_and_is_told() -> None:
    info, times = timed(FrameTimeVector=[0, 40, 40], CineRate=20)
    assert times == [0, 50, 100, 150, 200, 250]
    assert facts(info) == [("frame_times", 3, None)]
    info, times = timed(FrameTimeVector=[0, 40, 40])  # its own steps are the only rate
    assert times == [0, 40, 80, 120, 160, 200]
    assert facts(info) == [("frame_times", 3, None)]


def test_a_vector_without_the_first_zero_and_a_longer_one_are_read_and_told() -> None:
    info, times = timed(FrameTimeVector=[30, 50, 30, 50, 40])
    assert times == [0, 30, 80, 110, 160, 200]
    assert facts(info) == [("frame_times", 5, 6)]
    info, times = timed(FrameTimeVector=[0, 30, 50, 30, 50, 40, 70, 70])
    assert times == [0, 30, 80, 110, 160, 200]
    assert facts(info) == [("frame_times", 8, 6)]


@pytest.mark.parametrize("start", [0, 500])
def test_times_written_as_steps_are_read_as_times(start: float) -> None:
    info, times = timed(FrameTimeVector=[start + step for step in (0, 40, 81, 119, 160, 200)])
    assert times == [0, 40, 81, 119, 160, 200]
    assert (info.frame_rate_hz, facts(info)) == (25, [("frame_times", 6, 6)])


def test_steps_that_grow_and_fit_the_rate_are_steps() -> None:
    info, times = timed(FrameTimeVector=[39, 39.5, 40, 40.5, 41, 41.5], FrameTime=40)
    assert times == [0, 40, 80, 120, 161, 202]
    assert info.corrections == ()


@pytest.mark.parametrize(
    "vector", [[0] * 6, [0, 40, -40, 40, 40, 40], [0, 1e9, 1e9, 1e9, 1e9, 1e9], [0]]
)
def test_a_vector_that_no_clip_can_have_is_not_believed(vector: list[float]) -> None:
    info, times = timed(FrameTimeVector=vector, FrameTime=40)
    assert times == [0, 40, 80, 120, 160, 200]
    assert facts(info) == [("frame_times", len(vector), None)]


@pytest.mark.parametrize(
    ("frame_time", "declared"), [(0, None), (-40, None), (0.05, 20_000), (50_000, 0.02)]
)
def test_an_impossible_frame_time_gives_way_to_the_cine_rate(
    frame_time: float, declared: float | None
) -> None:
    info, times = timed(FrameTime=frame_time, CineRate=20)
    assert times[-1] == 250
    assert facts(info) == [("frame_rate", pytest.approx(declared), 20)]
    info, times = timed(FrameTime=frame_time)
    assert (info.frame_rate_hz, times[-1]) == (None, None)
    assert facts(info) == [("frame_rate", pytest.approx(declared), None)]


def test_a_cine_rate_that_contradicts_the_frame_time_is_told() -> None:
    info, times = timed(FrameTime=50, CineRate=30, RecommendedDisplayFrameRate=60)
    assert times[-1] == 250
    assert facts(info) == [("frame_rate", 30, 20)]
    assert facts(timed(FrameTime=33.333, CineRate=30)[0]) == []
    assert facts(timed(FrameTime=50, CineRate=0)[0]) == []


def test_the_pointer_says_which_of_two_timings_counts() -> None:
    both = {"FrameTime": 50, "FrameTimeVector": [0, 25, 25, 25, 25, 25]}
    info, times = timed(**both)
    assert (times[-1], facts(info)) == (125, [("frame_rate", 20, 40)])
    info, times = timed(**both, **{POINTER: Tag("FrameTime")})
    assert (times[-1], facts(info)) == (250, [("frame_times", 6, None)])
    info, times = timed(**both, **{POINTER: Tag("FrameTimeVector")})
    assert (times[-1], facts(info)) == (125, [("frame_rate", 20, 40)])


def test_a_still_has_no_timing_and_nothing_to_correct() -> None:
    data = made.dicom(SIX[:1], FrameTime=0, FrameTimeVector=[0, 40])
    info = read(data, Sampling(), DecodeLimits()).info
    assert (info.frame_rate_hz, info.corrections) == (None, ())
