"""Region, text and quality of one frame or clip."""

import numpy as np
import pytest
from screens import analyze, say, screen, speckle

from service.errors import CorruptImage, InputError
from service.imaging.analysis.cine_analysis import CineAnalysis
from service.imaging.analysis.frame_analysis import parse_region_mode
from service.imaging.analysis.text import TextFinder
from service.imaging.formats.frames import DicomRegion, ImageInfo


def test_a_name_beside_the_scan_is_gone_and_the_risk_is_none(finder: TextFinder) -> None:
    frame, box = screen()
    analyzed = analyze(frame, finder)
    (view,) = analyzed.views
    assert analyzed.analysis.risk == "none"
    assert finder.find(view.shown_hw) == ()
    assert analyzed.analysis.masked_px == pytest.approx(800 * 600 - 400 * 450, rel=0.05)
    assert analyzed.analysis.regions[0].box == pytest.approx(box, abs=8)


def test_a_name_inside_the_scan_is_masked_and_reported(finder: TextFinder) -> None:
    frame, _ = screen()
    say(frame, "DOE, JANE", 300, 300, grey=255, size=0.8)  # OpenCV 4 draws it larger than 5
    analyzed = analyze(frame, finder)
    assert analyzed.analysis.risk == "low"
    assert analyzed.analysis.risk_reasons == ("text_masked",)
    assert finder.find(analyzed.views[0].used_hw) == ()


def test_without_a_region_the_encoder_gets_the_frame_and_thumbnails_no_name(
    finder: TextFinder,
) -> None:
    frame, _ = screen()
    analyzed = analyze(frame, finder, region_mode="none")
    assert np.array_equal(analyzed.views[0].used_hw, frame)
    assert not np.array_equal(analyzed.views[0].shown_hw, frame)
    assert analyzed.analysis.risk == "high"
    assert "text_kept" in analyzed.analysis.risk_reasons
    assert analyzed.analysis.masked_px == 0


def test_a_callers_box_is_used(finder: TextFinder) -> None:
    frame, _ = screen()
    analyzed = analyze(frame, finder, region_mode=(300, 200, 500, 400))
    assert np.array_equal(analyzed.views[0].used_hw, frame[200:400, 300:500])
    assert analyzed.analysis.to_json()["regions"][0]["found"] == "caller"
    with pytest.raises(InputError, match="inside 800 x 600"):
        analyze(frame, finder, region_mode=(300, 200, 801, 400))


def test_each_declared_region_is_a_view_and_a_tag_raises_the_risk(finder: TextFinder) -> None:
    frame = np.zeros((300, 640), np.uint8)
    frame[20:280, 20:300] = speckle(260, 280, 1)
    frame[20:280, 360:620] = speckle(260, 260, 2)
    declared = [DicomRegion(10, 10, 310, 290, 1, 1), DicomRegion(350, 10, 630, 290, 1, 1)]
    analyzed = analyze(frame, finder, declared=declared, tagged=True)
    assert [v.region.source for v in analyzed.views] == ["declared", "declared"]
    assert analyzed.analysis.risk == "low"
    assert analyzed.analysis.risk_reasons == ("tagged_by_file",)


def test_of_many_declared_regions_the_eight_largest_are_used(finder: TextFinder) -> None:
    frame = speckle(400, 400, 3)
    declared = [
        DicomRegion(x, y, x + 90, y + 80 + x // 10, 1, 1)
        for x in range(0, 400, 100)
        for y in range(0, 400, 130)
    ]
    regions = analyze(frame, finder, declared=declared).analysis.regions
    assert len(regions) == 8
    assert min(region.box[0] for region in regions) == 100  # the narrow column is left out


def test_a_screen_whose_scan_is_not_separate_from_its_text_is_a_high_risk(
    finder: TextFinder,
) -> None:
    frame = np.zeros((400, 600), np.uint8)
    for line in range(8):
        say(frame, "DOE, JANE 1961-04-02 4711", 30, 60 + 40 * line, size=0.8)
    analysis = analyze(frame, finder).analysis
    assert analysis.risk == "high"
    assert {"much_text", "region_unsure"} <= set(analysis.risk_reasons)


@pytest.mark.parametrize(
    "text", ["all", "1,2,3", "1,2,3,x", "-1,0,5,5", "1,2,3,4,5", "9999999999,0,1,1"]
)
def test_an_invalid_region_mode_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="region"):
        parse_region_mode(text)


def test_region_modes_are_parsed() -> None:
    assert parse_region_mode("auto") == "auto"
    assert parse_region_mode("1, 2,30,40") == (1, 2, 30, 40)


def info(frames: int) -> ImageInfo:
    return ImageInfo("mp4", "cine", 800, 600, frames_in_file=frames)


def test_a_clip_has_one_region_and_its_text_is_masked_in_every_frame(finder: TextFinder) -> None:
    frames = [screen(seed)[0] for seed in range(6)]
    for frame in frames:
        say(frame, "DOE, JANE", 300, 300, grey=255, size=0.9)
    clip = CineAnalysis(info(6), finder, "auto")
    clip.decide(frames)
    assert clip.analysis.regions[0].source == "motion"
    used = [clip.use(frame)[0] for frame in frames]
    assert {u.shape for u in used} == {used[0].shape}
    assert not any(finder.find(u) for u in used)
    assert finder.find(clip.show(frames[3])) == ()
    assert clip.analysis.findings == ()


def test_a_frozen_clip_is_reported_and_a_clip_without_frames_is_corrupt(finder: TextFinder) -> None:
    clip = CineAnalysis(info(4), finder, "auto")
    clip.decide([screen()[0]] * 4)
    assert [f.reason for f in clip.analysis.findings] == ["frozen"]
    empty = CineAnalysis(info(1), finder, "auto")
    empty.decide([])
    with pytest.raises(CorruptImage):
        _ = empty.analysis
