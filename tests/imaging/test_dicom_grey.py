"""Grey DICOM values are shown by one scale for the whole file, and by tags that can be true."""

import itertools

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from service.imaging.formats.frames import Correction, DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from tests.imaging import dicom_files as made

LIMITS = DecodeLimits(max_pixels=10**7, max_decode_bytes=10**8, max_clip_frames=500)
WIDE = (made.IMPLICIT, made.EXPLICIT, made.BIG, made.RLE, made.SV1, made.LS, made.J2K_LOSSLESS)
NEWER = (made.HTJ2K_LOSSLESS, made.JXL_LOSSLESS)


def opened(data: bytes, frames: str = "all") -> tuple[ImageInfo, list[DecodedFrame]]:
    image = read(data, parse_sampling(frames), LIMITS)
    return image.info, list(image.frames)


def grey(data: bytes) -> np.ndarray:
    return np.stack([frame.grey for frame in opened(data)[1]])


def picture(highest: int, frames: int = 4) -> np.ndarray:
    """Mostly black, with every value up to ``highest`` somewhere; blank but for noise at first."""
    rng = np.random.default_rng(1)
    ramp = np.linspace(0, 1, 64 * 96).reshape(64, 96) ** 2
    shown = np.stack([ramp * highest * (0.8 + 0.2 * i / (frames - 1)) for i in range(frames)])
    shown[0] = rng.integers(0, 6, (64, 96))
    return np.rint(shown).astype(np.uint16)


def close(actual: np.ndarray, expected: np.ndarray) -> bool:
    return int(np.abs(actual.astype(int) - np.rint(np.clip(expected, 0, 255))).max()) <= 1


@pytest.mark.parametrize("syntax", [*WIDE, *NEWER])
@pytest.mark.parametrize(("stored", "highest"), [(12, 4000), (16, 4000), (16, 60_000), (10, 900)])
def test_a_blank_first_frame_does_not_set_the_scale(syntax, stored, highest) -> None:
    frames = picture(highest)
    top = 2 ** (12 if highest == 4000 else stored) - 1
    data = made.dicom(frames, syntax, bits=stored)
    shown = grey(data)
    assert close(shown, frames / top * 255)
    for sampling, order in (("uniform:2", (1, 3)), ("uniform:1", (2,)), ("different:3", None)):
        chosen = opened(data, sampling)[1]
        assert order is None or [frame.index for frame in chosen] == list(order)
        for frame in chosen:
            assert np.array_equal(frame.grey, shown[frame.index])


def test_the_order_of_the_frames_does_not_matter() -> None:
    frames = picture(4000)
    expected = grey(made.dicom(frames, bits=16))
    for order in itertools.permutations(range(4)):
        shown = grey(made.dicom(frames[list(order)], bits=16))
        assert np.array_equal(shown, expected[list(order)])


def test_a_still_is_shown_as_a_cine_of_the_same_values() -> None:
    for values in picture(4000)[1:]:
        still = grey(made.dicom(values[None], bits=12))[0]
        cine = grey(made.dicom(np.stack([values, values]), bits=12))
        assert np.array_equal(still, cine[0])
        assert np.array_equal(still, cine[1])


def test_a_damaged_frame_that_nobody_asks_for_does_not_matter() -> None:
    frames = picture(4000)
    packed = [made.compressed(frame, made.J2K_LOSSLESS, 16) for frame in frames]
    packed[1] = packed[1][:60] + b"\xff\xd9"
    item = made.dataset(frames, photometric="MONOCHROME2", bits=16)
    item.PixelData = encapsulate(packed)
    item["PixelData"].VR = "OB"
    (frame,) = opened(made.written(item, made.J2K_LOSSLESS), "uniform:1")[1]
    assert close(frame.grey, frames[2] / 4095 * 255)


@pytest.mark.parametrize("syntax", [made.EXPLICIT, made.BIG, made.RLE, made.LS])
def test_samples_at_the_top_of_their_words_are_read(syntax: str) -> None:
    frames = picture(4000)
    data = made.dicom(frames << 4 | 9, syntax, bits=12, HighBit=15)
    assert close(grey(data), frames / 4095 * 255)
    windowed = made.dicom(
        frames << 4, syntax, bits=12, HighBit=15, WindowCenter=1000, WindowWidth=400
    )
    assert close(grey(windowed), ((frames - 999.5) / 399 + 0.5) * 255)


def test_overlays_in_unused_bits_are_not_shown() -> None:
    frames = picture(4000)
    covered = frames.copy()
    covered[:, 10:30, 20:60] |= 0x8000
    covered[:, 20:40] |= 0x1000
    assert np.array_equal(grey(made.dicom(covered, bits=12)), grey(made.dicom(frames, bits=12)))


@pytest.mark.parametrize("high", [3, 16, 40])
def test_an_impossible_high_bit_is_not_believed(high: int) -> None:
    frames = picture(4000)
    assert close(grey(made.dicom(frames, bits=12, HighBit=high)), frames / 4095 * 255)


def test_samples_larger_than_the_bits_stored_do_not_wrap() -> None:
    frames = picture(4000)
    assert close(grey(made.dicom(frames, bits=8)), frames / 4095 * 255)
    narrow = (frames >> 4).astype(np.uint8)
    assert close(grey(made.dicom(narrow, bits=7)), narrow)
    assert close(grey(made.dicom(narrow >> 1, bits=7)), (narrow >> 1) / 127 * 255)


@pytest.mark.parametrize("syntax", [made.EXPLICIT, made.LS, made.J2K_LOSSLESS])
def test_signed_values_without_negative_ones_start_at_black(syntax: str) -> None:
    frames = picture(2000)
    for stored in (12, 16):
        data = made.dicom(frames, syntax, bits=stored, PixelRepresentation=1)
        top = 2047 if stored == 12 else 4095
        assert close(grey(data), frames / top * 255)


def test_a_little_noise_below_zero_is_black() -> None:
    frames = picture(3000).astype(np.int16) - 3
    data = made.dicom(frames.view(np.uint16), bits=16, PixelRepresentation=1)
    assert close(grey(data), np.clip(frames, 0, None) / 4095 * 255)


def lut(
    count: int, first: int, bits: int, entries: np.ndarray, *, is_words: bool = True
) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [count % 2**16, first, bits]
    item.LUTData = entries.astype("<u2" if is_words else "u1").tobytes()
    item["LUTData"].VR = "OW"
    return item


CURVE = np.rint(255 * np.sqrt(np.arange(4096) / 4095)).astype(int)


@pytest.mark.parametrize("syntax", [made.IMPLICIT, made.EXPLICIT, made.RLE])
@pytest.mark.parametrize(
    ("bits", "scale", "is_words"), [(8, 1, True), (8, 1, False), (16, 257, True), (12, 16, True),
                                    (16, 1, True)]
)  # fmt: skip
def test_a_voi_lut_is_applied(syntax, bits, scale, is_words) -> None:
    frames = picture(4000)
    table = lut(4096, 0, bits, CURVE * scale, is_words=is_words)
    data = made.dicom(
        frames, syntax, bits=12, VOILUTSequence=Sequence([table]), WindowCenter=9, WindowWidth=3
    )
    assert close(grey(data), CURVE[frames])
    assert opened(data)[0].corrections == ()
    inverted = made.dicom(
        frames, syntax, bits=12, VOILUTSequence=Sequence([table]), photometric="MONOCHROME1"
    )
    assert close(grey(inverted), 255 - CURVE[frames])


@pytest.mark.parametrize("syntax", [made.IMPLICIT, made.EXPLICIT, made.DEFLATED, made.BIG])
@pytest.mark.parametrize("packing", ["words", "bytes", "list"])
def test_a_voi_lut_clamps_what_lies_outside_and_may_begin_below_zero(syntax, packing) -> None:
    frames = (picture(4000).astype(np.int16) - 2000).astype(np.int16)
    entries = np.arange(1000) // 4
    order = ">u2" if syntax == made.BIG else "<u2"
    table = Dataset()
    table.LUTDescriptor = [1000, -500, 8]
    if packing == "list":
        table.add_new("LUTData", "US", entries.tolist())
    else:
        words = entries if packing == "words" else entries.astype("u1").view("<u2")
        table.add_new("LUTData", "OW", words.astype(order).tobytes())
    tags = {"PixelRepresentation": 1, "VOILUTSequence": Sequence([table])}
    data = made.dicom(frames.view(np.uint16), syntax, bits=16, **tags)
    expected = np.clip(frames.astype(int) + 500, 0, 999) // 4
    assert close(grey(data), expected)


def test_a_modality_lut_comes_before_the_window() -> None:
    frames = picture(4000)
    table = lut(4096, 0, 16, CURVE * 100)
    tags = {"ModalityLUTSequence": Sequence([table])}
    assert close(grey(made.dicom(frames, bits=12, **tags)), CURVE[frames] * 100 / 65535 * 255)
    data = made.dicom(frames, bits=12, WindowCenter=12_750, WindowWidth=25_501, **tags)
    assert close(grey(data), ((CURVE[frames] * 100 - 12_749.5) / 25_500 + 0.5) * 255)


def test_the_window_applies_to_rescaled_values() -> None:
    frames = picture(4000)
    tags = {"RescaleSlope": "2", "RescaleIntercept": "-1000"}
    data = made.dicom(frames, bits=12, WindowCenter=1000, WindowWidth=3000, **tags)
    assert close(grey(data), ((frames * 2 - 1000.0 - 999.5) / 2999 + 0.5) * 255)
    turned = {"RescaleSlope": "-1", "RescaleIntercept": "4095"}
    data = made.dicom(frames, bits=12, WindowCenter=2048, WindowWidth=4096, **turned)
    assert close(grey(data), 255 - frames / 4095 * 255)
    assert close(grey(made.dicom(frames, bits=12, **turned)), 255 - frames / 4095 * 255)


@pytest.mark.parametrize(
    ("function", "share"),
    [
        ("LINEAR", lambda v: (v - 999.5) / 799 + 0.5),
        ("LINEAR_EXACT", lambda v: (v - 1000) / 800 + 0.5),
        ("SIGMOID", lambda v: 1 / (1 + np.exp(-4 * (v - 1000) / 800))),
    ],
)
def test_each_voi_function_is_applied_as_the_standard_says(function, share) -> None:
    frames = picture(4000)
    data = made.dicom(frames, bits=12, WindowCenter=1000, WindowWidth=800, VOILUTFunction=function)
    assert close(grey(data), share(frames.astype(float)) * 255)


def test_the_first_window_that_contains_pixels_is_used() -> None:
    frames = picture(4000)
    expected = ((frames - 999.5) / 799 + 0.5) * 255
    several = {"WindowCenter": [1000, 3000], "WindowWidth": [800, 100]}
    data = made.dicom(frames, bits=12, **several)
    assert close(grey(data), expected)
    assert opened(data)[0].corrections == ()
    first_is_off = {"WindowCenter": [90_000, 1000], "WindowWidth": [100, 800]}
    data = made.dicom(frames, bits=12, **first_is_off)
    assert close(grey(data), expected)
    assert opened(data)[0].corrections == (Correction("window", 90_000, 1000),)


@pytest.mark.parametrize("syntax", [made.EXPLICIT, made.LS])
@pytest.mark.parametrize(
    ("centre", "width"),
    [(90_000, 100), (-500, 100), (2000, 1), (2000, 2), (3000, 0), (2000, -5), (40.5, 1)],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_a_window_that_contains_no_pixel_is_not_believed(
    syntax, centre, width, photometric
) -> None:
    frames = picture(4000)
    plain = made.dicom(frames, syntax, bits=12, photometric=photometric)
    data = made.dicom(
        frames, syntax, bits=12, photometric=photometric, WindowCenter=centre, WindowWidth=width
    )
    info, shown = opened(data)
    assert info.corrections == (Correction("window", centre, None),)
    assert np.array_equal(np.stack([frame.grey for frame in shown]), grey(plain))
    (alone,) = opened(data, "uniform:1")[1]
    assert np.array_equal(alone.grey, shown[2].grey)


def test_a_window_of_eight_bit_pixels_is_judged_too() -> None:
    frames = (picture(4000) >> 4).astype(np.uint8)
    data = made.dicom(frames, WindowCenter=2048, WindowWidth=100)
    assert close(grey(data), frames)
    assert opened(data)[0].corrections == (Correction("window", 2048, None),)


def test_a_window_is_judged_by_the_whole_file() -> None:
    frames = picture(4000)  # the window contains no pixel of the first frame
    data = made.dicom(frames, bits=12, WindowCenter=2000, WindowWidth=1000)
    assert opened(data)[0].corrections == ()
    expected = ((frames - 1999.5) / 999 + 0.5) * 255
    assert close(grey(data), expected)
    for frame in opened(data, "uniform:2")[1]:
        assert close(frame.grey, expected[frame.index])


def test_a_mask_keeps_the_window_that_tells_its_two_values_apart() -> None:
    mask = np.zeros((1, 64, 96), np.uint8)
    mask[0, 10:20, 10:50] = 1
    data = made.dicom(mask, WindowCenter=0.5, WindowWidth=1, bits=8)
    assert opened(data)[0].corrections == ()
    assert np.array_equal(grey(data), mask * 255)


def test_a_damaged_voi_lut_is_left_out_and_named() -> None:
    frames = picture(4000)
    broken = Dataset()
    broken.LUTDescriptor = [4096, 0, 16]
    plain = grey(made.dicom(frames, bits=12))
    for table in (broken, Dataset(), lut(4096, 0, 8, np.full(4096, 7))):
        data = made.dicom(frames, bits=12, VOILUTSequence=Sequence([table]))
        assert np.array_equal(grey(data), plain)
        assert opened(data)[0].corrections == (Correction("window", None, None),)


def test_inverse_presentation_turns_once() -> None:
    frames = (picture(4000) >> 4).astype(np.uint8)
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        data = made.dicom(frames, photometric=photometric, PresentationLUTShape="INVERSE")
        assert close(grey(data), 255 - frames)
    data = made.dicom(frames, PresentationLUTShape="IDENTITY")
    assert close(grey(data), frames)


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("padding", [65_535, 30_000])
def test_padding_is_black_and_does_not_stretch_the_scale(photometric, padding) -> None:
    frames = picture(4000)
    expected = frames / 4095 * 255
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    padded = frames.copy()
    padded[:, :, :20] = padding
    expected[:, :, :20] = 0
    data = made.dicom(padded, bits=16, photometric=photometric, PixelPaddingValue=padding)
    assert close(grey(data), expected)


def test_a_range_of_padding_below_signed_values_is_black() -> None:
    frames = picture(3000).astype(np.int16)
    padded = frames.copy()
    padded[:, :10], padded[:, -10:] = -2000, -1990
    expected = frames / 4095 * 255
    expected[:, :10], expected[:, -10:] = 0, 0
    data = made.dicom(
        padded.view(np.uint16),
        bits=16,
        PixelRepresentation=1,
        PixelPaddingValue=-2000,
        PixelPaddingRangeLimit=-1990,
    )
    assert close(grey(data), expected)


def test_padding_that_equals_tissue_is_tissue() -> None:
    frames = (picture(4080) >> 4).astype(np.uint8)
    data = made.dicom(frames, PixelPaddingValue=int(frames.max()))
    assert close(grey(data), frames)


def tables(columns: np.ndarray, descriptor: list[int], *, is_words: bool) -> dict[str, object]:
    tags: dict[str, object] = {}
    for channel, colour in enumerate(("Red", "Green", "Blue")):
        stored = columns[:, channel].astype("<u2" if is_words else "u1").tobytes()
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = descriptor
        tags[f"{colour}PaletteColorLookupTableData"] = stored
    return tags


PALETTE_L3 = np.random.default_rng(3).integers(0, 256, (200, 3))
PALETTE_L3[0] = 255


@pytest.mark.parametrize("syntax", [made.EXPLICIT, made.RLE, made.LS])
@pytest.mark.parametrize(
    ("bits", "scale", "is_words"),
    [(8, 1, True), (8, 1, False), (16, 257, True), (16, 256, True), (16, 1, True), (16, 16, True)],
)
@pytest.mark.parametrize("first", [0, 20])
def test_palettes_of_every_kind_are_applied(syntax, bits, scale, is_words, first) -> None:
    indexes = np.tile(np.arange(256, dtype=np.uint8), (1, 24, 1))
    tags = tables(PALETTE_L3 * scale, [200, first, bits], is_words=is_words)
    _, (frame,) = opened(made.dicom(indexes, syntax, photometric="PALETTE COLOR", **tags))
    expected = PALETTE_L3[np.clip(indexes[0].astype(int) - first, 0, 199)]
    assert np.array_equal(frame.rgb, expected)


def test_a_palette_of_words_is_applied() -> None:
    indexes = (np.arange(24 * 256).reshape(1, 24, 256) * 9 % 4096).astype(np.uint16)
    columns = np.random.default_rng(5).integers(0, 256, (4096, 3)) * 257
    for shift in (0, 4):
        tags = tables(columns, [4096, 0, 16], is_words=True)
        data = made.dicom(
            indexes << shift, bits=12, HighBit=11 + shift, photometric="PALETTE COLOR", **tags
        )
        assert np.array_equal(opened(data)[1][0].rgb, columns[indexes[0]] // 257)


def test_a_segmented_palette_is_expanded() -> None:
    # One discrete entry, then a line to the end (PS3.3 C.7.9.2.1).
    segments = np.array([0, 1, 0, 1, 255, 255 * 257], "<u2").tobytes()
    tags: dict[str, object] = {}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"Segmented{colour}PaletteColorLookupTableData"] = segments
    indexes = np.tile(np.arange(256, dtype=np.uint8), (1, 24, 1))
    _, (frame,) = opened(made.dicom(indexes, photometric="PALETTE COLOR", **tags))
    assert close(frame.grey, indexes[0])
