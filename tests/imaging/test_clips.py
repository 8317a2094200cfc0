"""Clips give the requested frames, in order and with their times."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from service.errors import ClipTooLong, CorruptImage, ImageTooLarge, InputError, UnsupportedFormat
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import evenly, parse_sampling
from tests.fixtures.make_clips import drawn

CLIPS = Path(__file__).parents[1] / "fixtures" / "clips"
MP4 = (CLIPS / "h264.mp4").read_bytes()
LIMITS = DecodeLimits(max_pixels=10**6, max_clip_frames=50, max_clip_s=20)
DRAWN = [drawn(index) for index in range(12)]


def saved(kind: str, pictures: list[np.ndarray], **options: object) -> bytes:
    images = [Image.fromarray(picture) for picture in pictures]
    buffer = io.BytesIO()
    images[0].save(buffer, kind, save_all=True, append_images=images[1:], **options)
    return buffer.getvalue()


def avi(folder: Path) -> bytes:
    file = folder / "clip.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 25, (96, 64))
    for picture in DRAWN:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return file.read_bytes()


def indexes(data: bytes, sampling: str, limits: DecodeLimits = LIMITS) -> list[int]:
    return [frame.index for frame in read(data, parse_sampling(sampling), limits)]


GIF = saved("GIF", DRAWN, duration=40, loop=0)


@pytest.mark.parametrize(
    ("name", "kind", "tolerance"),
    [("h264.mp4", "mp4", 1.5), ("hevc.mp4", "mp4", 1.5), ("mpeg2.ts", "mpeg", 1.5)],
)
def test_every_frame_of_a_video_comes_in_its_colours(name, kind, tolerance) -> None:
    image = read((CLIPS / name).read_bytes(), parse_sampling("all"), LIMITS)
    actual = list(image)
    assert (image.info.format, image.info.kind, len(actual)) == (kind, "cine", 12)
    assert image.info.frame_rate_hz == pytest.approx(25)
    assert [f.time_s for f in actual] == pytest.approx([i / 25 for i in range(12)])
    for frame, picture in zip(actual, DRAWN, strict=True):
        assert np.abs(frame.rgb.astype(int) - picture).mean() < tolerance


def test_avi_gif_and_tiff_of_several_pictures_are_clips(tmp_path: Path) -> None:
    for data, kind, tolerance in (
        (avi(tmp_path), "avi", 4),
        (GIF, "gif", 2),
        (saved("TIFF", DRAWN), "tiff", 0),
        (saved("WEBP", DRAWN, lossless=True, duration=40), "webp", 0),
        (saved("PNG", DRAWN, duration=40), "png", 0),
    ):
        image = read(data, parse_sampling("all"), LIMITS)
        actual = list(image)
        assert (image.info.format, image.info.kind, len(actual)) == (kind, "cine", 12)
        clock = None if kind in ("tiff", "webp") else pytest.approx(25)
        assert image.info.frame_rate_hz == clock
        for frame, picture in zip(actual, DRAWN, strict=True):
            assert np.abs(frame.rgb.astype(int) - picture).mean() <= tolerance, kind


def test_one_picture_is_a_frame_in_every_format() -> None:
    for kind in ("GIF", "TIFF", "PNG", "WEBP"):
        image = read(saved(kind, DRAWN[:1]), parse_sampling("uniform:4"), LIMITS)
        assert (image.info.kind, image.info.frame_rate_hz, len(list(image))) == (
            "frame",
            None,
            1,
        )


@pytest.mark.parametrize("data", [MP4, GIF], ids=["mp4", "gif"])
def test_sampling_chooses_the_frames_that_it_names(data: bytes) -> None:
    assert indexes(data, "all") == list(range(12))
    assert indexes(data, "uniform:4") == [1, 4, 7, 10]
    assert indexes(data, "uniform:40") == list(range(12))
    assert indexes(data, "fps:12.5") == [0, 2, 4, 6, 8, 10]
    assert indexes(data, "fps:5") == [0, 5, 10]


def test_the_most_different_frames_are_found_among_equal_ones() -> None:
    still, other, third = DRAWN[0], np.full_like(DRAWN[0], 200), np.zeros_like(DRAWN[0])
    data = saved("TIFF", [still, still, other, still, still, third, still])
    assert indexes(data, "different:3") == [0, 2, 5]
    assert indexes(data, "different:5") == [0, 2, 5]


def test_evenly_takes_middles_without_repeating() -> None:
    assert sorted(evenly(10, 5)) == [1, 3, 5, 7, 9]
    assert sorted(evenly(3, 5)) == [0, 1, 2]
    assert sorted(evenly(100_000, 1)) == [50_000]


@pytest.mark.parametrize("text", ["", "none", "uniform", "uniform:0", "fps:0", "fps:-1", "all:3"])
def test_a_sampling_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="uniform:N"):
        parse_sampling(text)


def test_clips_over_the_limits_are_named_before_they_are_decoded() -> None:
    for data in (MP4, GIF, saved("TIFF", DRAWN)):
        with pytest.raises(ClipTooLong, match="at most 11 frames"):
            indexes(data, "uniform:2", DecodeLimits(max_clip_frames=11))
        with pytest.raises(ImageTooLarge, match="96 x 64"):
            indexes(data, "uniform:2", DecodeLimits(max_pixels=6000))
    for data in (MP4, GIF):
        with pytest.raises(ClipTooLong, match=r"at most 0\.3 s"):
            indexes(data, "uniform:2", DecodeLimits(max_clip_s=0.3))


def test_a_gif_of_a_hundred_thousand_frames_is_left_early() -> None:
    one = saved("GIF", [np.zeros((8, 8), np.uint8)])
    body = one[one.index(b"\x2c") : -1]
    control = b"\x21\xf9\x04\x00\x01\x00\x00\x00"
    data = one[: one.index(b"\x2c")] + (control + body) * 100_000 + b"\x3b"
    with pytest.raises(ClipTooLong):
        indexes(data, "uniform:2")


def test_a_tiff_of_pages_of_different_sizes_is_refused() -> None:
    with pytest.raises(CorruptImage, match="one size"):
        indexes(saved("TIFF", [DRAWN[0], DRAWN[0][:32]]), "all")


@pytest.mark.parametrize(
    "data", [MP4[:700], MP4[:-900], GIF[:300], b"\0\0\0\x18ftypmp42" + bytes(100)]
)
def test_a_clip_that_was_cut_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptImage):
        indexes(data, "all")


def test_a_play_list_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(MP4)
    for text in (f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/clip.mp4\n", f"ffconcat\nfile {tmp_path}/clip"):
        with pytest.raises(UnsupportedFormat):
            indexes(text.encode(), "all")
