"""A JPEG in DICOM that lost data before its end marker is refused, and a whole one never is."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from service.cli.demo import SAMPLES
from service.errors import CorruptImage
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from tests.imaging import dicom_files as made
from tests.imaging.lossless_jpeg import Coding, encoded

GREY = np.asarray(Image.open(SAMPLES / "cyst" / "cyst_00.png"))
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)
END = b"\xff\xd9"


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def twelve_bits(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels.astype(np.uint16) * 16, bitspersample=12))


STREAMS = {
    "baseline": (GREY, jpeg(GREY)),
    "colour": (COLOUR, jpeg(COLOUR, subsampling=2)),
    "colour in full": (COLOUR, jpeg(COLOUR, subsampling=0)),
    "own tables": (COLOUR, jpeg(COLOUR, optimize=True)),
    "restarts for each row": (GREY, jpeg(GREY, restart_marker_rows=1)),
    "restarts within rows": (COLOUR, jpeg(COLOUR, restart_marker_blocks=5)),
    "progressive": (GREY, jpeg(GREY, progressive=True)),
    "twelve bits": (GREY, twelve_bits(GREY)),
    "lossless": (GREY, bytes(imagecodecs.jpeg8_encode(GREY, lossless=True))),
    "lossless colour": (COLOUR, bytes(imagecodecs.jpeg8_encode(COLOUR, lossless=True))),
    "lossless with restarts": (GREY[:48, :64], encoded(GREY[:48, :64], 8, Coding(restart_rows=4))),
    "lossless by colours": (
        COLOUR[:32, :48],
        encoded(COLOUR[:32, :48], 8, Coding(is_interleaved=False)),
    ),
}


def dicom(pixels: np.ndarray, *streams: bytes) -> bytes:
    kind = "YBR_FULL_422" if pixels.ndim == 3 else "MONOCHROME2"
    item = made.dataset(np.stack([pixels] * len(streams)), photometric=kind, bits=8)
    return made.encapsulated(item, made.LOSSLESS, [made.even(stream) for stream in streams])


def frames(data: bytes, sampling: str = "all") -> list[np.ndarray]:
    return [frame.pixels for frame in read(data, parse_sampling(sampling), DecodeLimits())]


def cut(stream: bytes, share: float) -> bytes:
    """The share of the scans that is left, with the end marker behind it."""
    first = stream.index(b"\xff\xda")
    kept = stream[: first + int(share * (len(stream) - first))]
    return kept.rstrip(b"\xff") + END


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_frame_that_lost_data_before_its_end_is_refused(name: str, share: float) -> None:
    pixels, stream = STREAMS[name]
    with pytest.raises(CorruptImage, match=r"less data|does not decode completely"):
        frames(dicom(pixels, cut(stream, share)))


@pytest.mark.parametrize("name", STREAMS)
def test_a_whole_frame_is_shown(name: str) -> None:
    pixels, stream = STREAMS[name]
    assert frames(dicom(pixels, stream))[0].shape[:2] == pixels.shape[:2]


@pytest.mark.parametrize("height", [49, 56, 64, 65])
@pytest.mark.parametrize(
    "options",
    [{}, {"optimize": True}, {"restart_marker_rows": 1}, {"progressive": True}],
    ids=["plain", "own tables", "restarts", "progressive"],
)
def test_a_whole_frame_that_ends_in_one_grey_level_is_shown(height: int, options) -> None:
    for level in (0, 128, 255):
        half, whole = GREY[:height, :72].copy(), np.full((height, 72), level, np.uint8)
        half[height // 2 :] = level
        for pixels in (half, whole, np.dstack([half] * 3), np.dstack([whole] * 3)):
            (shown,) = frames(dicom(pixels, jpeg(pixels, **options)))
            assert np.abs(shown[-8:].astype(int) - level).max() <= 3


def test_bits_of_the_last_block_may_be_missing() -> None:
    assert frames(dicom(GREY, jpeg(GREY)[:-3] + END))[0].shape == GREY.shape


def test_bytes_too_many_before_the_end_do_no_harm() -> None:
    whole = frames(dicom(GREY, jpeg(GREY)))
    more = frames(dicom(GREY, jpeg(GREY)[:-2] + bytes(20) + END))
    np.testing.assert_array_equal(more, whole)


def test_the_other_frames_of_a_cine_are_shown() -> None:
    stream = jpeg(GREY)
    data = dicom(GREY, cut(stream, 0.5), stream, stream)
    assert len(frames(data, "uniform:1")) == 1  # the second
    with pytest.raises(CorruptImage):
        frames(data)
