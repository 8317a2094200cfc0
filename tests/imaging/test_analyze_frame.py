"""Region, text and quality of one frame or clip."""

import cv2
import numpy as np
import pytest
from screens import analyze, say, screen, speckle

from service.errors import CorruptImage, InputError
from service.imaging.analysis.cine_analysis import CineAnalysis, needs_more
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


def used_of(clip: CineAnalysis, frames: list[np.ndarray]) -> list[np.ndarray]:
    """The inputs of the encoder, with eight frames held at once."""
    clip.decide(frames[:8])
    used = []
    for start in range(0, len(frames), 8):
        group = frames[start : start + 8]
        clip.look(group)
        used += [clip.use(frame)[0] for frame in group]
    return used


def written(frames: list[np.ndarray], which: range) -> list[np.ndarray]:
    for at in which:
        say(frames[at], "DOE, JANE 1961", 240, 300, grey=255, size=0.9)
    return frames


@pytest.mark.parametrize("which", [range(1, 7), range(8, 24), range(19, 21), range(23, 24)])
def test_text_of_any_frame_of_a_clip_is_masked_and_reported(
    finder: TextFinder, which: range
) -> None:
    clip = CineAnalysis(info(24), finder, "auto")
    used = used_of(clip, written([screen(seed)[0] for seed in range(24)], which))
    assert not any(finder.find(u) for u in used)
    assert "text_masked" in clip.analysis.risk_reasons


def test_text_that_appears_later_leaves_the_frames_before_as_they_are(finder: TextFinder) -> None:
    frames = [screen(seed)[0] for seed in range(24)]
    plain = used_of(CineAnalysis(info(24), finder, "auto"), frames)
    used = used_of(CineAnalysis(info(24), finder, "auto"), written(frames, range(16, 24)))
    assert all(np.array_equal(a, b) for a, b in zip(plain[:16], used, strict=False))
    assert not any(np.array_equal(a, b) for a, b in zip(plain[16:], used[16:], strict=True))


def test_text_of_a_later_frame_is_reported_where_the_caller_keeps_it(finder: TextFinder) -> None:
    clip = CineAnalysis(info(16), finder, "none")
    frames = written([screen(seed)[0][90:540, 220:620] for seed in range(16)], range(0))
    for frame in frames[10:]:
        say(frame, "DOE, JANE 1961", 40, 300, grey=255, size=0.9)
    used = used_of(clip, frames)
    assert np.array_equal(used[12], frames[12])
    assert (clip.analysis.risk, clip.analysis.risk_reasons[0]) == ("high", "text_kept")


def test_pages_of_other_sizes_and_in_colour_are_searched_as_well(finder: TextFinder) -> None:
    frames = [screen(seed)[0] for seed in range(16)]
    frames[9] = np.stack([frames[9]] * 3, axis=-1)
    frames[10] = np.pad(frames[10], ((0, 100), (0, 50)))
    frames[11] = frames[11][:300, :300]  # ends inside the region
    clip = CineAnalysis(info(16), finder, "auto")
    used = used_of(clip, written(frames, range(10, 11)))
    assert finder.find(used[10]) == ()
    assert "text_masked" in clip.analysis.risk_reasons


def test_a_clip_with_words_everywhere_is_masked_as_a_whole_and_not_word_by_word(
    finder: TextFinder,
) -> None:
    """Thousands of boxes would take longer than all else."""
    places = np.random.default_rng(0)
    frames = [speckle(480, 640, seed) // 2 for seed in range(72)]
    for frame in frames:
        for _ in range(6):
            x, y = places.integers(0, 600), places.integers(20, 470)
            say(frame, "DOE", int(x), int(y), grey=255, size=0.6)
    clip = CineAnalysis(info(72), finder, (0, 0, 640, 480))
    last = used_of(clip, frames)[-1]
    assert np.mean(last == np.median(last)) > 0.9
    assert clip.analysis.risk == "high"


def reasons_of(frames: list[np.ndarray], finder: TextFinder, used: int | None = None) -> list[str]:
    """The findings on a clip whose first ``PREVIEW`` frames decide, and all of which are used."""
    clip = CineAnalysis(info(len(frames)), finder, "auto")
    clip.decide(frames[:8])
    for frame in frames[:used]:
        clip.use(frame)
    return [finding.reason for finding in clip.analysis.findings]


def test_a_clip_that_begins_blank_is_not_blank_and_one_that_stays_blank_is(
    finder: TextFinder,
) -> None:
    blank = np.full((300, 400), 3, np.uint8)
    tissue = [speckle(300, 400, seed) for seed in range(12)]
    assert reasons_of([blank, *tissue[:6]], finder) == []
    assert reasons_of([blank] * 8 + tissue, finder) == []
    assert reasons_of([blank] * 12, finder) == ["blank", "frozen"]
    noise = [
        blank + np.random.default_rng(t).integers(0, 4, blank.shape, np.uint8) for t in range(9)
    ]
    assert reasons_of(noise, finder) == ["blank"]


def test_a_clip_whose_later_frames_are_burnt_out_says_so(finder: TextFinder) -> None:
    tissue = [speckle(300, 400, seed) for seed in range(20)]
    burnt = [np.clip(frame.astype(int) * 5, 0, 255).astype(np.uint8) for frame in tissue]
    assert reasons_of(tissue, finder) == []
    assert "saturated" in reasons_of([*tissue[:5], *burnt[5:7]], finder)
    assert "saturated" in reasons_of([*tissue[:16], *burnt[16:]], finder)
    assert "saturated" not in reasons_of([*tissue[:19], burnt[19]], finder)  # one flash


def test_flow_that_comes_and_goes_is_colour_and_frames_that_stop_at_the_end_are_not_frozen(
    finder: TextFinder,
) -> None:
    grey = [np.stack([speckle(300, 400, seed)] * 3, axis=-1) for seed in range(12)]
    flow = [frame.copy() for frame in grey]
    for frame in flow[6:8]:
        frame[100:160, 150:230] = (210, 30, 20)
        frame[160:200, 150:230] = (20, 40, 220)
    assert "colour_doppler" in reasons_of(flow, finder)
    assert reasons_of(grey[:8] + [grey[7]] * 4, finder) == []
    assert "frozen" in reasons_of([grey[0]] * 20 + grey[1:2], finder)


def test_the_faint_colours_of_a_compressed_video_change_no_finding(finder: TextFinder) -> None:
    tissue = [speckle(300, 400, seed) for seed in range(12)]
    burnt = [np.clip(frame.astype(int) * 5, 0, 255).astype(np.uint8) for frame in tissue]
    faint = np.random.default_rng(1).integers(0, 9, (12, 300, 400, 3), np.uint8)
    for greys in (tissue, burnt):
        coloured = [cv2.add(np.stack([g] * 3, -1), c) for g, c in zip(greys, faint, strict=True)]
        assert reasons_of(coloured, finder) == reasons_of(greys, finder)


def test_a_preview_of_blank_frames_asks_for_more(finder: TextFinder) -> None:
    blank, tissue = np.full((300, 400), 3, np.uint8), speckle(300, 400)
    assert needs_more([blank] * 8, 8)
    assert not needs_more([*[blank] * 8, tissue], 1)
    assert not needs_more([blank] * 8, 0)  # the clip has no more frames
    assert not needs_more([blank] * 64, 8)
    assert not needs_more([np.zeros((3000, 3000), np.uint8)] * 8, 8)  # 72 MB wait in memory


def declared_as(box: tuple[int, int, int, int], frame: np.ndarray) -> ImageInfo:
    region = DicomRegion(*box, 1, 1, 0.02, 0.02, "cm", "cm")
    size = frame.shape[1], frame.shape[0]
    return ImageInfo("dicom", "frame", *size, regions=(region,), spacing_mm=(0.2, 0.2))


def test_a_region_that_cuts_tissue_was_written_for_another_size_and_is_left(
    finder: TextFinder,
) -> None:
    frame, box = screen()
    large = cv2.resize(frame, None, fx=2, fy=2)
    for shown, is_true in ((frame, True), (large, False)):
        still = CineAnalysis(declared_as(box, shown), finder, "auto")
        still.decide([shown])
        (region,) = still.analysis.regions
        assert (region.source == "declared") == is_true
        assert (region.spacing_mm is not None) == is_true
        assert still.info.spacing_mm == ((0.2, 0.2) if is_true else None)
        facts = [(c.fact, c.declared, c.used) for c in still.info.corrections]
        assert facts == ([] if is_true else [("regions", 1, None)])
        zoom = shown.shape[0] // 600
        assert region.box == pytest.approx([zoom * side for side in box], abs=16)


def test_a_region_over_black_beside_the_scan_is_left(finder: TextFinder) -> None:
    frame = np.zeros((400, 800), np.uint8)
    frame[50:350, 420:780] = speckle(300, 360)
    still = CineAnalysis(declared_as((10, 50, 380, 350), frame), finder, "auto")
    still.decide([frame])
    assert still.analysis.regions[0].source == "pixels"
    assert [c.fact for c in still.info.corrections] == ["regions"]


def test_a_declared_region_of_a_clip_is_tightened_to_what_any_of_its_frames_shows(
    finder: TextFinder,
) -> None:
    frames = np.zeros((4, 300, 400), np.uint8)
    for t in range(4):
        frames[t, 20:280, 20:380] = speckle(260, 360, t)
    frames[0, :, 200:] = 0  # half of the scan appears later
    clip = CineAnalysis(declared_as((0, 0, 400, 300), frames[0]), finder, "auto")
    clip.decide(list(frames))
    assert clip.analysis.regions[0].box == pytest.approx((20, 20, 380, 280), abs=6)


def test_the_spacing_of_the_frame_is_that_of_every_region_without_its_own(
    finder: TextFinder,
) -> None:
    frame, _ = screen()
    facts = ImageInfo("dicom", "frame", 800, 600, spacing_mm=(0.3, 0.3))
    for mode in ("auto", "none", (300, 200, 500, 400)):
        still = CineAnalysis(facts, finder, mode)
        still.decide([frame])
        assert still.analysis.regions[0].spacing_mm == (0.3, 0.3)


def test_a_whole_frame_with_writing_beside_the_tissue_is_never_sure(finder: TextFinder) -> None:
    frame = speckle(400, 640, 3)
    frame[:60] = 90
    frame[:60, ::7] = 97  # a header that is not flat enough to be cut off
    say(frame, "DOE, JANE  1961-04-02", 30, 36, grey=255, size=0.7)
    analysis = analyze(frame, finder).analysis
    assert analysis.regions[0].confidence < 1


def test_a_frozen_clip_is_reported_and_a_clip_without_frames_is_corrupt(finder: TextFinder) -> None:
    clip = CineAnalysis(info(4), finder, "auto")
    clip.decide([screen()[0]] * 4)
    assert [f.reason for f in clip.analysis.findings] == ["frozen"]
    empty = CineAnalysis(info(1), finder, "auto")
    empty.decide([])
    with pytest.raises(CorruptImage):
        _ = empty.analysis
