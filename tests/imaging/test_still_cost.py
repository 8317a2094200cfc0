"""What is decoded in the service itself is cheap by its header, whatever its bytes hold."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.errors import DecodeLimit
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from service.imaging.formats.still_cost import is_ordinary
from tests.imaging import costly_files as costly
from tests.imaging.screens import speckle

SCREEN = Image.fromarray(speckle(1080, 1920))


def saved(kind: str, image: Image.Image = SCREEN, **options: object) -> bytes:
    out = io.BytesIO()
    fast = {"compress_level": 1} if kind == "PNG" else {}
    image.save(out, kind, **fast, **options)
    return out.getvalue()


@pytest.mark.parametrize("what", costly.COSTLY)
def test_a_file_that_asks_for_much_is_not_ordinary(what: str) -> None:
    assert not is_ordinary(costly.COSTLY[what]())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("PNG", {"dpi": (96, 96)}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "quality": 95}),
        ("BMP", {}),
    ],
)
def test_the_screen_of_a_machine_is_ordinary(kind: str, options: dict[str, object]) -> None:
    for image in (SCREEN, SCREEN.convert("RGB")):
        assert is_ordinary(saved(kind, image, **options))


def test_a_colour_profile_of_a_screenshot_is_ordinary_and_thousands_are_not() -> None:
    assert is_ordinary(saved("PNG", icc_profile=bytes(3000)))
    assert not is_ordinary(costly.png_of_profiles(65))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
@given(cut=st.integers(0, 400), at=st.integers(0, 300), byte=st.integers(0, 255))
def test_damaged_headers_are_an_answer_and_no_error(kind, cut, at, byte) -> None:
    data = bytearray(HEADS[kind])
    data[at : at + 1] = bytes([byte])
    assert is_ordinary(bytes(data[:cut])) in (True, False)


HEADS = {kind: saved(kind, Image.new("L", (64, 64))) for kind in ("PNG", "JPEG", "BMP")}


def test_a_marker_without_a_length_hides_no_frame_header() -> None:
    """A reader skips it differently, so that a large frame could stand in what we skip."""
    small = costly.jpeg(64, 64)
    assert is_ordinary(small)
    hidden = b"\xff\xd0" + b"\x00\x20" + costly.jpeg(7000, 7000)[2:30]
    assert not is_ordinary(small[:2] + hidden + small[2:])


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    limits = DecodeLimits()
    with pytest.raises(DecodeLimit, match=r"at most 40 scans in a JPEG of 7000 x 7000 px, got 30"):
        read(costly.jpeg(7000, 7000, scans=3000), Sampling(), limits)
    (frame,) = read(costly.jpeg(64, 64, scans=30), Sampling(), limits)
    assert np.ptp(frame.pixels) == 0
