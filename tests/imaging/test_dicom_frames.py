"""The frames of a DICOM file are counted in its pixel data, whatever its tags say."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.errors import ClipTooLong, CorruptImage
from service.imaging.formats.frames import Correction, DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from tests.fixtures.make_clips import drawn
from tests.imaging import dicom_files as made

CLIPS = Path(__file__).parents[1] / "fixtures" / "clips"
LIMITS = DecodeLimits(max_pixels=10**7, max_decode_bytes=10**8, max_clip_frames=40)
GREY_THW = np.stack([drawn(index)[..., 1] for index in range(4)])
RGB_THW3 = np.stack([drawn(index) for index in range(4)])
PIXEL_DATA = b"\xe0\x7f\x10\x00"
CODECS = (made.RLE, made.SV1, made.LS, made.J2K_LOSSLESS, made.HTJ2K_LOSSLESS, made.JXL_LOSSLESS)
SYNTAXES = (made.IMPLICIT, made.EXPLICIT, made.DEFLATED, made.BIG, *CODECS)


def opened(data: bytes, frames: str = "all") -> tuple[ImageInfo, list[DecodedFrame]]:
    image = read(data, parse_sampling(frames), LIMITS)
    return image.info, list(image.frames)


def check(data: bytes, expected: np.ndarray, declared: int | str | None = "right") -> None:
    """All frames are there, and the count is corrected unless it was right."""
    info, frames = opened(data)
    assert [frame.index for frame in frames] == list(range(len(expected)))
    assert info.frames_in_file == len(expected)
    assert info.kind == ("cine" if len(expected) > 1 else "frame")
    for frame, pixels in zip(frames, expected, strict=True):
        assert np.array_equal(frame.rgb if pixels.ndim == 3 else frame.grey, pixels)
    counts = [found for found in info.corrections if found.fact == "frame_count"]
    if declared == "right":
        assert counts == []
    else:
        assert counts == [Correction("frame_count", declared, len(expected))]


def item_of(frames: np.ndarray, **tags: object) -> made.Dataset:
    photometric = "RGB" if frames.ndim == 4 else "MONOCHROME2"
    return made.dataset(frames, photometric=photometric, bits=8, **tags)


@pytest.mark.parametrize("declared", [None, 0, 2, 9, 100_000, -1])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_wrong_number_of_frames_is_corrected(syntax: str, declared: int | None) -> None:
    check(made.dicom(GREY_THW, syntax, NumberOfFrames=declared), GREY_THW, declared)


def test_every_way_to_choose_frames_goes_by_the_true_number() -> None:
    data = made.dicom(GREY_THW, made.LS, NumberOfFrames=2)
    assert [frame.index for frame in opened(data, "uniform:2")[1]] == [1, 3]


def test_one_frame_without_a_number_is_no_lie() -> None:
    for syntax in SYNTAXES:
        check(made.dicom(GREY_THW[:1], syntax, NumberOfFrames=None), GREY_THW[:1])


def test_a_still_that_says_zero_frames_is_read() -> None:
    check(made.dicom(GREY_THW[:1], NumberOfFrames=0), GREY_THW[:1], 0)


TABLES: dict[str, Callable[[list[int]], bytes]] = {
    "empty": lambda starts: b"",
    "right": lambda starts: struct.pack(f"<{len(starts)}I", *starts),
    "one zero": lambda starts: struct.pack("<I", 0),
    "all zero": lambda starts: bytes(4 * len(starts)),
    "too few": lambda starts: struct.pack("<2I", 0, starts[-1]),
    "beyond the end": lambda starts: struct.pack("<3I", 0, 2**31, 2**32 - 1),
    "no multiple of four": lambda starts: b"\0\0\0\0\1\0",
}


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("syntax", CODECS)
def test_offset_tables_are_not_needed(syntax: str, table: str, parts: int) -> None:
    fragments, starts, at = [], [], 0
    for frame in GREY_THW:
        packed = made.even(made.compressed(frame, syntax))
        starts.append(at)
        for part in made.split(packed, parts) if parts > 1 else [packed]:
            fragments.append(part)
            at += 8 + len(part)
    for declared in (4, 1):
        item = item_of(GREY_THW, NumberOfFrames=declared)
        data = made.encapsulated(item, syntax, fragments, table=TABLES[table](starts))
        check(data, GREY_THW, "right" if declared == 4 else 1)


@pytest.mark.parametrize("offsets", [[0, 8, 16, 24], [0, 0, 0, 0], [5, 2**40, 1, 0], [0]])
def test_extended_offset_tables_are_not_believed(offsets: list[int]) -> None:
    item = item_of(GREY_THW)
    item.ExtendedOffsetTable = struct.pack(f"<{len(offsets)}Q", *offsets)
    item.ExtendedOffsetTableLengths = struct.pack(f"<{len(offsets)}Q", *offsets)
    parts = [made.even(made.compressed(frame, made.LS)) for frame in GREY_THW]
    check(made.encapsulated(item, made.LS, parts), GREY_THW)


def test_frames_without_any_offset_table_item_are_read() -> None:
    parts = [made.even(made.compressed(frame, made.LS)) for frame in GREY_THW]
    data = made.encapsulated(item_of(GREY_THW), made.LS, parts[1:], table=parts[0])
    check(data, GREY_THW)


@pytest.mark.parametrize("syntax", [made.LS, made.J2K_LOSSLESS])
def test_several_codestreams_in_one_item_are_several_frames(syntax: str) -> None:
    joined = b"".join(made.even(made.compressed(frame, syntax)) for frame in GREY_THW)
    check(made.encapsulated(item_of(GREY_THW), syntax, [joined]), GREY_THW)


@pytest.mark.parametrize("syntax", CODECS)
def test_a_recording_cut_off_gives_its_whole_frames(syntax: str) -> None:
    parts = [made.even(made.compressed(frame, syntax)) for frame in GREY_THW]
    data = made.encapsulated(item_of(GREY_THW), syntax, parts)
    end = len(data) - 8  # of the last frame; the end of the sequence follows
    last = end - len(parts[-1])
    check(data[:end], GREY_THW)
    check(data[: end + 3], GREY_THW)
    for cut in (end - 2, last + len(parts[-1]) // 2, last + 1, last, last - 3, last - 8):
        check(data[:cut], GREY_THW[:3], 4)


@pytest.mark.parametrize("syntax", [made.LS, made.J2K_LOSSLESS])
def test_a_frame_of_several_fragments_cut_between_them_is_left_out(syntax: str) -> None:
    packed = [made.split(made.compressed(frame, syntax), 3) for frame in GREY_THW]
    flat = [part for parts in packed for part in parts]
    data = made.encapsulated(item_of(GREY_THW), syntax, flat)
    without_last = len(data) - 8 - 8 - len(flat[-1])
    for cut in (without_last, without_last + 8, without_last + 10):
        check(data[:cut], GREY_THW[:3], 4)


def test_zeros_where_a_recorder_stopped_are_no_frames() -> None:
    parts = [made.even(made.compressed(frame, made.LS)) for frame in GREY_THW]
    data = made.encapsulated(item_of(GREY_THW, NumberOfFrames=50), made.LS, parts)
    check(data[:-8] + bytes(5000), GREY_THW, 50)


def test_the_last_jpeg_without_its_end_is_left_out() -> None:
    parts = [made.even(made.compressed(frame, made.SV1)) for frame in GREY_THW]
    parts[-1] = made.even(parts[-1][: len(parts[-1]) // 2])
    check(made.encapsulated(item_of(GREY_THW), made.SV1, parts), GREY_THW[:3], 4)


@pytest.mark.parametrize("syntax", [made.JPEG, made.SV1])
def test_a_jpeg_cut_off_in_the_middle_of_a_file_is_refused(syntax: str) -> None:
    parts = [made.even(made.compressed(frame, syntax)) for frame in GREY_THW]
    parts[1] = made.even(parts[1][: len(parts[1]) // 2])
    data = made.encapsulated(item_of(GREY_THW), syntax, parts)
    with pytest.raises(CorruptImage, match="cut off"):
        opened(data)
    assert len(opened(data, "uniform:1")[1]) == 1


@pytest.mark.parametrize("syntax", [*CODECS, made.JPEG])
def test_a_still_that_is_cut_off_is_refused(syntax: str) -> None:
    packed = made.even(made.compressed(GREY_THW[0], syntax))
    whole = made.encapsulated(item_of(GREY_THW[:1]), syntax, [packed])
    half = made.encapsulated(item_of(GREY_THW[:1]), syntax, [made.even(packed[: len(packed) // 2])])
    for data in (whole[: -8 - len(packed) // 2], half):
        with pytest.raises(CorruptImage):
            opened(data)


@pytest.mark.parametrize("header", [[2, 64, 64], [1, 10**6], [1, 0], [15, *range(64, 79)], [0]])
def test_a_wrong_header_of_run_lengths_is_refused(header: list[int]) -> None:
    packed = made.compressed(GREY_THW[0], made.RLE)
    broken = struct.pack(f"<{len(header)}I", *header).ljust(64, b"\0") + packed[64:]
    for part in (broken, made.even(broken[: 4 * len(header)])):
        data = made.encapsulated(item_of(GREY_THW[:1]), made.RLE, [part])
        with pytest.raises(CorruptImage):
            opened(data)


@pytest.mark.parametrize("syntax", [made.IMPLICIT, made.EXPLICIT, made.BIG])
@pytest.mark.parametrize("frames", [GREY_THW, RGB_THW3], ids=["grey", "rgb"])
def test_an_uncompressed_recording_cut_off_gives_its_whole_frames(syntax, frames) -> None:
    data = made.dicom(frames, syntax)
    size = frames[0].nbytes
    check(data[: -size // 2], frames[:3], 4)
    check(data[:-size], frames[:3], 4)
    check(data[: -3 * size], frames[:1], 4)
    for cut in (-3 * size - 1, -4 * size + 9):
        with pytest.raises(CorruptImage):
            opened(data[:cut])


def test_a_deflated_recording_cut_off_gives_its_whole_frames() -> None:
    noise_THW = np.random.default_rng(0).integers(0, 256, (4, 64, 96), dtype=np.uint8)
    data = made.dicom(noise_THW, made.DEFLATED)
    check(data[: len(data) * 3 // 5], noise_THW[:2], 4)


@pytest.mark.parametrize("padding", [1, 2, 100, 6144, 8000, 3 * 6144])
@pytest.mark.parametrize("declared", [4, 9])
def test_padding_is_no_frame(padding: int, declared: int) -> None:
    item = item_of(GREY_THW, NumberOfFrames=declared)
    is_more = declared > 4 and padding >= 6144
    for fill in (b"\0", b"\xff"):
        item.PixelData = GREY_THW.tobytes() + fill * (padding + padding % 2)
        item["PixelData"].VR = "OB"
        if is_more:  # blank frames that the file declares cannot be told from padding
            assert opened(made.written(item, made.EXPLICIT))[0].frames_in_file > 4
        else:
            expected = "right" if declared == 4 else declared
            check(made.written(item, made.EXPLICIT), GREY_THW, expected)


def test_blank_frames_within_a_cine_stay() -> None:
    frames = GREY_THW.copy()
    frames[[0, 2]] = 0
    check(made.dicom(frames, NumberOfFrames=None), frames, None)


def half_sampled(frames: np.ndarray) -> bytes:
    y, chroma = frames, np.full_like(frames, 128)
    pairs = np.stack([y[:, :, 0::2], y[:, :, 1::2], chroma[:, :, 0::2], chroma[:, :, 0::2]], -1)
    return pairs.tobytes()


def full_sampled(frames: np.ndarray) -> bytes:
    chroma = np.full_like(frames, 128)
    return np.stack([frames, chroma, chroma], -1).tobytes()


@pytest.mark.parametrize("declared", [None, 0, 1, 2, 3, 4, 6, 30])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("stored", [half_sampled, full_sampled])
def test_both_ways_to_store_half_sampled_colours_are_counted(stored, count, declared) -> None:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:64, :96]
    smooth = 60 + 60 * np.sin(x / 9) * np.cos(y / 11)
    grey = np.stack([smooth + rng.normal(0, 4, smooth.shape) + 20 * i for i in range(count)])
    frames = np.clip(grey, 0, 255).astype(np.uint8)
    item = made.dataset(
        frames[..., None].repeat(3, -1), photometric="YBR_FULL_422", bits=8, NumberOfFrames=declared
    )
    item.PixelData = stored(frames)
    item["PixelData"].VR = "OB"
    info, shown = opened(made.written(item, made.EXPLICIT))
    assert info.frames_in_file == count
    assert np.abs(np.stack([f.grey for f in shown]).astype(int) - frames).max() <= 1


def test_compressed_pixels_under_an_uncompressed_syntax_are_refused() -> None:
    frames = np.zeros((60, 16, 16), np.uint8)
    frames[:] = np.arange(16)
    parts = [made.even(made.compressed(frame, made.LS)) for frame in frames]
    data = made.encapsulated(item_of(frames), made.EXPLICIT, parts)
    with pytest.raises(CorruptImage, match="compressed"):
        opened(data)


def test_frames_over_the_limit_are_counted_and_refused_before_they_are_decoded() -> None:
    frames = np.zeros((41, 8, 8), np.uint8)
    frames[:, 0, 0] = 1
    for syntax in (made.EXPLICIT, made.RLE):
        with pytest.raises(ClipTooLong, match="at most 40 frames"):
            opened(made.dicom(frames, syntax, NumberOfFrames=1))


@pytest.mark.parametrize(
    ("tags", "rate", "times"),
    [
        ({"FrameTime": 50}, 20, [0, 0.05, 0.1]),
        ({"CineRate": 10}, 10, [0, 0.1, 0.2]),
        ({"FrameTime": 50, "CineRate": 30}, 20, [0, 0.05, 0.1]),
        ({"FrameTimeVector": [0, *[10, 30] * 5, 10]}, None, [0, 0.01, 0.04]),
    ],
)
@pytest.mark.parametrize(("name", "syntax"), [("h264.mp4", made.H264), ("mpeg2.ts", made.MPEG2)])
def test_the_times_of_a_video_come_from_the_tags(name, syntax, tags, rate, times) -> None:
    data = made.stream((CLIPS / name).read_bytes(), syntax, **tags)
    info, frames = opened(data)
    assert [frame.time_s for frame in frames[:3]] == pytest.approx(times)
    assert rate is None or info.frame_rate_hz == pytest.approx(rate)
    assert ("frame_rate", info.frame_rate_hz) in [(c.fact, c.used) for c in info.corrections]


def test_frames_per_second_of_a_video_go_by_the_tags() -> None:
    data = made.stream((CLIPS / "h264.mp4").read_bytes(), made.H264, FrameTime=250)
    assert [frame.index for frame in opened(data, "fps:2")[1]] == [0, 2, 4, 6, 8, 10]


def test_a_video_whose_stream_and_tags_agree_needs_no_correction() -> None:
    stream = (CLIPS / "h264.mp4").read_bytes()
    assert opened(made.stream(stream, made.H264, FrameTime=40))[0].corrections == ()
    assert opened(made.stream(stream, made.H264))[0].corrections == ()


def test_the_frames_of_a_video_are_counted() -> None:
    item = item_of(np.zeros((1, 64, 96, 3), np.uint8), NumberOfFrames=300, FrameTime=40)
    stream = made.even((CLIPS / "mpeg2.ts").read_bytes())
    data = made.encapsulated(item, made.MPEG2, made.split(stream, 3), table=b"\0\0\0\0\x10\0\0\0")
    info, frames = opened(data)
    assert len(frames) == 12
    assert info.corrections == (Correction("frame_count", 300, 12),)


def test_a_clip_longer_than_allowed_by_its_tags_is_refused() -> None:
    limits = DecodeLimits(max_clip_s=60)
    video = made.stream((CLIPS / "h264.mp4").read_bytes(), made.H264, FrameTime=9000)
    for data in (video, made.dicom(np.repeat(GREY_THW, 3, 0), FrameTime=9000)):
        with pytest.raises(ClipTooLong):
            read(data, parse_sampling("all"), limits)
