"""DICOM in, the frames that a viewer shows out, and nothing of the patient."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from service.errors import (
    CorruptImage,
    DecodeLimit,
    ImageTooLarge,
    InputError,
    UnsupportedFormat,
)
from service.imaging.formats.frames import DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling, parse_sampling
from tests.fixtures.make_clips import drawn
from tests.imaging import dicom_files as made

CLIPS = Path(__file__).parents[1] / "fixtures" / "clips"
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "dicom"
LIMITS = DecodeLimits(max_pixels=10**7, max_decode_bytes=10**8, max_clip_frames=500)
GREY_THW = np.stack([drawn(index)[..., 1] for index in range(3)])
RGB_THW3 = np.stack([drawn(index) for index in range(3)])
# The order of rows and of planes shows in every pixel of this one.
WIDE_THW = (np.arange(3 * 64 * 96, dtype=np.uint16).reshape(3, 64, 96) * 7) % 4096


def info(data: bytes, sampling: str = "all") -> tuple[ImageInfo, list[DecodedFrame]]:
    image = read(data, parse_sampling(sampling), LIMITS)
    return image.info, list(image.frames)


def worst(actual: list[DecodedFrame], expected: np.ndarray) -> int:
    shown = [f.rgb if expected.ndim == 4 else f.grey for f in actual]
    return int(np.abs(np.stack(shown).astype(int) - expected).max())


LOSSLESS = (
    made.IMPLICIT,
    made.EXPLICIT,
    made.DEFLATED,
    made.BIG,
    made.RLE,
    made.LOSSLESS,
    made.SV1,
    made.LS,
    made.J2K_LOSSLESS,
    made.HTJ2K_LOSSLESS,
    made.HTJ2K_RPCL,
    made.JXL_LOSSLESS,
)


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("frames", [GREY_THW, RGB_THW3], ids=["grey", "rgb"])
def test_every_lossless_syntax_gives_the_pixels_that_went_in(syntax: str, frames) -> None:
    facts, actual = info(made.dicom(frames, syntax))
    assert worst(actual, frames) == 0
    assert (facts.format, facts.kind, facts.frames_in_file) == ("dicom", "cine", 3)
    assert (facts.width_px, facts.height_px) == (96, 64)


@pytest.mark.parametrize(
    ("syntax", "tolerance"),
    [  # at sharp edges of the drawing
        (made.JPEG, 40),
        (made.LS_NEAR, 2),
        (made.J2K, 12),
        (made.HTJ2K, 12),
        (made.JXL, 40),
        (made.JXL_RECOMPRESSED, 40),
    ],
)
@pytest.mark.parametrize("frames", [GREY_THW, RGB_THW3], ids=["grey", "rgb"])
def test_every_lossy_syntax_gives_nearly_the_same(syntax: str, tolerance: int, frames) -> None:
    is_chroma = syntax in (made.JPEG, made.JXL_RECOMPRESSED)
    coloured = "YBR_FULL_422" if is_chroma else "RGB"
    photometric = coloured if frames.ndim == 4 else "MONOCHROME2"
    _, actual = info(made.dicom(frames, syntax, photometric=photometric))
    assert worst(actual, frames) <= tolerance
    mean = np.abs(np.stack([f.rgb for f in actual]).mean((0, 1, 2)) - RGB_THW3.mean((0, 1, 2)))
    assert frames.ndim == 3 or mean.max() < 1.5


@pytest.mark.parametrize("syntax", [*LOSSLESS, made.EXTENDED])
def test_twelve_bits_are_shown_in_eight(syntax: str) -> None:
    expected = np.rint(WIDE_THW / 4095 * 255)
    _, actual = info(made.dicom(WIDE_THW, syntax, bits=12))
    tolerance = 30 if syntax == made.EXTENDED else 1
    assert worst(actual, expected) <= tolerance
    assert float(np.abs(np.stack([f.grey for f in actual]) - expected).mean()) < 2


def test_monochrome_1_is_shown_inverted() -> None:
    _, actual = info(made.dicom(GREY_THW, photometric="MONOCHROME1"))
    assert worst(actual, 255 - GREY_THW) == 0


def test_a_window_is_applied_as_the_standard_says() -> None:
    data = made.dicom(WIDE_THW, bits=12, WindowCenter=1000, WindowWidth=400)
    _, actual = info(data)
    # PS3.3 C.11.2.1.2.1: black at centre - 0.5 - (width - 1) / 2, white as far above.
    share = np.clip((WIDE_THW - 999.5) / 399 + 0.5, 0, 1)
    assert worst(actual, np.rint(share * 255)) <= 1


def test_signed_values_keep_their_order() -> None:
    signed = (WIDE_THW.astype(np.int32) - 2048).astype(np.int16).view(np.uint16) & 0x0FFF
    _, actual = info(made.dicom(signed, bits=12, PixelRepresentation=1))
    assert worst(actual, np.rint(WIDE_THW / 4095 * 255)) <= 1


def test_planes_one_after_the_other_are_put_together() -> None:
    planar = np.ascontiguousarray(RGB_THW3.transpose(0, 3, 1, 2)).reshape(RGB_THW3.shape)
    _, actual = info(made.dicom(planar, PlanarConfiguration=1))
    assert worst(actual, RGB_THW3) == 0


def ybr(rgb_THW3: np.ndarray) -> np.ndarray:
    """Full-range BT.601 (PS3.3 C.7.6.3.1.2), written out here as the standard has it."""
    forward = np.array(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    return np.rint(np.clip(rgb_THW3 @ forward.T + [0, 128, 128], 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("syntax", [made.EXPLICIT, made.RLE, made.LS, made.LOSSLESS])
def test_full_ybr_becomes_the_right_colours(syntax: str) -> None:
    _, actual = info(made.dicom(ybr(RGB_THW3), syntax, photometric="YBR_FULL"))
    assert worst(actual, RGB_THW3) <= 3


def test_half_sampled_ybr_becomes_the_right_colours() -> None:
    full = ybr(RGB_THW3)
    packed = np.stack(
        [full[:, :, 0::2, 0], full[:, :, 1::2, 0], full[:, :, 0::2, 1], full[:, :, 0::2, 2]], -1
    )
    item = made.dataset(RGB_THW3, photometric="YBR_FULL_422", bits=8)
    item.PixelData = packed.tobytes()
    item["PixelData"].VR = "OB"
    _, actual = info(made.written(item, made.EXPLICIT))
    difference = np.abs(np.stack([f.rgb for f in actual]).astype(int) - RGB_THW3)
    assert float(difference.mean()) < 1.5  # the bar's edge lies inside a pair of pixels


def test_a_jpeg_of_rgb_without_a_marker_is_not_taken_for_ycbcr() -> None:
    import imagecodecs

    packed = [
        bytes(imagecodecs.jpeg8_encode(f, level=97, colorspace="RGB", outcolorspace="RGB"))
        for f in RGB_THW3
    ]
    bare = [_without_app_markers(data) for data in packed]
    item = made.dataset(RGB_THW3, photometric="RGB", bits=8)
    item.PixelData = encapsulate(bare)
    item["PixelData"].VR = "OB"
    _, actual = info(made.written(item, made.JPEG))
    assert worst(actual, RGB_THW3) <= 40


def _without_app_markers(data: bytes) -> bytes:
    """Also renames the components R, G, B to 1, 2, 3, by which libjpeg would guess YCbCr."""
    at, kept = 2, [data[:2]]
    while data[at + 1] not in (0xDA,):
        length = int.from_bytes(data[at + 2 : at + 4], "big") + 2
        part = bytearray(data[at : at + length])
        if part[1] in (0xC0, 0xC1):
            part[10], part[13], part[16] = 1, 2, 3
        if not 0xE0 <= part[1] <= 0xEF:
            kept.append(bytes(part))
        at += length
    scan = bytearray(data[at:])
    scan[5], scan[7], scan[9] = 1, 2, 3
    return b"".join([*kept, bytes(scan)])


def test_studio_range_colours_are_spread() -> None:
    # ITU-R BT.601 with 219 and 224 steps (PS3.3 C.7.6.3.1.2), written out from the standard.
    forward = np.array(
        [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]
    )
    studio = np.rint(RGB_THW3 / 255 @ forward.T + [16, 128, 128]).astype(np.uint8)
    _, actual = info(made.dicom(studio, made.LS, photometric="YBR_PARTIAL_420"))
    assert worst(actual, RGB_THW3) <= 3


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_applied(bits: int) -> None:
    rng = np.random.default_rng(3)
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    tags = {}
    for channel, colour in enumerate(("Red", "Green", "Blue")):
        column = palette[:, channel].astype("<u2") * (257 if bits == 16 else 1)
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        stored = column.astype("<u2" if bits == 16 else "u1")
        tags[f"{colour}PaletteColorLookupTableData"] = stored.tobytes()
    _, actual = info(made.dicom(GREY_THW, photometric="PALETTE COLOR", **tags))
    assert worst(actual, palette[GREY_THW]) == 0


@pytest.mark.parametrize(
    ("name", "syntax"),
    [("mpeg2.ts", made.MPEG2), ("h264.mp4", made.H264), ("hevc.mp4", made.HEVC)],
)
def test_video_streams_inside_dicom_are_decoded(name: str, syntax: str) -> None:
    facts, actual = info(made.stream((CLIPS / name).read_bytes(), syntax))
    assert (facts.format, facts.kind, len(actual)) == ("dicom", "cine", 12)
    for index, frame in enumerate(actual):
        assert float(np.abs(frame.rgb.astype(int) - drawn(index)).mean()) < 1.5


@pytest.mark.parametrize("syntax", [made.IMPLICIT, made.EXPLICIT, made.BIG])
def test_a_file_without_preamble_and_header_is_read(syntax: str) -> None:
    _, actual = info(made.dicom(GREY_THW, syntax, preamble=False))
    assert worst(actual, GREY_THW) == 0


def test_a_dicom_file_whose_preamble_looks_like_a_tiff_is_dicom() -> None:
    data = made.dicom(GREY_THW)
    assert info(b"II*\0" + data[4:])[0].format == "dicom"


def region(**fields: object) -> Dataset:
    item = Dataset()
    for name, value in fields.items():
        setattr(item, name, value)
    return item


def test_regions_timing_spacing_and_device_are_read_and_the_patient_is_not() -> None:
    area = region(
        RegionLocationMinX0=10,
        RegionLocationMinY0=5,
        RegionLocationMaxX1=80,
        RegionLocationMaxY1=64,  # one too many, as some machines count
        RegionSpatialFormat=1,
        RegionDataType=1,
        PhysicalDeltaX=0.02,
        PhysicalDeltaY=0.03,
        PhysicalUnitsXDirection=3,
        PhysicalUnitsYDirection=3,
    )
    data = made.dicom(
        GREY_THW,
        FrameTime=40,
        Manufacturer="Maker",
        TransducerType="LINEAR",
        BurnedInAnnotation="NO",
        SequenceOfUltrasoundRegions=Sequence([area, region(RegionSpatialFormat=3)]),
    )
    facts, actual = info(data)
    (seen,) = facts.regions
    assert (facts.width_px, facts.height_px) == (96, 96)  # the pixels were 3 high and 2 wide
    assert (seen.x0, seen.y0, seen.x1, seen.y1) == (10, 7, 81, 96)
    assert (seen.spatial_format, seen.unit_x, seen.delta_y) == (1, "cm", pytest.approx(0.02))
    assert facts.spacing_mm == pytest.approx((0.2, 0.2))
    assert facts.frame_rate_hz == 25
    assert [frame.time_s for frame in actual] == [0, 0.04, 0.08]
    assert (facts.device.manufacturer, facts.device.transducer) == ("Maker", "LINEAR")
    assert facts.burned_in is False
    assert made.NAME.encode() in data
    assert made.NAME not in repr(facts)


def test_frames_of_uneven_times_keep_their_times() -> None:
    facts, actual = info(made.dicom(GREY_THW, FrameTimeVector=[0, 30, 50]))
    assert [frame.time_s for frame in actual] == [0, 0.03, 0.08]
    assert facts.frame_rate_hz == pytest.approx(25)


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"Rows": 65535, "Columns": 65535}, ImageTooLarge),
        ({"BitsAllocated": 32, "BitsStored": 32}, UnsupportedFormat),
        ({"SamplesPerPixel": 4}, UnsupportedFormat),
        ({"Rows": 4}, CorruptImage),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, CorruptImage),
    ],
)
def test_what_the_header_cannot_mean_is_named(tags: dict, kind: type[InputError]) -> None:
    with pytest.raises(kind):
        info(made.dicom(GREY_THW, **tags))


def test_a_compressed_frame_of_another_size_than_the_header_is_refused() -> None:
    with pytest.raises(CorruptImage, match="96 x 64"):
        info(made.dicom(GREY_THW, made.J2K_LOSSLESS, Rows=32))


def test_a_syntax_that_is_not_read_is_named() -> None:
    item = made.dataset(GREY_THW, photometric="MONOCHROME2", bits=8)
    item.PixelData = encapsulate([b"\0\0"])
    item["PixelData"].VR = "OB"
    with pytest.raises(UnsupportedFormat, match="JPIP"):
        info(made.written(item, "1.2.840.10008.1.2.4.94"))


def test_a_deflated_bomb_is_left_when_it_is_too_large() -> None:
    frames = np.zeros((200, 200, 400), np.uint8)  # 16 MB of zeros in 16 kB
    data = made.dicom(frames, made.DEFLATED)
    assert len(data) < 100_000
    with pytest.raises(DecodeLimit):
        read(data, Sampling(), DecodeLimits(max_decode_bytes=40_000_000))


def test_only_the_chosen_frames_of_a_cine_are_decoded() -> None:
    frames = np.stack([drawn(index)[..., 1] for index in range(12)])
    damaged = [made.compressed(frame, made.J2K_LOSSLESS, 8) for frame in frames]
    damaged[5] = damaged[5][:60]
    item = made.dataset(frames, photometric="MONOCHROME2", bits=8)
    item.PixelData = encapsulate(damaged)
    item["PixelData"].VR = "OB"
    data = made.written(item, made.J2K_LOSSLESS)
    assert [f.index for f in info(data, "uniform:3")[1]] == [2, 6, 10]
    with pytest.raises(CorruptImage):
        info(data)


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not in the repository")
def test_real_files_of_the_same_picture_agree() -> None:
    folder = REAL / "pydicom+pydicom-data"
    plain, big, rle = (
        info((folder / f"OBXXXX1A{name}.dcm").read_bytes())[1][0].rgb
        for name in ("", "_expb", "_rle")
    )
    assert np.array_equal(plain, big)
    assert np.array_equal(plain, rle)
    pixel, plane = (info((folder / f"color-{n}.dcm").read_bytes())[1][0].rgb for n in ("px", "pl"))
    assert np.array_equal(pixel, plane)
    bare, packed, lossy = (
        info((folder / f"US1_{n}.dcm").read_bytes())[1][0].rgb.astype(int)
        for n in ("UNCR", "J2KR", "J2KI")
    )
    assert np.array_equal(bare, packed)
    assert np.abs(bare - lossy).mean() < 2
