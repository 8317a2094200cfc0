"""Video gives the frames that play, whatever its container says about them."""

import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.errors import ClipTooLong, CorruptImage, UnsupportedFormat
from service.imaging.formats.frames import Correction, DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from service.imaging.sandbox.decoder_pool import DecoderPool
from tests.fixtures.make_clips import REFUSED, VARIABLE_MS, drawn

CLIPS = Path(__file__).parents[1] / "fixtures" / "clips"
H264 = (CLIPS / "h264.mp4").read_bytes()
MOOV_FIRST = (CLIPS / "moov_first.mp4").read_bytes()
LIMITS = DecodeLimits(max_pixels=10**6, max_clip_frames=50, max_clip_s=20)
AVI_LENGTH = 40  # of dwLength in a chunk strh, from its type


def decoded(data: bytes, sampling: str = "all") -> tuple[ImageInfo, list[DecodedFrame]]:
    image = read(data, parse_sampling(sampling), LIMITS)
    return image.info, list(image)


def difference(frame: DecodedFrame, picture: np.ndarray) -> float:
    return float(np.abs(frame.rgb.astype(int) - picture).mean())


def patched(data: bytes, at: int, *fields: int, layout: str = ">I") -> bytes:
    content = b"".join(struct.pack(layout, field) for field in fields)
    return data[:at] + content + data[at + len(content) :]


def avi(folder: Path, code: str = "MJPG", shown: list[np.ndarray] | None = None) -> bytes:
    file = folder / "clip.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*code), 25, (96, 64))
    for picture in shown or [drawn(index) for index in range(12)]:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return file.read_bytes()


def raw_avi(code: bytes, bits: int, pictures: list[bytes], height: int = 64) -> bytes:
    """A plain AVI 1.0 of uncompressed pictures of 96 px, with its index left out."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    size = len(pictures[0])
    main = struct.pack("<10I16x", 40_000, 0, 0, 0, len(pictures), 0, 1, size, 96, abs(height))
    stream = b"vids" + code.ljust(4, b"\0")
    stream += struct.pack("<10I4H", 0, 0, 0, 1, 25, 0, len(pictures), size, 0, 0, 0, 0, 96, 64)
    layout = struct.pack(
        "<IiiHH4sIiiII", 40, 96, height, 1, bits, code.ljust(4, b"\0"), size, 0, 0, 0, 0
    )
    headers = b"hdrl" + chunk(b"avih", main)
    headers += chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", layout))
    movie = b"movi" + b"".join(chunk(b"00db", picture) for picture in pictures)
    return chunk(b"RIFF", b"AVI " + chunk(b"LIST", headers) + chunk(b"LIST", movie))


def edited(start: int, duration_ms: int) -> bytes:
    """The clip with another edit list; its media has 512 ticks a frame and starts at 1024."""
    at = H264.index(b"elst") + 8
    return patched(H264, at + 4, duration_ms, start)


@pytest.mark.parametrize(
    ("first", "last"), [(0, 7), (4, 12), (3, 9)], ids=["end cut", "start cut", "both cut"]
)
def test_an_edit_list_leaves_the_frames_that_play(first: int, last: int) -> None:
    data = edited(1024 + 512 * first, 40 * (last - first))
    info, frames = decoded(data)
    assert (info.frames_in_file, len(frames)) == (last - first, last - first)
    assert info.corrections == ()
    for frame, index in zip(frames, range(first, last), strict=True):
        assert difference(frame, drawn(index)) < 1.5
    middle = decoded(data, "uniform:1")[1][0]
    assert difference(middle, drawn((first + last) // 2)) < 1.5
    assert middle.time_s == pytest.approx(0.04 * ((last - first) // 2))


def test_all_fragments_count_although_the_first_table_tells_fewer_frames() -> None:
    info, frames = decoded((CLIPS / "fragmented.mp4").read_bytes())
    assert (info.frames_in_file, len(frames)) == (12, 12)
    assert info.corrections == (Correction("frame_count", 4, 12),)
    assert [f.index for f in decoded((CLIPS / "fragmented.mp4").read_bytes(), "uniform:4")[1]] == [
        1,
        4,
        7,
        10,
    ]


@pytest.mark.parametrize("declared", [0, 5, 4000, 2**31 - 1])
@pytest.mark.parametrize("code", ["MJPG", "XVID"])
def test_the_frames_of_an_avi_are_counted(tmp_path: Path, code: str, declared: int) -> None:
    whole = avi(tmp_path, code)
    data = patched(whole, whole.index(b"strh") + AVI_LENGTH, declared, layout="<I")
    info, frames = decoded(data)
    assert (info.frames_in_file, len(frames)) == (12, 12)
    assert info.corrections == (Correction("frame_count", declared, 12),)
    assert [f.index for f in decoded(data, "uniform:4")[1]] == [1, 4, 7, 10]
    assert decoded(whole)[0].corrections == ()


def test_too_many_frames_are_found_before_they_are_decoded(tmp_path: Path) -> None:
    data = avi(tmp_path, shown=[drawn(0)] * 60)
    lying = patched(data, data.index(b"strh") + AVI_LENGTH, 3, layout="<I")
    with pytest.raises(ClipTooLong, match="at most 50 frames"):
        decoded(lying)


def test_a_recording_that_was_cut_off_gives_its_whole_frames(tmp_path: Path) -> None:
    motion = avi(tmp_path)
    raw = raw_avi(
        b"", 24, [np.ascontiguousarray(drawn(i)[::-1, :, ::-1]).tobytes() for i in range(12)]
    )
    for data, kept in ((motion, 0.6), (raw, 0.6), (MOOV_FIRST, 0.97)):
        cut = data[: int(len(data) * kept)]
        info, frames = decoded(cut)
        assert 2 <= len(frames) < 12
        assert info.frames_in_file == len(frames)
        assert info.corrections == (Correction("frame_count", 12, len(frames)),)
        for frame in frames:
            assert difference(frame, drawn(frame.index)) < 4
        assert decoded(cut, "uniform:2")[0].frames_in_file == len(frames)


@pytest.mark.parametrize("name", ["mpeg2.ts", "interlaced.ts"])
def test_a_cut_stream_gives_fewer_frames(name: str) -> None:
    data = (CLIPS / name).read_bytes()
    info, frames = decoded(data[: len(data) * 2 // 3])
    assert 2 <= info.frames_in_file == len(frames) < 12


def test_a_transport_stream_may_start_inside_a_packet() -> None:
    data = (CLIPS / "mpeg2.ts").read_bytes()
    assert decoded(bytes(100) + data)[0].frames_in_file == 12


def test_an_mp4_without_its_movie_header_says_so() -> None:
    with pytest.raises(CorruptImage, match="moov"):
        decoded(H264[:-900])


def test_a_cover_picture_before_the_clip_is_not_taken_for_it() -> None:
    info, frames = decoded((CLIPS / "cover_first.mp4").read_bytes())
    assert (info.width_px, info.height_px, info.frames_in_file) == (96, 64, 12)
    assert difference(frames[11], drawn(11)) < 1.5


def test_times_of_a_variable_rate_come_from_the_file_and_rise() -> None:
    info, frames = decoded((CLIPS / "variable_rate.mp4").read_bytes())
    assert [frame.time_s for frame in frames] == pytest.approx([ms / 1000 for ms in VARIABLE_MS])
    assert info.frame_rate_hz == pytest.approx(5.94, abs=0.01)
    taken = [f.index for f in decoded((CLIPS / "variable_rate.mp4").read_bytes(), "fps:2")[1]]
    assert taken == [0, 4, 7, 9, 11]


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg2.ts", "interlaced.mpg", "vp9.webm", "wmv2.wmv"])
def test_times_never_stand_still(name: str) -> None:
    times_s = [frame.time_s for frame in decoded((CLIPS / name).read_bytes())[1]]
    assert times_s == pytest.approx([index / 25 for index in range(12)], abs=0.002)


def test_an_avi_with_frames_in_another_order_has_rising_times(tmp_path: Path) -> None:
    times_s = [frame.time_s for frame in decoded(avi(tmp_path, "XVID"))[1]]
    assert times_s == pytest.approx([index / 25 for index in range(12)])


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, 1, -1, 0), lambda hw: np.rot90(hw, -1)),
        ((-1, 0, 0, -1), lambda hw: np.rot90(hw, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda hw: hw.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda hw: np.rot90(hw.swapaxes(0, 1), 2)),
    ],
)
def test_a_clip_is_turned_and_mirrored_as_its_track_says(matrix, turn) -> None:
    a, b, c, d = (value * 65536 for value in matrix)
    at = H264.index(b"tkhd") + 44
    info, frames = decoded(patched(H264, at, a, b, 0, c, d, layout=">i"))
    expected = turn(drawn(0))
    assert (info.height_px, info.width_px) == expected.shape[:2]
    assert difference(frames[0], expected) < 1.5


@pytest.mark.parametrize("name", ["interlaced.ts", "interlaced.mpg"])
def test_interlaced_mpeg2_gives_its_frames(name: str) -> None:
    info, frames = decoded((CLIPS / name).read_bytes())
    assert info.frames_in_file == 12
    assert max(difference(frame, drawn(frame.index)) for frame in frames) < 2


def read_or_named(frames: Callable[[], Iterable[DecodedFrame]]) -> None:
    """OpenCV before 4.13 converts interlaced frames; later ones return memory as it was."""
    try:
        decoded_frames = list(frames())
    except UnsupportedFormat as error:
        named = str(error)
    else:
        named = "interlaced"
        assert max(difference(frame, drawn(frame.index)) for frame in decoded_frames) < 2
    assert "interlaced" in named


def test_other_interlaced_video_is_read_or_named(capfd: pytest.CaptureFixture[str]) -> None:
    data = (REFUSED / "interlaced.mp4").read_bytes()
    read_or_named(lambda: decoded(data)[1])
    os.write(2, b"still open")
    assert "still open" in capfd.readouterr().err


def test_a_decoder_process_reads_or_names_interlaced_video_too() -> None:
    with DecoderPool(1, LIMITS) as pool:
        for file in (REFUSED / "interlaced.mp4", CLIPS / "interlaced.ts"):
            data = file.read_bytes()
            read_or_named(lambda data=data: pool.open(data, parse_sampling("uniform:2")))


@pytest.mark.parametrize(
    ("name", "kind", "tolerance"), [("vp9.webm", "mkv", 1.5), ("wmv2.wmv", "wmv", 2.5)]
)
def test_webm_and_wmv_are_read(name: str, kind: str, tolerance: float) -> None:
    info, frames = decoded((CLIPS / name).read_bytes())
    assert (info.format, info.frames_in_file, len(frames)) == (kind, 12, 12)
    assert max(difference(frame, drawn(frame.index)) for frame in frames) < tolerance


def test_a_codec_that_is_missing_is_named() -> None:
    with pytest.raises(UnsupportedFormat, match=r"AV01.*H\.264"):
        decoded((REFUSED / "av1.mp4").read_bytes())


def test_raw_pictures_of_an_avi_come_out_upright_and_in_their_colours() -> None:
    pictures = [drawn(index) for index in range(3)]
    yuv = [cv2.cvtColor(p, cv2.COLOR_RGB2YUV_I420).tobytes() for p in pictures]
    packed = [cv2.cvtColor(p, cv2.COLOR_RGB2YUV_YUY2).tobytes() for p in pictures]
    bottom_up = [np.ascontiguousarray(p[::-1, :, ::-1]).tobytes() for p in pictures]
    top_down = [np.ascontiguousarray(p[:, :, ::-1]).tobytes() for p in pictures]
    for data in (
        raw_avi(b"", 24, bottom_up),
        raw_avi(b"DIB ", 24, bottom_up),
        raw_avi(b"", 24, top_down, height=-64),
        raw_avi(b"I420", 12, yuv),
        raw_avi(b"YUY2", 16, packed),
    ):
        info, frames = decoded(data)
        assert (info.frames_in_file, info.corrections) == (3, ())
        for frame, picture in zip(frames, pictures, strict=True):
            assert difference(frame, picture) < 2


def test_grey_pictures_of_an_avi_keep_their_levels() -> None:
    grey = np.tile(np.arange(96, dtype=np.uint8) * 2, (64, 1))
    _, frames = decoded(raw_avi(b"Y800", 8, [grey.tobytes()] * 3))
    np.testing.assert_array_equal(frames[0].pixels, grey)


def sample_aspect(width: int, height: int) -> bytes:
    """The MPEG-2 clip with a display aspect ratio of 4:3 or 16:9 in its sequence header."""
    data = (CLIPS / "mpeg2.ts").read_bytes()
    code = {(4, 3): 2, (16, 9): 3}[width, height]
    at = data.index(b"\0\0\1\xb3") + 7
    changed = bytearray(data)
    while at >= 7:
        changed[at] = code << 4 | changed[at] & 15
        at = data.find(b"\0\0\1\xb3", at) + 7
    return bytes(changed)


@pytest.mark.parametrize(("shape", "ratio"), [((4, 3), 4 / 3), ((16, 9), 16 / 9)])
def test_the_shape_of_pixels_comes_from_the_stream(shape: tuple[int, int], ratio: float) -> None:
    info, _ = decoded(sample_aspect(*shape))
    width_by_height = ratio / (96 / 64)
    assert info.pixel_aspect == pytest.approx(1 / width_by_height, rel=0.01)
    assert decoded((CLIPS / "mpeg2.ts").read_bytes())[0].pixel_aspect == 1.0
