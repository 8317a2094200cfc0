"""Where the scan is: declared, found in pixels, found by motion, or given."""

import cv2
import numpy as np
import pytest
from screens import crowded_screen, fan, screen, sector, speckle

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


def used_of(frame: np.ndarray, found: tuple[regions.Region, ...]) -> np.ndarray:
    """Where any of the regions is, bool (H, W)."""
    is_used = np.zeros(frame.shape[:2], bool)
    for region in found:
        inside = region.mask()
        x0, y0, x1, y1 = region.box
        is_used[y0:y1, x0:x1] |= True if inside is None else inside
    return is_used


FURNITURE = [
    ("top",),
    ("bottom",),
    ("top", "right"),
    ("left", "right"),
    ("top", "bottom", "left", "right"),
]


@pytest.mark.parametrize("furniture", FURNITURE)
@pytest.mark.parametrize("header", [(41, 61, 107), (0, 0, 255), (70, 70, 70), (225, 225, 230)])
def test_headers_and_panels_that_touch_the_scan_are_no_part_of_it(
    furniture: tuple[str, ...], header: tuple[int, int, int]
) -> None:
    for pane in (speckle(500, 500, 1), fan(440, 500, 2)):
        frame, (box,), is_drawn = crowded_screen(
            [pane], furniture=furniture, header_rgb=header, line=False, gap=0
        )
        found = regions.panes(frame)
        assert len(found) == 1
        is_used = used_of(frame, found)
        is_lit = ~is_drawn & (frame.max(2) > 20)
        x0, y0, x1, y1 = box
        assert (is_used & is_lit)[y0:y1, x0:x1].sum() > 0.96 * is_lit[y0:y1, x0:x1].sum()
        assert (is_used & is_drawn).sum() <= 0.02 * is_drawn.sum()
        assert found[0].confidence < 1


def test_a_header_whose_grey_changes_from_side_to_side_or_down_is_cut_off() -> None:
    for axis in (0, 1):
        frame, (box,), is_drawn = crowded_screen([speckle(500, 500)], furniture=("top",), gap=0)
        length = (40, 640)[axis]
        ramp = np.linspace(0.5, 1.8, length).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        frame[:40] = np.clip(frame[:40] * ramp, 0, 255).astype(np.uint8)
        found = regions.panes(frame)
        assert overlap(found[0].box, box) > 0.9
        assert not (used_of(frame, found) & is_drawn).any()


def test_a_header_of_the_grey_of_the_tissue_is_cut_off_and_compression_changes_nothing() -> None:
    tissue = speckle(500, 500, 5)
    grey = int(tissue[:60].mean())
    frame, (box,), is_drawn = crowded_screen(
        [tissue], furniture=("top", "left"), header_rgb=(grey, grey, grey), gap=0
    )
    _, coded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 85])
    for shown in (frame, np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))):
        found = regions.panes(shown)
        assert overlap(found[0].box, box) > 0.9
        assert (used_of(frame, found) & is_drawn).mean() < 0.01


@pytest.mark.parametrize("line", [True, False])
def test_two_panes_under_a_header_and_beside_a_panel_are_two_regions(line: bool) -> None:
    for panes in (
        [speckle(380, 300, 1), fan(400, 300, 2)],
        [fan(400, 300, 3), fan(380, 300, 4)],
        [speckle(400, 300, 5), speckle(400, 300, 6)],
    ):
        frame, boxes, is_drawn = crowded_screen(panes, line=line)
        found = sorted(regions.panes(frame), key=lambda region: region.box[0])
        assert [overlap(r.box, box) > 0.7 for r, box in zip(found, boxes, strict=True)] == [
            True
        ] * 2
        assert not (used_of(frame, tuple(found)) & is_drawn).any()
        assert max(region.confidence for region in found) < 1


def test_four_panes_with_lines_between_them_are_four_regions() -> None:
    frame = np.zeros((480, 640), np.uint8)
    for number in range(4):
        left, top = 320 * (number % 2), 240 * (number // 2)
        frame[top + 12 : top + 228, left + 14 : left + 306] = speckle(216, 292, number)
        cv2.rectangle(frame, (left, top), (left + 319, top + 239), (90,), 1)
    found = regions.panes(frame)
    assert len(found) == 4
    assert all(overlap(region.box, (0, 0, 640, 480)) < 0.25 for region in found)


@pytest.mark.parametrize("start", [0.0, 0.05])
def test_a_scan_with_a_dark_shadow_in_its_middle_is_one_region(start: float) -> None:
    frame, box = screen()
    x0, y0, x1, y1 = box
    across = np.abs(np.arange(x1 - x0) - (x1 - x0) / 2)
    shadow = 1 / (1 + np.exp((25 - across) / 4))  # soft on both sides, as shadows are
    depth = np.linspace(0, 1, y1 - y0)[:, None] >= start
    tissue = frame[y0:y1, x0:x1] * np.where(depth, shadow[None], 1)
    frame[y0:y1, x0:x1] = tissue.astype(np.uint8)
    assert len(regions.panes(frame)) == 1
    assert len(regions.panes(frame[y0:y1, x0:x1])) == 1


def test_a_black_layer_from_side_to_side_and_a_cursor_do_not_divide_a_scan() -> None:
    frame, (x0, y0, x1, y1) = screen()
    layer = frame.copy()
    layer[y0 + 150 : y0 + 260, x0:x1] = 0  # the vitreous body of an eye
    assert len(regions.panes(layer)) == 1
    cursor = frame.copy()
    cursor[y0:y1, 418:420] = 230
    assert len(regions.panes(cursor)) == 1


def test_a_preview_beside_the_scan_is_no_pane() -> None:
    frame, (x0, y0, _, _) = screen()
    frame[y0 : y0 + 90, 80:190] = speckle(90, 110, 7)
    found = regions.panes(frame)
    assert len(found) == 1
    assert found[0].box[0] == pytest.approx(x0, abs=8)


def test_without_a_scan_the_furniture_is_cut_off_all_the_same() -> None:
    frame, _, is_drawn = crowded_screen([np.full((400, 500), 3, np.uint8)])
    found = regions.panes(frame)
    assert not (used_of(frame, found) & is_drawn).any()
    assert found[0].confidence < 0.1


def test_two_panes_that_move_are_two_regions_of_a_clip() -> None:
    frames = np.zeros((5, 300, 600), np.uint8)
    for t in range(5):
        frames[t, 30:270, 20:280] = speckle(240, 260, 2 * t)
        frames[t, 30:270, 320:580] = speckle(240, 260, 2 * t + 1)
    found = sorted(regions.clip_panes(frames), key=lambda region: region.box)
    assert [region.source for region in found] == ["motion"] * 2
    assert overlap(found[0].box, (20, 30, 280, 270)) > 0.9
    assert overlap(found[1].box, (320, 30, 580, 270)) > 0.9


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


@pytest.mark.parametrize("height", [12, 30])
def test_a_near_field_over_black_stays_in_a_declared_region(height: int) -> None:
    frame = np.zeros((420, 500), np.uint8)
    frame[20 : 20 + height, 20:480] = speckle(height, 460, 1)  # skin, then a standoff or fluid
    frame[150:400, 20:480] = speckle(250, 460, 2)
    (region,) = regions.declared([dicom_region(0, 0, 500, 420)], *frame.shape)
    assert regions.within(region, frame).box[1] <= 24


def test_a_saturated_near_field_and_the_apex_of_a_fan_stay_in_a_declared_region() -> None:
    frame = speckle(420, 500, 4)
    frame[:30] = 255
    (region,) = regions.declared([dicom_region(0, 0, 500, 420)], *frame.shape)
    assert regions.within(region, frame).box[1] <= 4
    sector_HW = fan(420, 500, 5)
    tight = regions.within(region, sector_HW)
    lit = sector_HW[:60] > 20
    assert used_of(sector_HW, (tight,))[:60][lit].mean() > 0.9


def test_a_declared_box_that_holds_nothing_stays() -> None:
    (region,) = regions.declared([dicom_region(10, 10, 200, 200)], 300, 400)
    assert regions.within(region, np.zeros((300, 400), np.uint8)) == region


def test_a_callers_box_is_taken_as_it_is_or_refused() -> None:
    assert regions.given((0, 0, 400, 300), 300, 400).source == "caller"
    for box in ((0, 0, 401, 300), (-1, 0, 50, 50), (10, 10, 17, 60), (50, 50, 20, 90)):
        with pytest.raises(InputError, match="region"):
            regions.given(box, 300, 400)
