"""A file is taken for what it is; one of a format that is not read is refused by its name."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.errors import CorruptImage, ImageTooLarge, UnsupportedFormat
from service.imaging.formats.file_type import family_of
from service.imaging.formats.frames import DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from service.imaging.sandbox.decoder_pool import DecoderPool
from tests.fixtures.make_clips import drawn
from tests.imaging.costly_files import chunk, png

CLIPS = Path(__file__).parents[1] / "fixtures" / "clips"
PICTURE = drawn(0)
LIMITS = DecodeLimits(max_pixels=10**6, max_clip_frames=50)


def decoded(data: bytes, limits: DecodeLimits = LIMITS) -> tuple[ImageInfo, list[DecodedFrame]]:
    image = read(data, parse_sampling("all"), limits)
    return image.info, list(image)


def saved(kind: str, picture: np.ndarray = PICTURE, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def difference(pixels: np.ndarray, picture: np.ndarray) -> float:
    return float(np.abs(pixels.astype(int) - picture).mean())


def branded(major: bytes, *compatible: bytes, boxes: bytes = b"") -> bytes:
    brands = major + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + boxes


TILED = np.concatenate(
    [np.concatenate([drawn(0), drawn(3)], axis=1), np.concatenate([drawn(6), drawn(9)], axis=1)]
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("picture.heic", PICTURE),
        ("ten_bits.heic", PICTURE),
        ("tiles.heic", TILED),
        ("tiles_turned.heic", np.rot90(TILED, -1)),
    ],
)
def test_heic_is_decoded_whole_and_upright(name: str, expected: np.ndarray) -> None:
    info, (frame,) = decoded((CLIPS / name).read_bytes())
    assert (info.format, info.kind) == ("heic", "frame")
    assert (info.height_px, info.width_px) == expected.shape[:2]
    assert difference(frame.rgb, expected) < 2


def test_a_mirrored_heic_is_mirrored_back() -> None:
    data = (CLIPS / "tiles_turned.heic").read_bytes().replace(b"irot\3", b"imir\0")
    _, (frame,) = decoded(data)
    assert difference(frame.rgb, TILED[::-1]) < 2


def test_a_decoder_process_reads_heic_within_its_limits() -> None:
    data = (CLIPS / "tiles.heic").read_bytes()
    with DecoderPool(1, LIMITS) as pool:
        image = pool.open(data, parse_sampling("all"))
        assert difference(next(iter(image)).rgb, TILED) < 2
    with pytest.raises(ImageTooLarge, match="192 x 128"):
        decoded(data, DecodeLimits(max_pixels=20_000))
    for length in (40, 400, len(data) - 200):
        with pytest.raises((CorruptImage, UnsupportedFormat)):
            decoded(data[:length])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_avif_is_decoded_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = {1: 0, 3: 2, 6: -1, 8: 1}[orientation]
    info, (frame,) = decoded(saved("AVIF", quality=95, exif=exif))
    assert info.format == "avif"
    assert difference(frame.rgb, np.rot90(PICTURE, turn)) < 2


def test_avif_of_several_pictures_is_a_clip() -> None:
    more = [Image.fromarray(drawn(index)) for index in range(1, 5)]
    data = saved("AVIF", quality=95, save_all=True, append_images=more, duration=40)
    info, frames = decoded(data)
    assert (info.kind, info.frames_in_file, len(frames)) == ("cine", 5, 5)
    assert max(difference(frame.rgb, drawn(frame.index)) for frame in frames) < 2


@pytest.mark.parametrize("options", [{"no_jp2": True}, {}], ids=["codestream", "jp2"])
def test_jpeg_2000_is_decoded(options: dict) -> None:
    info, (frame,) = decoded(saved("JPEG2000", **options))
    assert (info.format, difference(frame.rgb, PICTURE)) == ("jpeg2000", 0)


@pytest.mark.parametrize(
    ("data", "family"),
    [
        (branded(b"heic", b"mif1", b"heic"), "stack"),
        (branded(b"mif1", b"heic"), "stack"),
        (branded(b"msf1", b"hevc"), "stack"),
        (branded(b"avif", b"mif1", b"miaf"), "stack"),
        (branded(b"xxxx", b"avif"), "stack"),
        (branded(b"isom", b"iso2", b"avc1", b"mp41"), "video"),
        (branded(b"qt  "), "video"),
        (branded(b"mp42", b"isom", b"M4V "), "video"),
        (branded(b"3gp4", b"isom"), "video"),
        (branded(b"mp42", b"mif1", boxes=struct.pack(">I4s", 8, b"moov") + bytes(8)), "video"),
        (branded(b"hevc", b"msf1", boxes=struct.pack(">I4s", 8, b"moov") + bytes(8)), "video"),
        (branded(b"new1", b"new2"), "video"),
    ],
)
def test_the_brand_tells_pictures_from_video(data: bytes, family: str) -> None:
    assert family_of(data) == family


def of_boxes(major: bytes, count: int, *kinds: bytes) -> bytes:
    """A file of ``count`` empty boxes, and then one of each kind."""
    box = struct.pack(">I4s", 8, b"free")
    return branded(major, boxes=box * count + b"".join(struct.pack(">I4s", 8, k) for k in kinds))


def test_only_the_first_boxes_and_chunks_of_a_file_tell_what_it_is() -> None:
    """So that a file of millions of them holds nothing up."""
    assert family_of(of_boxes(b"heic", 4000, b"mdat")) == "stack"
    assert family_of(of_boxes(b"isom", 5000)) == "video"  # as one of many fragments
    with pytest.raises(CorruptImage, match="at most 4096 boxes"):
        family_of(of_boxes(b"heic", 5000))
    with pytest.raises(CorruptImage, match="at most 4096 boxes"):
        family_of(of_boxes(b"hevc", 5000, b"moov"))  # else a video
    text, control = chunk(b"tEXt", b""), chunk(b"acTL", bytes(8))
    assert family_of(png(8, 8, before=text * 4000 + control)) == "stack"
    assert family_of(png(8, 8, before=text * 5000 + control)) == "still"


NIFTI = struct.pack("<I", 348).ljust(344, b"\0") + b"n+1\0"
UNREAD = {
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a" + bytes(20)),
    "JPEG XR": (b"II\xbc\x01" + bytes(20),),
    "JPEG-LS": (b"\xff\xd8\xff\xf7" + bytes(20),),
    "PDF": (b"%PDF-1.7\n",),
    "ZIP": (b"PK\3\4" + bytes(20),),
    "gzip": (b"\x1f\x8b\x08" + bytes(20),),
    "tar": (bytes(257) + b"ustar\0" + bytes(40),),
    "SVG": (b'<svg xmlns="x">', b'<?xml version="1.0"?>\n<svg xmlns="x">'),
    "HTML": (b"<!DOCTYPE html>\n<html>",),
    "Photoshop": (b"8BPS\0\1",),
    "camera RAW": (branded(b"crx ", b"isom"), b"IIRO\x08\0", b"FUJIFILMCCD-RAW 0201", b"IIU\0"),
    "NIfTI": (NIFTI, struct.pack("<I", 540) + b"n+2\0\r\n\x1a\n"),
    "MetaImage": (b"ObjectType = Image\nNDims = 3\n",),
    "NRRD": (b"NRRD0004\n# x\n",),
    "Kretz": (b"KRETZFILE 1.0   ",),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(20),),
    "Ogg": (b"OggS\0\2" + bytes(40),),
    "MXF": (b"\x06\x0e\x2b\x34\x02\x05",),
    "sound": (branded(b"M4A ", b"isom"), b"ID3\4"),
    "icon": (b"\0\0\1\0\1\0",),
    "Netpbm": (b"P5\n96 64\n255\n",),
    "Motion JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypmjp2",),
}


@pytest.mark.parametrize(
    ("name", "data"), [(name, data) for name, kinds in UNREAD.items() for data in kinds]
)
def test_what_is_not_read_is_refused_by_its_name_with_a_way_out(name: str, data: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match=f"{name}.* is not supported; [a-z]"):
        decoded(data)


def test_jpegs_that_only_dicom_holds_are_named() -> None:
    whole = saved("JPEG")
    at = whole.index(b"\xff\xc0")
    twelve_bits = whole[: at + 1] + b"\xc1" + whole[at + 2 : at + 4] + b"\x0c" + whole[at + 5 :]
    with pytest.raises(UnsupportedFormat, match="JPEG of 12 bits"):
        decoded(twelve_bits)


@pytest.mark.parametrize("data", [b"", b"hello", bytes(400)])
def test_other_bytes_get_the_list_of_formats(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match=r"expected PNG, JPEG.*HEIC.*got"):
        decoded(data)


def test_video_without_pictures_is_named() -> None:
    whole = (CLIPS / "h264.mp4").read_bytes()
    with pytest.raises(UnsupportedFormat, match="video track"):
        decoded(whole.replace(b"vide", b"soun"))
