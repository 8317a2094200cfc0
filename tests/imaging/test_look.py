"""Region, writing and faults of one frame or clip, put together."""

import numpy as np
import pytest
from screens import say, screen, speckle

from service.errors import CorruptImage, InputError
from service.imaging.cine_look import CineLook
from service.imaging.frames import DicomRegion, Opened
from service.imaging.look import look, read_wish
from service.imaging.text import TextFinder


@pytest.fixture(scope="module")
def finder() -> TextFinder:
    return TextFinder()


def test_a_name_beside_the_scan_is_gone_and_the_risk_is_none(finder: TextFinder) -> None:
    frame, box = screen()
    looked = look(frame, finder)
    (view,) = looked.views
    assert looked.sight.risk == "none"
    assert finder.find(view.shown_hw) == ()
    assert looked.sight.masked_px == pytest.approx(800 * 600 - 400 * 450, rel=0.05)
    assert looked.sight.regions[0].box == pytest.approx(box, abs=8)


def test_a_name_inside_the_scan_is_masked_and_told(finder: TextFinder) -> None:
    frame, _ = screen()
    say(frame, "DOE, JANE", 300, 300, grey=255, size=0.9)
    looked = look(frame, finder)
    assert looked.sight.risk == "low"
    assert looked.sight.risk_reasons == ("text_masked",)
    assert finder.find(looked.views[0].used_hw) == ()


def test_without_a_region_the_encoder_gets_the_frame_and_thumbnails_no_name(
    finder: TextFinder,
) -> None:
    frame, _ = screen()
    looked = look(frame, finder, wish="none")
    assert np.array_equal(looked.views[0].used_hw, frame)
    assert not np.array_equal(looked.views[0].shown_hw, frame)
    assert looked.sight.risk == "high"
    assert "text_kept" in looked.sight.risk_reasons
    assert looked.sight.masked_px == 0


def test_a_callers_box_is_used(finder: TextFinder) -> None:
    frame, _ = screen()
    looked = look(frame, finder, wish=(300, 200, 500, 400))
    assert np.array_equal(looked.views[0].used_hw, frame[200:400, 300:500])
    assert looked.sight.to_json()["regions"][0]["found"] == "caller"
    with pytest.raises(InputError, match="inside 800 x 600"):
        look(frame, finder, wish=(300, 200, 801, 400))


def test_each_declared_region_is_a_view_and_a_tag_raises_the_risk(finder: TextFinder) -> None:
    frame = np.zeros((300, 640), np.uint8)
    frame[20:280, 20:300] = speckle(260, 280, 1)
    frame[20:280, 360:620] = speckle(260, 260, 2)
    told = [DicomRegion(10, 10, 310, 290, 1, 1), DicomRegion(350, 10, 630, 290, 1, 1)]
    looked = look(frame, finder, declared=told, tagged=True)
    assert [v.region.found for v in looked.views] == ["declared", "declared"]
    assert looked.sight.risk == "low"
    assert looked.sight.risk_reasons == ("tagged_by_file",)


def test_of_many_declared_regions_the_eight_largest_are_used(finder: TextFinder) -> None:
    frame = speckle(400, 400, 3)
    told = [
        DicomRegion(x, y, x + 90, y + 80 + x // 10, 1, 1)
        for x in range(0, 400, 100)
        for y in range(0, 400, 130)
    ]
    regions = look(frame, finder, declared=told).sight.regions
    assert len(regions) == 8
    assert min(region.box[0] for region in regions) == 100  # the narrow column is left out


def test_a_screen_whose_scan_cannot_be_told_from_its_writing_is_a_high_risk(
    finder: TextFinder,
) -> None:
    frame = np.zeros((400, 600), np.uint8)
    for line in range(8):
        say(frame, "DOE, JANE 1961-04-02 4711", 30, 60 + 40 * line, size=0.8)
    sight = look(frame, finder).sight
    assert sight.risk == "high"
    assert {"much_text", "region_unsure"} <= set(sight.risk_reasons)


@pytest.mark.parametrize(
    "text", ["all", "1,2,3", "1,2,3,x", "-1,0,5,5", "1,2,3,4,5", "9999999999,0,1,1"]
)
def test_a_wish_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="region"):
        read_wish(text)


def test_wishes_are_read() -> None:
    assert read_wish("auto") == "auto"
    assert read_wish("1, 2,30,40") == (1, 2, 30, 40)


def opened(frames: int) -> Opened:
    return Opened("mp4", "cine", 800, 600, frames_in_file=frames)


def test_a_clip_has_one_region_and_its_writing_is_masked_in_every_frame(finder: TextFinder) -> None:
    frames = [screen(seed)[0] for seed in range(6)]
    for frame in frames:
        say(frame, "DOE, JANE", 300, 300, grey=255, size=0.9)
    clip = CineLook(opened(6), finder, "auto")
    clip.decide(frames)
    assert clip.sight.regions[0].found == "motion"
    used = [clip.use(frame)[0] for frame in frames]
    assert {u.shape for u in used} == {used[0].shape}
    assert not any(finder.find(u) for u in used)
    assert finder.find(clip.show(frames[3])) == ()
    assert clip.sight.findings == ()


def test_a_frozen_clip_is_told_and_a_clip_without_frames_is_corrupt(finder: TextFinder) -> None:
    clip = CineLook(opened(4), finder, "auto")
    clip.decide([screen()[0]] * 4)
    assert [f.reason for f in clip.sight.findings] == ["frozen"]
    empty = CineLook(opened(1), finder, "auto")
    empty.decide([])
    with pytest.raises(CorruptImage):
        _ = empty.sight
