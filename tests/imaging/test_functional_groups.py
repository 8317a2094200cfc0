"""Enhanced DICOM objects are shown and measured as their functional groups say."""

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from service.imaging.formats.frames import Correction, DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from tests.imaging import dicom_files as made

ENHANCED_US_VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"
FRAMES = np.linspace(20_000, 21_000, 3 * 64 * 96).reshape(3, 64, 96).astype(np.uint16)
# PS3.3 C.11.2.1.2.1
IN_WINDOW = np.clip((FRAMES - 20_399.5) / 800 + 0.5, 0, 1) * 255


def item(**tags: Any) -> Dataset:
    made_item = Dataset()
    for name, value in tags.items():
        setattr(made_item, name, value)
    return made_item


def group(
    centre: float | None = 20_400, slope: float | None = 1, row_mm: float | None = 0.3
) -> Dataset:
    """The functional groups of a file or a frame; None leaves one out."""
    groups = item()
    if centre is not None:
        window = item(WindowCenter=centre, WindowWidth=801)
        groups.FrameVOILUTSequence = Sequence([window])
    if slope is not None:
        values = item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US")
        groups.PixelValueTransformationSequence = Sequence([values])
    if row_mm is not None:
        groups.PixelMeasuresSequence = Sequence([item(PixelSpacing=[row_mm, 0.3])])
    return groups


def enhanced(
    shared: Dataset, frames: list[Dataset] | None = None, syntax: str = made.EXPLICIT, **tags: Any
) -> bytes:
    tags["SharedFunctionalGroupsSequence"] = Sequence([shared])
    if frames is not None:
        tags["PerFrameFunctionalGroupsSequence"] = Sequence(frames)
    return made.dicom(FRAMES, syntax, bits=16, SOPClassUID=ENHANCED_US_VOLUME, **tags)


def opened(data: bytes) -> tuple[ImageInfo, list[DecodedFrame]]:
    image = read(data, Sampling(), DecodeLimits())
    return image.info, list(image)


def difference(frames: list[DecodedFrame], expected: np.ndarray) -> float:
    return float(np.abs(np.stack([frame.grey for frame in frames]) - expected).max())


@pytest.mark.parametrize("syntax", [made.IMPLICIT, made.EXPLICIT, made.BIG, made.RLE, made.LS])
def test_window_and_spacing_that_all_frames_share_are_used(syntax: str) -> None:
    info, frames = opened(enhanced(group(), syntax=syntax))
    assert difference(frames, IN_WINDOW) <= 1
    assert info.spacing_mm == (0.3, 0.3)
    assert info.corrections == ()


def test_groups_of_each_frame_that_say_the_same_hold_for_the_file() -> None:
    info, frames = opened(enhanced(item(), [group() for _ in FRAMES]))
    assert difference(frames, IN_WINDOW) <= 1
    assert info.spacing_mm == (0.3, 0.3)
    assert info.corrections == ()


def test_pixels_that_are_not_square_become_square_by_the_groups() -> None:
    info, frames = opened(enhanced(group(row_mm=0.6)))
    assert (info.width_px, info.height_px) == (96, 128)
    assert frames[0].grey.shape == (128, 96)
    assert info.spacing_mm == pytest.approx((0.3, 0.3))


def test_the_window_of_the_groups_is_in_units_of_their_rescaling() -> None:
    doubled = group(centre=40_800, slope=2)
    doubled.FrameVOILUTSequence[0].WindowWidth = 1601
    _, frames = opened(enhanced(doubled))
    expected = np.clip((FRAMES * 2.0 - 40_799.5) / 1600 + 0.5, 0, 1) * 255
    assert difference(frames, expected) <= 1


def test_a_voi_lut_of_the_groups_is_applied() -> None:
    table = item(LUTDescriptor=[1024, 20_000, 8])
    table.LUTData = (np.arange(1024) // 4).astype("<u2").tobytes()
    table["LUTData"].VR = "OW"
    groups = item(FrameVOILUTSequence=Sequence([item(VOILUTSequence=Sequence([table]))]))
    _, frames = opened(enhanced(groups))
    assert difference(frames, (FRAMES.astype(int) - 20_000) // 4) <= 1


@pytest.mark.parametrize(
    "frames",
    [
        [group(), group(centre=20_700), group()],
        [group(), group(centre=None), group()],
        [group(), group(slope=2), group(slope=4)],
    ],
    ids=["windows differ", "one has no window", "rescaling differs"],
)
def test_windows_that_differ_between_frames_are_not_used_and_named(frames) -> None:
    info, shown = opened(enhanced(item(), frames))
    assert info.corrections == (Correction("window", 20_400),)
    assert difference(shown, FRAMES / 65_535 * 255) <= 1
    assert info.spacing_mm == (0.3, 0.3)


def test_sizes_of_pixels_that_differ_between_frames_are_not_used_and_named() -> None:
    info, shown = opened(enhanced(item(), [group(), group(), group(row_mm=0.6)]))
    assert info.corrections == (Correction("spacing", 0.3),)
    assert info.spacing_mm is None
    assert difference(shown, IN_WINDOW) <= 1


def test_what_the_file_states_at_the_top_counts_more() -> None:
    tags = {"WindowCenter": 20_600, "WindowWidth": 401, "PixelSpacing": [0.2, 0.2]}
    info, frames = opened(enhanced(group(), **tags))
    assert difference(frames, np.clip((FRAMES - 20_599.5) / 400 + 0.5, 0, 1) * 255) <= 1
    assert info.spacing_mm == (0.2, 0.2)
    assert info.corrections == ()


@pytest.mark.parametrize("frames", [None, [], [item()]])
def test_groups_without_grey_values_and_sizes_change_nothing(frames) -> None:
    info, shown = opened(enhanced(item(), frames))
    assert difference(shown, FRAMES / 65_535 * 255) <= 1
    assert (info.spacing_mm, info.corrections) == (None, ())
