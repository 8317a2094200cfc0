"""Where the scan is: declared, found in pixels, found by motion, or given."""

import numpy as np
import pytest
from screens import screen, sector, speckle

from service.errors import InputError
from service.imaging.analysis import regions
from service.imaging.formats.frames import DicomRegion


def overlap(one: regions.Box, other: regions.Box) -> float:
    across = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return across * down / (areas - across * down)


@pytest.mark.parametrize("seed", range(4))
def test_a_rectangle_among_banner_ruler_and_bar_is_found(seed: int) -> None:
    frame, box = screen(seed)
    region = regions.from_pixels(frame)
    assert region.source == "pixels"
    assert region.confidence > 0.8
    assert overlap(region.box, box) > 0.93


def test_a_sector_is_outlined_and_writing_in_the_corner_of_its_box_is_cut() -> None:
    frame, inside = sector()
    region = regions.from_pixels(frame)
    used = regions.cut(frame, region)
    x0, y0, x1, y1 = region.box
    outside = ~inside[y0:y1, x0:x1]
    assert region.outline
    # The hull runs straight over the curved top of the sector, and nowhere else.
    assert (used[outside] > 0).mean() < 0.08
    assert (used > 0).sum() > 0.95 * inside.sum()


def test_tissue_that_fills_the_frame_is_the_whole_frame() -> None:
    region = regions.from_pixels(speckle(300, 400))
    assert region.box == (0, 0, 400, 300)
    assert region.confidence == 1
    assert region.mask() is None


def test_a_scan_on_a_white_page_is_found() -> None:
    page = np.full((400, 500), 255, np.uint8)
    page[100:300, 150:400] = speckle(200, 250)
    assert overlap(regions.from_pixels(page).box, (150, 100, 400, 300)) > 0.9


def test_colour_frames_and_small_ones_are_searched_as_well() -> None:
    frame, box = screen()
    assert overlap(regions.from_pixels(np.stack([frame] * 3, axis=-1)).box, box) > 0.93
    assert regions.from_pixels(speckle(60, 60)).box == (0, 0, 60, 60)
    assert regions.from_pixels(np.zeros((8, 8), np.uint8)).source == "whole"


def test_an_empty_frame_has_no_region() -> None:
    region = regions.from_pixels(np.zeros((300, 400), np.uint8))
    assert region == regions.whole(300, 400)
    assert region.confidence == 0


def test_motion_tells_tissue_from_a_still_picture_beside_it() -> None:
    frames = np.zeros((6, 300, 500), np.uint8)
    frames[:, 40:260, 20:180] = speckle(220, 160, seed=9)
    for t in range(6):
        frames[t, 40:260, 220:480] = speckle(220, 260, seed=t)
    region = regions.from_clip(frames)
    assert region.source == "motion"
    assert overlap(region.box, (220, 40, 480, 260)) > 0.9


def test_a_clip_in_which_nothing_moves_is_searched_as_a_still() -> None:
    frame, box = screen()
    region = regions.from_clip(np.stack([frame] * 3))
    assert region.source == "pixels"
    assert overlap(region.box, box) > 0.93


def test_a_clip_must_be_uint8_of_three_axes() -> None:
    with pytest.raises(InputError, match="T, H, W"):
        regions.from_clip(np.zeros((3, 4), np.uint8))


def dicom_region(
    x0: int, y0: int, x1: int, y1: int, spatial: int = 1, **more: object
) -> DicomRegion:
    return DicomRegion(x0, y0, x1, y1, spatial, 1, **more)  # type: ignore[arg-type]


def test_only_2d_regions_count_the_largest_first_and_none_inside_another() -> None:
    areas = regions.declared(
        [
            dicom_region(0, 0, 100, 100),
            dicom_region(110, 0, 390, 280, delta_x=-0.02, delta_y=0.03, unit_x="cm", unit_y="cm"),
            dicom_region(150, 50, 200, 90),
            dicom_region(0, 200, 100, 290, spatial=3),
            dicom_region(0, 200, 100, 290, spatial=2),
            dicom_region(0, 0, 4, 4),
        ],
        height_px=300,
        width_px=400,
    )
    assert [item.box for item in areas] == [(110, 0, 390, 280), (0, 0, 100, 100)]
    assert areas[0].spacing_mm == pytest.approx((0.3, 0.2))
    assert areas[1].spacing_mm is None


def test_a_declared_box_is_cut_to_the_frame_and_tightened_to_the_scan() -> None:
    frame, box = screen()
    (region,) = regions.declared([dicom_region(-5, -5, 900, 900)], *frame.shape)
    assert region.box == (0, 0, 800, 600)
    tight = regions.within(region, frame)
    assert tight.source == "declared"
    assert overlap(tight.box, box) > 0.93


def test_a_declared_box_that_holds_nothing_stays() -> None:
    (region,) = regions.declared([dicom_region(10, 10, 200, 200)], 300, 400)
    assert regions.within(region, np.zeros((300, 400), np.uint8)) == region


def test_a_callers_box_is_taken_as_it_is_or_refused() -> None:
    assert regions.given((0, 0, 400, 300), 300, 400).source == "caller"
    for box in ((0, 0, 401, 300), (-1, 0, 50, 50), (10, 10, 17, 60), (50, 50, 20, 90)):
        with pytest.raises(InputError, match="region"):
            regions.given(box, 300, 400)
