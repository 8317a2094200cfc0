"""Frames of a video that lost data are refused, and frames that are whole are shown."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from service.errors import CorruptImage
from service.imaging.formats.frames import DecodedFrame
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from service.imaging.video.capture import packets
from tests.fixtures.make_clips import drawn
from tests.imaging import dicom_files as made

CLIPS = Path(__file__).parents[1] / "fixtures" / "clips"
FRAMES = 12


def frames(data: bytes, sampling: str = "all") -> list[DecodedFrame]:
    return list(read(data, parse_sampling(sampling), DecodeLimits(max_clip_frames=50)))


def speckled(index: int) -> np.ndarray:
    """Noise that moves, so that each frame has data of its own."""
    noise = np.random.default_rng(0).integers(0, 200, (64, 96 + FRAMES), dtype=np.uint8)
    return np.repeat(noise[:, index : index + 96, None], 3, axis=-1)


def written(folder: Path, code: str, suffix: str) -> bytes:
    file = folder / f"clip{suffix}"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*code), 25, (96, 64))
    for index in range(FRAMES):
        writer.write(speckled(index))
    writer.release()
    return file.read_bytes()


def damaged(data: bytes, at: int, size: int = 64) -> bytes:
    return data[:at] + bytes(size) + data[at + size :]


def jpeg_starts(data: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith(b"\xff\xd8\xff", at)]


@pytest.mark.parametrize(("code", "suffix"), [("MJPG", ".avi"), ("MPG2", ".mpg")])
def test_a_clip_with_a_frame_that_lost_data_is_refused(
    tmp_path: Path, code: str, suffix: str
) -> None:
    data = written(tmp_path, code, suffix)
    assert len(frames(data)) == FRAMES
    # Some versions of FFmpeg end the clip at such a frame, and then frames are missing.
    with pytest.raises(CorruptImage, match=f"lost data|expected {FRAMES} frames"):
        frames(damaged(data, len(data) // 3))


def test_a_stream_of_h264_that_lost_data_is_refused() -> None:
    data = (CLIPS / "h264.mp4").read_bytes()
    with pytest.raises(CorruptImage, match="lost data"):
        frames(damaged(data, data.index(b"mdat") + 800, 8))


def test_frames_of_their_own_beside_a_damaged_one_are_shown(tmp_path: Path) -> None:
    data = written(tmp_path, "MJPG", ".avi")
    whole = frames(data)
    starts = jpeg_starts(data)
    assert len(starts) == FRAMES
    lost = damaged(data, (starts[5] + starts[6]) // 2)
    with pytest.raises(CorruptImage, match="frame 5 of the video lost data"):
        frames(lost)
    (shown,) = frames(lost, "uniform:1")
    assert shown.index == 6
    np.testing.assert_array_equal(shown.pixels, whole[6].pixels)


@pytest.mark.parametrize("code", ["MPG1", "MPG2"])
@pytest.mark.parametrize("share", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_a_recording_cut_off_within_a_frame_gives_the_frames_before(
    tmp_path: Path, code: str, share: float
) -> None:
    data = written(tmp_path, code, ".mpg")
    whole, left = frames(data), frames(data[: int(share * len(data))])
    assert 0 < len(left) < len(whole)
    for shown, expected in zip(left, whole, strict=False):
        np.testing.assert_array_equal(shown.pixels, expected.pixels)


@pytest.mark.parametrize("is_dicom", [False, True], ids=["stream", "DICOM"])
def test_a_stream_of_hevc_that_is_cut_off_within_a_frame_shows_no_part_of_it(
    is_dicom: bool,
) -> None:
    pictures = list(packets((CLIPS / "hevc.mp4").read_bytes()))
    stream = b"".join(pictures)

    def shown(part: bytes) -> list[np.ndarray]:
        data = made.stream(part, made.HEVC) if is_dicom else part
        return [frame.pixels for frame in frames(data)]

    whole = shown(stream)
    assert len(whole) == FRAMES
    for count in (1, 4, 6, 9, 11):
        written = b"".join(pictures[:count]) + pictures[count][: len(pictures[count]) * 2 // 3]
        left = shown(written)
        assert 0 < len(left) < FRAMES
        assert all(any(np.array_equal(one, other) for other in whole) for one in left)


def test_a_whole_clip_is_never_taken_for_a_damaged_one() -> None:
    for name in ("h264.mp4", "hevc.mp4", "variable_rate.mp4", "fragmented.mp4", "vp9.webm"):
        shown = frames((CLIPS / name).read_bytes())
        assert np.abs(shown[0].rgb.astype(int) - drawn(0)).mean() < 30
