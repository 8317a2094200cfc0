"""The shape and size of pixels, and the declared regions: squared, or not believed and told."""

from pathlib import Path
from typing import Any

import cv2
import dicom_files as made
import numpy as np
import pytest
from pydicom.dataset import Dataset
from screens import speckle

from service.errors import ImageTooLarge
from service.imaging.formats.frames import Correction, DecodedFrame, DecodedImage, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from service.imaging.formats.square_pixels import squared_frame, squared_info

CLIPS = Path(__file__).parents[1] / "fixtures" / "clips"
TISSUE = speckle(270, 400)
CM = {"PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3}


def area(box: tuple[int, int, int, int], **tags: Any) -> Dataset:
    """An item of SequenceOfUltrasoundRegions; the box is half open."""
    x0, y0, x1, y1 = box
    item = Dataset()
    tags = {"RegionSpatialFormat": 1, "RegionDataType": 1, **tags}
    corners = {"MinX0": x0, "MinY0": y0, "MaxX1": x1 - 1, "MaxY1": y1 - 1}
    for name, value in {**tags, **{f"RegionLocation{k}": v for k, v in corners.items()}}.items():
        setattr(item, name, value)
    return item


def scaled(box: tuple[int, int, int, int], row_cm: float, column_cm: float) -> Dataset:
    return area(box, PhysicalDeltaX=column_cm, PhysicalDeltaY=row_cm, **CM)


def opened(limits: DecodeLimits | None = None, **tags: Any) -> DecodedImage:
    """A still of 400 x 270 with these tags."""
    items = tags.pop("areas", None)
    if items is not None:
        tags["SequenceOfUltrasoundRegions"] = items
    data = made.dicom(TISSUE[None], **tags)
    return read(data, Sampling(), limits or DecodeLimits())


def facts(image: DecodedImage) -> dict[str, tuple[float | None, float | None]]:
    return {c.fact: (c.declared, c.used) for c in image.info.corrections}


def test_pixels_twice_as_high_as_wide_are_squared_by_more_rows() -> None:
    image = opened(PixelAspectRatio=[2, 1])
    assert (image.info.width_px, image.info.height_px) == (400, 540)
    (frame,) = image
    assert frame.pixels.shape == (540, 400)
    truth = cv2.resize(TISSUE, (400, 540), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(frame.pixels, truth)


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelSpacing": [0.2, 0.4]},
        {"ImagerPixelSpacing": [0.2, 0.4]},
        {"NominalScannedPixelSpacing": [0.2, 0.4]},
        {"areas": [scaled((20, 10, 380, 260), 0.02, 0.04)]},
        {"PixelAspectRatio": [1, 2]},
    ],
)
def test_every_tag_that_gives_the_shape_of_a_pixel_squares_it(tags: dict[str, Any]) -> None:
    image = opened(**tags)
    assert (image.info.width_px, image.info.height_px) == (800, 270)
    assert next(iter(image)).pixels.shape == (270, 800)
    assert image.info.corrections == ()


def test_spacing_and_regions_speak_of_the_squared_pixels() -> None:
    m_mode = area((0, 262, 400, 270), RegionSpatialFormat=2, PhysicalUnitsXDirection=4,
                  PhysicalUnitsYDirection=3, PhysicalDeltaX=0.004, PhysicalDeltaY=0.02)  # fmt: skip
    image = opened(areas=[scaled((20, 10, 380, 260), 0.02, 0.04), m_mode])
    scan, other = image.info.regions
    assert (scan.x0, scan.y0, scan.x1, scan.y1) == (40, 10, 760, 260)
    assert scan.spacing_mm == pytest.approx((0.2, 0.2))
    assert image.info.spacing_mm == pytest.approx((0.2, 0.2))
    assert (other.delta_x, other.spacing_mm) == (pytest.approx(0.002), None)


def test_a_scan_whose_time_axis_is_no_width_says_nothing_about_the_shape() -> None:
    sweep = area((0, 0, 400, 270), RegionSpatialFormat=2, PhysicalUnitsXDirection=4,
                 PhysicalUnitsYDirection=3, PhysicalDeltaX=0.004, PhysicalDeltaY=0.02)  # fmt: skip
    assert (opened(areas=[sweep]).info.width_px, opened().info.width_px) == (400, 400)


def test_nearly_square_pixels_stay_as_they_are() -> None:
    image = opened(PixelSpacing=[0.2, 0.203])
    assert np.array_equal(next(iter(image)).pixels, TISSUE)
    assert image.info.spacing_mm == (0.2, 0.203)


@pytest.mark.parametrize("ratio", [[11, 1], [1, 40], [0, 1], [-2, 1]])
def test_an_impossible_shape_is_not_believed_and_told(ratio: list[int]) -> None:
    image = opened(PixelAspectRatio=ratio)
    assert next(iter(image)).pixels.shape == TISSUE.shape
    declared, used = facts(image)["pixel_shape"]
    assert used == 1
    assert declared == (pytest.approx(ratio[0] / ratio[1]) if min(ratio) > 0 else None)


def test_measured_spacing_outweighs_the_shape_for_display_and_the_contradiction_is_told() -> None:
    image = opened(PixelSpacing=[0.3, 0.3], PixelAspectRatio=[2, 1])
    assert image.info.height_px == 270
    assert facts(image) == {"pixel_shape": (2.0, 1.0)}


def test_of_regions_with_different_shapes_the_largest_decides() -> None:
    image = opened(
        areas=[scaled((0, 0, 100, 200), 0.03, 0.03), scaled((110, 0, 400, 270), 0.04, 0.02)]
    )
    assert (image.info.width_px, image.info.height_px) == (400, 540)
    spacing = {region.x0: region.spacing_mm for region in image.info.regions}
    assert spacing[110] == pytest.approx((0.2, 0.2))
    assert spacing[0] == pytest.approx((0.15, 0.3))
    assert image.info.spacing_mm is None


def test_the_limit_on_pixels_holds_after_squaring() -> None:
    image = opened(DecodeLimits(max_pixels=150_000), PixelAspectRatio=[2, 1])
    assert (image.info.width_px, image.info.height_px) == (200, 270)  # the finer axis is shrunk
    assert next(iter(image)).pixels.shape == (270, 200)
    with pytest.raises(ImageTooLarge):
        opened(DecodeLimits(max_pixels=100_000), PixelAspectRatio=[2, 1])


def test_a_reader_of_any_format_may_tell_the_shape_and_colour_keeps_its_planes() -> None:
    stored = ImageInfo("mp4", "cine", 720, 576, pixel_aspect=0.9375)
    info = squared_info(stored, DecodeLimits())
    assert (info.width_px, info.height_px, info.pixel_aspect) == (768, 576, 1.0)
    frame = DecodedFrame(np.zeros((576, 720, 3), np.uint8), 7, 0.25)
    squared = squared_frame(frame, info)
    assert (squared.pixels.shape, squared.index, squared.time_s) == ((576, 768, 3), 7, 0.25)
    odd = squared_info(
        ImageInfo("mp4", "cine", 720, 576, pixel_aspect=float("nan")), DecodeLimits()
    )
    assert odd.corrections == (Correction("pixel_shape", None, 1.0),)


def test_regions_beyond_the_frame_are_not_believed_and_no_spacing_is_given() -> None:
    image = opened(areas=[scaled((76, 100, 690, 500), 0.02, 0.02)], PixelSpacing=[0.2, 0.2])
    assert (image.info.regions, image.info.spacing_mm) == ((), None)
    assert facts(image) == {"regions": (1, None)}


def test_one_region_beyond_the_frame_ends_the_belief_in_all() -> None:
    spectrum = area((0, 200, 400, 520), RegionSpatialFormat=3)
    image = opened(areas=[scaled((10, 10, 200, 190), 0.02, 0.02), spectrum])
    assert (image.info.regions, image.info.spacing_mm) == ((), None)
    assert facts(image) == {"regions": (2, None)}


@pytest.mark.parametrize("box", [(0, 0, 401, 271), (0, 0, 402, 272), (20, 10, 380, 260)])
def test_a_region_that_ends_a_pixel_too_late_is_believed(box: tuple[int, int, int, int]) -> None:
    image = opened(areas=[scaled(box, 0.02, 0.02)])
    (region,) = image.info.regions
    assert (region.x1, region.y1) == (min(400, box[2]), min(270, box[3]))
    assert image.info.corrections == ()


@pytest.mark.parametrize(
    "box", [(300, 10, 200, 200), (10, 200, 300, 100), (50, 50, 51, 51), (2**32 - 5, 10, 300, 200)]
)
def test_a_region_of_no_area_is_left_out_and_told_and_the_others_stay(
    box: tuple[int, int, int, int],
) -> None:
    good = scaled((20, 10, 380, 260), 0.02, 0.02)
    image = opened(areas=[good, scaled(box, 0.02, 0.02)])
    assert len(image.info.regions) == 1
    assert image.info.spacing_mm == pytest.approx((0.2, 0.2))
    assert facts(image) == {"regions": (2, 1)}


def test_a_region_that_lacks_a_corner_is_told() -> None:
    item = scaled((20, 10, 380, 260), 0.02, 0.02)
    del item.RegionLocationMaxX1
    assert facts(opened(areas=[item])) == {"regions": (1, None)}


@pytest.mark.parametrize("cm", [0.28, 0.001, 0.5])
def test_an_impossible_scale_is_not_believed_and_the_pixels_decide(cm: float) -> None:
    image = opened(areas=[scaled((20, 10, 380, 260), cm, cm)])  # 70 cm deep, 2.5 mm, 1.25 m
    assert (image.info.regions, image.info.spacing_mm) == ((), None)
    assert facts(image) == {"regions": (1, None), "spacing": (pytest.approx(10 * cm), None)}


@pytest.mark.parametrize("spacing", [[5, 5], [0.01, 0.01], [0, 0], [-1, 1], [0.2]])
def test_an_impossible_pixel_spacing_is_not_believed(spacing: list[float]) -> None:
    image = opened(PixelSpacing=spacing)
    assert image.info.spacing_mm is None
    assert "spacing" in facts(image)


def test_regions_written_for_another_size_than_the_stream_has_are_not_believed() -> None:
    video = (CLIPS / "h264.mp4").read_bytes()  # 96 x 64
    areas = [scaled((5, 5, 90, 60), 0.02, 0.02)]
    tags = {"SequenceOfUltrasoundRegions": areas}
    for size, kept in (({}, 1), ({"Rows": 480, "Columns": 640}, 0)):
        info = read(made.stream(video, made.H264, **tags, **size), Sampling(), DecodeLimits()).info
        assert len(info.regions) == kept
        assert [c.fact for c in info.corrections] == ([] if kept else ["regions"])
