"""Colours are what the stream holds, not what a left-over tag says."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from service.errors import UnsupportedFormat
from service.imaging.formats.frames import Correction, DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from tests.imaging import dicom_files as made

LIMITS = DecodeLimits(max_pixels=10**7, max_decode_bytes=10**8, max_clip_frames=500)
WRONG = (Correction("colour_space"),)


def scan(height: int = 96, width: int = 128) -> np.ndarray:
    """A grey fan on black with a coloured box, as Doppler has it."""
    y, x = np.mgrid[:height, :width]
    speckle = np.random.default_rng(2).normal(0, 6, (height, width))
    fan = np.hypot(x - width / 2, y) < height * 0.9
    grey = np.where(fan, 90 + 60 * np.sin(x / 7) * np.cos(y / 9) + speckle, 0)
    rgb = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, -1)
    rgb[30:50, 50:70] = (200, 60, 30)
    return rgb


RGB_HW3 = scan()


def opened(data: bytes) -> tuple[ImageInfo, list[DecodedFrame]]:
    image = read(data, parse_sampling("all"), LIMITS)
    return image.info, list(image.frames)


def off(data: bytes, expected: np.ndarray = RGB_HW3) -> float:
    return float(np.abs(opened(data)[1][-1].rgb.astype(int) - expected).mean())


def ybr(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("YCbCr"))


def jpeg(*, sampling: int, adobe: bool = False, jfif: bool = True) -> bytes:
    """YCbCr by Pillow: 0 = 4:4:4, 1 = 4:2:2, 2 = 4:2:0."""
    buffer = io.BytesIO()
    Image.fromarray(RGB_HW3).save(buffer, "JPEG", quality=95, subsampling=sampling)
    data = buffer.getvalue()
    if not jfif or adobe:
        data = without_markers(data)
    if adobe:
        data = data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01" + data[2:]
    return data


def rgb_jpeg(names: bytes = b"\x01\x02\x03") -> bytes:
    packed = bytes(
        imagecodecs.jpeg8_encode(RGB_HW3, level=95, colorspace="RGB", outcolorspace="RGB")
    )
    return without_markers(packed, names)


def without_markers(data: bytes, names: bytes = b"\x01\x02\x03") -> bytes:
    """No APP segments, and these names for the components."""
    at, kept = 2, [data[:2]]
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big") + 2
        part = bytearray(data[at : at + length])
        if part[1] in (0xC0, 0xC1):
            part[10], part[13], part[16] = names
        if not 0xE0 <= part[1] <= 0xEF:
            kept.append(bytes(part))
        at += length
    scan_header = bytearray(data[at:])
    scan_header[5], scan_header[7], scan_header[9] = names
    return b"".join([*kept, bytes(scan_header)])


def wrapped(parts: list[bytes], photometric: str, syntax: str = made.JPEG) -> bytes:
    item = made.dataset(np.stack([RGB_HW3] * len(parts)), photometric=photometric, bits=8)
    return made.encapsulated(item, syntax, [made.even(part) for part in parts])


TAGS = ("RGB", "YBR_FULL", "YBR_FULL_422", "MONOCHROME2")
MARKED = {
    "420 bare": jpeg(sampling=2, jfif=False),
    "422 bare": jpeg(sampling=1, jfif=False),
    "444 bare": jpeg(sampling=0, jfif=False),
    "420 JFIF": jpeg(sampling=2),
    "444 JFIF": jpeg(sampling=0),
    "420 Adobe": jpeg(sampling=2, adobe=True),
    "444 Adobe": jpeg(sampling=0, adobe=True),
}


@pytest.mark.parametrize("photometric", TAGS)
@pytest.mark.parametrize("kind", MARKED)
def test_a_jpeg_of_luma_and_chroma_is_read_as_such(kind: str, photometric: str) -> None:
    data = wrapped([MARKED[kind]], photometric)
    assert off(data) < 3
    assert opened(data)[0].corrections == (() if photometric.startswith("YBR") else WRONG)


@pytest.mark.parametrize("photometric", TAGS)
@pytest.mark.parametrize("kind", ["bare", "names", "Adobe"])
def test_a_jpeg_of_red_green_and_blue_is_read_as_such(kind: str, photometric: str) -> None:
    packed = rgb_jpeg(b"RGB" if kind == "names" else b"\x01\x02\x03")
    if kind == "Adobe":
        packed = packed[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + packed[2:]
    data = wrapped([packed], photometric)
    assert off(data) < 3
    assert opened(data)[0].corrections == (() if photometric == "RGB" else WRONG)


def test_a_blank_first_frame_does_not_decide_the_colours() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (128, 96)).save(buffer, "JPEG", subsampling=0)
    blank = without_markers(buffer.getvalue())
    for photometric in ("RGB", "YBR_FULL"):
        assert off(wrapped([blank, MARKED["444 bare"]], photometric)) < 3
    zeros = np.zeros_like(RGB_HW3)
    native = made.dicom(np.stack([zeros, ybr(RGB_HW3)]), photometric="YBR_FULL")
    assert off(native) < 3


@pytest.mark.parametrize("syntax", [made.EXPLICIT, made.RLE, made.LS, made.SV1, made.JXL_LOSSLESS])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "MONOCHROME2"])
@pytest.mark.parametrize("model", ["RGB", "YBR"])
def test_planes_without_any_marker_show_what_they_are(syntax, photometric, model) -> None:
    if (syntax, model) == (made.JXL_LOSSLESS, "YBR") and photometric != "YBR_FULL":
        return  # its decoder returns RGB by definition
    planes = RGB_HW3 if model == "RGB" else ybr(RGB_HW3)
    data = made.dicom(planes[None], syntax, photometric=photometric)
    assert off(data) < 2
    is_right = photometric[:3] == model
    assert opened(data)[0].corrections == (() if is_right else WRONG)


def test_colours_decompressed_under_the_tag_of_their_jpeg_are_not_green() -> None:
    data = made.dicom(RGB_HW3[None], photometric="YBR_FULL_422")
    assert off(data) == 0
    assert opened(data)[0].corrections == WRONG


def test_a_picture_without_grey_pixels_goes_by_its_tag() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    assert np.array_equal(opened(made.dicom(noise))[1][0].rgb, noise[0])
    back = np.asarray(Image.frombytes("YCbCr", (64, 64), noise.tobytes()).convert("RGB"))
    assert np.array_equal(opened(made.dicom(noise, photometric="YBR_FULL"))[1][0].rgb, back)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT", "YBR_ICT", "YBR_FULL", "MONOCHROME2"])
@pytest.mark.parametrize("mixes", [True, False])
@pytest.mark.parametrize("syntax", [made.J2K_LOSSLESS, made.HTJ2K_LOSSLESS])
def test_the_colour_transform_of_jpeg_2000_counts(syntax, mixes, photometric) -> None:
    if syntax == made.J2K_LOSSLESS:
        packed = bytes(
            imagecodecs.jpeg2k_encode(RGB_HW3, reversible=True, codecformat="j2k", mct=mixes)
        )
    elif mixes:
        packed = made.compressed(RGB_HW3, syntax)
    else:
        return
    data = wrapped([packed], photometric, syntax)
    assert off(data) == 0
    is_right = photometric in ("RGB", "YBR_RCT", "YBR_ICT")
    assert opened(data)[0].corrections == (() if is_right else WRONG)


@pytest.mark.parametrize("syntax", [made.EXPLICIT, made.BIG, made.RLE, made.LS, made.J2K_LOSSLESS])
@pytest.mark.parametrize(
    ("stored", "shift", "top"), [(16, 0, 4095), (12, 0, 4095), (12, 4, 4095), (16, 0, 65_535)]
)
def test_colours_of_words_are_as_bright_as_their_values(syntax, stored, shift, top) -> None:
    if shift and syntax == made.J2K_LOSSLESS:
        return
    wide = np.rint(RGB_HW3 / 255 * top).astype(np.uint16)
    frames = np.stack([np.zeros_like(wide), wide, wide]) << shift
    item = made.dataset(frames, photometric="RGB", bits=stored, HighBit=stored + shift - 1)
    if syntax in made.NATIVE:
        data = made.dicom(frames, syntax, bits=stored, HighBit=stored + shift - 1)
    else:
        depth = 16 if shift else stored
        parts = [made.even(made.compressed(frame, syntax, depth)) for frame in frames]
        data = made.encapsulated(item, syntax, parts)
    info, shown = opened(data)
    assert int(np.abs(shown[1].rgb.astype(int) - RGB_HW3).max()) <= 1
    assert np.array_equal(shown[1].rgb, shown[2].rgb)
    assert info.corrections == ()


def test_colours_brighter_than_the_bits_stored_do_not_clip() -> None:
    assert off(made.dicom(RGB_HW3[None], bits=7)) == 0
    assert off(made.dicom((RGB_HW3 // 2)[None], bits=7)) < 2
    wide = RGB_HW3.astype(np.uint16) * 16
    assert off(made.dicom(wide[None], bits=8)) < 2


def test_another_colour_model_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFormat, match="HSV"):
        opened(made.dicom(RGB_HW3[None], photometric="HSV"))
