"""One picture in two files is found; two pictures are not."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from speckle_frames import speckle

from training.catalogue.manifest import ManifestRow, load_frame
from training.catalogue.near_duplicates import (
    RADIUS_BITS,
    Pair,
    find_pairs,
    join_groups,
    perceptual_hash,
)

SAMPLES = sorted((Path(__file__).parents[3] / "service" / "cli" / "samples").rglob("*.png"))


def recompressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=30)
    return Image.open(stream)


def resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 2 // 3, image.height * 3 // 4))


def brighter(image: Image.Image) -> Image.Image:
    return image.point([round(255 * (v / 255) ** 0.8) for v in range(256)])


def more_contrast(image: Image.Image) -> Image.Image:
    return image.point([min(255, round(1.2 * v)) for v in range(256)])


def all_at_once(image: Image.Image) -> Image.Image:
    return recompressed(resized(more_contrast(image)))


def distance_bits(left_HW: np.ndarray, right_HW: np.ndarray) -> int:
    return int(np.bitwise_count(perceptual_hash(left_HW) ^ perceptual_hash(right_HW)).sum())


@pytest.mark.parametrize("change", [recompressed, resized, brighter, more_contrast, all_at_once])
@pytest.mark.parametrize("file", SAMPLES[::6], ids=lambda file: file.stem)
def test_a_changed_copy_is_a_near_duplicate(
    file: Path, change: Callable[[Image.Image], Image.Image]
) -> None:
    frame_HW = load_frame(file)
    copy_HW = np.asarray(change(Image.fromarray(frame_HW)).convert("L"))
    assert distance_bits(frame_HW, copy_HW) <= RADIUS_BITS


def test_frames_of_different_pictures_are_none() -> None:
    """The samples of one scene differ in their random tissue alone."""
    frames = [load_frame(file) for file in SAMPLES] + [speckle(seed) for seed in range(20)]
    assert not find_pairs(np.stack([perceptual_hash(frame_HW) for frame_HW in frames]))


def test_a_mirrored_frame_is_another_picture() -> None:
    frame_HW = load_frame(SAMPLES[0])
    assert distance_bits(frame_HW, np.ascontiguousarray(frame_HW[:, ::-1])) > RADIUS_BITS


def test_pairs_agree_with_counting_every_bit() -> None:
    rng = np.random.default_rng(0)
    bits = rng.random((300, 256)) < 0.5
    bits[150:] = bits[:150] ^ (rng.random((150, 256)) < 0.15)
    hashes_NK = np.packbits(bits, axis=1).view(np.uint64)
    expected = {
        (a, b): int((bits[a] != bits[b]).sum()) for a in range(300) for b in range(a + 1, 300)
    }
    found = {(p.first, p.second): p.distance_bits for p in find_pairs(hashes_NK, 40)}
    assert found == {pair: bits for pair, bits in expected.items() if bits <= 40}
    assert 50 < len(found) < 150


def test_pairs_of_one_kind_are_left_out() -> None:
    hashes_NK = np.zeros((4, 4), np.uint64)
    pairs = find_pairs(hashes_NK, 0, ["a", "a", "b", "a"])
    assert [(p.first, p.second) for p in pairs] == [(0, 2), (1, 2), (2, 3)]


def test_no_frames_give_no_pairs() -> None:
    assert find_pairs(np.zeros((0, 4), np.uint64)) == []


@pytest.fixture
def rows(row: Callable[..., ManifestRow]) -> list[ManifestRow]:
    """Two groups of two frames, and a frame alone."""
    groups = ("ours/p1", "ours/p1", "ours/p2", "ours/p2", "ours/p3")
    labels = ("cyst", "cyst", "stone", "stone", "cyst")
    return [
        row(n, f"f{n}", group=g, label=name)
        for n, (g, name) in enumerate(zip(groups, labels, strict=True))
    ]


def test_a_pair_joins_the_whole_groups_of_its_frames(rows: list[ManifestRow]) -> None:
    joined = join_groups(rows, [Pair(1, 4, 10)])
    assert [row.group for row in joined] == ["ours/p1"] * 2 + ["ours/p2"] * 2 + ["ours/p1"]
    assert not any(row.label_conflict for row in joined)


def test_groups_join_through_chains(rows: list[ManifestRow]) -> None:
    joined = join_groups(rows, [Pair(3, 4, 10), Pair(0, 2, 10)])
    assert {row.group for row in joined} == {"ours/p1"}


def test_only_the_frames_that_look_alike_contradict_each_other(rows: list[ManifestRow]) -> None:
    joined = join_groups(rows, [Pair(0, 2, 10)])
    assert [row.label_conflict for row in joined] == [True, False, True, False, False]


def test_sets_with_other_names_for_a_class_do_not_contradict(rows: list[ManifestRow]) -> None:
    rows[2] = dataclasses.replace(rows[2], dataset="theirs")
    assert not any(row.label_conflict for row in join_groups(rows, [Pair(0, 2, 10)]))


def test_an_unlabelled_frame_contradicts_nothing(rows: list[ManifestRow]) -> None:
    rows[2] = dataclasses.replace(rows[2], label="")
    assert not any(row.label_conflict for row in join_groups(rows, [Pair(0, 2, 10)]))
