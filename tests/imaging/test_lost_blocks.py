"""A file that lost whole blocks is refused, and zeros that a whole file has are not."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from service.errors import CorruptImage
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.lost_blocks import BLOCK_BYTES, lost_blocks
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from tests.imaging import dicom_files as made

CLIPS = Path(__file__).parents[1] / "fixtures" / "clips"
FRAMES = 12
NOISE = np.random.default_rng(0).integers(0, 256, (96, 160 + FRAMES), dtype=np.uint8)
SPECKLE = cv2.GaussianBlur(np.tile(NOISE, (2, 2)), (0, 0), 0.7)


def saved(file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(np.dstack([SPECKLE] * 3))
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def tiff(**options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, SPECKLE, photometric="minisblack", **options)
    return buffer.getvalue()


STILLS: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved("JPEG", quality=95),
    "progressive JPEG": lambda: saved("JPEG", quality=95, progressive=True),
    "WebP": lambda: saved("WEBP", quality=98),
    "WebP in colour without loss": lambda: saved("WEBP", lossless=True),
    "AVIF": lambda: saved("AVIF", quality=95),
    "JPEG 2000": lambda: saved("JPEG2000"),
    "JPEG 2000 without a file around it": lambda: saved("JPEG2000", no_jp2=True),
    "JPEG 2000 in tiles": lambda: saved("JPEG2000", tile_size=(64, 64)),
    "TIFF of LZW": lambda: tiff(compression="lzw"),
    "TIFF of run lengths": lambda: tiff(compression="packbits"),
    "TIFF of JPEG 2000": lambda: tiff(compression="jpeg2000", tile=(128, 128)),
}


def frames(data: bytes, sampling: str = "all") -> list[np.ndarray]:
    clip = read(data, parse_sampling(sampling), DecodeLimits(max_clip_frames=50))
    return [frame.pixels for frame in clip]


def without_block(data: bytes, number: int, blocks: int = 1) -> bytes:
    at = number * BLOCK_BYTES
    size = min(blocks * BLOCK_BYTES, len(data) - at)
    return data[:at] + bytes(size) + data[at + size :]


@pytest.mark.parametrize("name", STILLS)
def test_a_still_that_lost_a_block_is_refused(name: str) -> None:
    data = STILLS[name]()
    assert len(frames(data)) == 1
    whole_blocks = len(data) // BLOCK_BYTES
    assert whole_blocks >= 3
    for number in (1, whole_blocks // 2, whole_blocks - 1):
        with pytest.raises(CorruptImage):
            frames(without_block(data, number))
    with pytest.raises(CorruptImage):
        frames(without_block(data, whole_blocks // 2, whole_blocks))


def test_zeros_of_a_black_picture_are_no_lost_block() -> None:
    """An encoder that saves no work codes the blocks of a black WebP one by one, as zeros."""
    buffer = io.BytesIO()
    Image.new("RGB", (1920, 1080)).save(buffer, "WEBP", method=0, quality=100)
    assert re.search(rb"\0{4096}", buffer.getvalue())
    (shown,) = frames(buffer.getvalue())
    assert not shown.any()


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "DICOM"])
def test_black_pixels_that_are_not_compressed_are_no_lost_block(kind: str) -> None:
    bright = SPECKLE | 1
    stills: dict[str, Callable[[], bytes]] = {
        "BMP": lambda: saved("BMP"),
        "TIFF": tiff,
        "DICOM": lambda: made.dicom(bright[None]),
    }
    black = without_block(stills[kind](), 3)
    assert lost_blocks(black)
    (shown,) = frames(black)
    assert np.count_nonzero(shown == 0) >= BLOCK_BYTES // 3


@pytest.mark.parametrize(
    ("before", "zeros", "expected"),
    [
        (BLOCK_BYTES, BLOCK_BYTES, [(4096, 8192)]),
        (BLOCK_BYTES - 1, 2 * BLOCK_BYTES + 2, [(4096, 12288)]),
        (BLOCK_BYTES - 100, 2 * BLOCK_BYTES, []),
        (BLOCK_BYTES, BLOCK_BYTES + 100, []),
        (BLOCK_BYTES, BLOCK_BYTES - 1, []),
        (0, BLOCK_BYTES, []),
    ],
    ids=[
        "a block",
        "with zeros of its own",
        "begins before",
        "ends after",
        "short",
        "at the start",
    ],
)
def test_lost_blocks_begin_and_end_at_multiples_of_their_size(
    before: int, zeros: int, expected: list[tuple[int, int]]
) -> None:
    assert lost_blocks(b"a" * before + bytes(zeros) + b"a" * 5000) == expected


def test_a_file_may_end_within_a_lost_block() -> None:
    assert lost_blocks(b"a" * BLOCK_BYTES + bytes(5000)) == [(4096, 9096)]


def cine(syntax: str, *streams: bytes) -> bytes:
    item = made.dataset(np.stack([SPECKLE] * len(streams)), photometric="MONOCHROME2", bits=8)
    return made.encapsulated(item, syntax, [made.even(stream) for stream in streams])


@pytest.mark.parametrize("name", ["J2K_LOSSLESS", "HTJ2K_LOSSLESS", "LS", "JXL_LOSSLESS", "JPEG"])
def test_a_frame_of_dicom_that_lost_a_block_is_refused_and_the_others_are_shown(name: str) -> None:
    encode = {
        "J2K_LOSSLESS": lambda: imagecodecs.jpeg2k_encode(SPECKLE, level=0, reversible=True),
        "HTJ2K_LOSSLESS": lambda: imagecodecs.htj2k_encode(SPECKLE),
        "LS": lambda: imagecodecs.jpegls_encode(SPECKLE),
        "JXL_LOSSLESS": lambda: imagecodecs.jpegxl_encode(SPECKLE, lossless=True),
        "JPEG": lambda: imagecodecs.jpeg8_encode(SPECKLE, level=98),
    }
    stream = bytes(encode[name]())
    data = cine(getattr(made, name), stream, stream, stream)
    whole = frames(data)
    middle = data.index(stream[:64], data.index(stream[:64]) + len(stream))
    lost = without_block(data, (middle + len(stream) // 2) // BLOCK_BYTES)
    with pytest.raises(CorruptImage):
        frames(lost)
    np.testing.assert_array_equal(frames(lost, "uniform:2"), [whole[0], whole[2]])


def clip(folder: Path, code: str, suffix: str) -> bytes:
    file = folder / f"clip{suffix}"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*code), 25, (320, 192))
    for index in range(FRAMES):
        writer.write(np.dstack([SPECKLE[:, index : index + 320]] * 3))
    writer.release()
    return file.read_bytes()


@pytest.mark.parametrize(
    ("code", "suffix"),
    [("MJPG", ".avi"), ("VP80", ".mkv"), ("VP90", ".webm"), ("mp4v", ".mp4"), ("MPG2", ".ts")],
)
def test_a_clip_that_lost_a_block_is_refused(tmp_path: Path, code: str, suffix: str) -> None:
    data = clip(tmp_path, code, suffix)
    assert len(frames(data)) == FRAMES
    blocks = len(data) // BLOCK_BYTES
    for number in (blocks // 4, blocks // 2, blocks - 2):
        with pytest.raises(CorruptImage):
            frames(without_block(data, number))


def test_a_clip_that_ends_in_space_reserved_for_it_gives_its_whole_frames(tmp_path: Path) -> None:
    data = clip(tmp_path, "MJPG", ".avi")
    written = len(data) // 2 // BLOCK_BYTES
    whole, left = frames(data), frames(without_block(data, written, 1000))
    assert 0 < len(left) < len(whole)
    for shown, expected in zip(left, whole, strict=False):
        np.testing.assert_array_equal(shown, expected)


def test_silent_sound_of_a_film_is_no_lost_block() -> None:
    data = (CLIPS / "h264.mp4").read_bytes()
    room = -(len(data) + 16) % BLOCK_BYTES
    padding = (8 + room).to_bytes(4, "big") + b"free" + b"a" * room
    silence = (8 + BLOCK_BYTES).to_bytes(4, "big") + b"mdat" + bytes(BLOCK_BYTES)
    end = b"\x01\0\0\x10free"  # a last box, cut off
    film = data + padding + silence + end
    assert lost_blocks(film)
    np.testing.assert_array_equal(frames(film), frames(data))
