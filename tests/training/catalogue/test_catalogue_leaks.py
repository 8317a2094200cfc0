"""What is evaluated on was never distilled from; splits keep groups; checks find what is wrong."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from speckle_frames import speckle

from service.errors import Conflict, InputError, NotEnoughExamples
from training.catalogue.checks import check_rows
from training.catalogue.entries import packaged_catalogue
from training.catalogue.leaks import check_disjoint, find_leaks
from training.catalogue.manifest import ManifestRow, read_manifest
from training.catalogue.splits import split_by_group

MakeRow = Callable[..., ManifestRow]
SHARED = Path(os.environ.get("SONOPROBE_SHARED", Path(__file__).parents[4] / "shared"))


def test_pools_of_other_pictures_are_disjoint(row: MakeRow) -> None:
    check_disjoint([row(1, "a"), row(2, "b")], [row(3, "c", use="bench")])


def test_an_evaluation_file_in_the_pool_is_an_error_with_its_name(row: MakeRow) -> None:
    pool = [row(1, "a"), row(2, "b")]
    with pytest.raises(Conflict, match=r"1 frames by same file.*c\.png of theirs is in b\.png"):
        check_disjoint(pool, [row(2, "c", use="bench", dataset="theirs")])


def test_another_frame_of_an_evaluation_subject_in_the_pool_is_an_error(row: MakeRow) -> None:
    bench = [row(3, "c", use="bench", group="ours/patient 7")]
    with pytest.raises(Conflict, match="1 frames by same group"):
        check_disjoint([row(1, "a", group="ours/patient 7")], bench)


def test_a_resized_evaluation_frame_in_the_pool_is_an_error(row: MakeRow) -> None:
    bench = row(1, "c", use="bench")
    Image.fromarray(speckle(1)).resize((60, 48)).save(bench.path)
    with pytest.raises(Conflict, match="1 frames by near-duplicate"):
        check_disjoint([row(1, "a"), row(2, "b")], [bench])


def test_a_recorded_digest_does_not_hide_a_leak(row: MakeRow) -> None:
    bench = row(1, "c", use="bench", sha256="0" * 64)
    assert "same file" in {leak.kind for leak in find_leaks([row(1, "a")], [bench])}


def test_a_missing_file_stops_the_check(row: MakeRow, tmp_path: Path) -> None:
    gone = dataclasses.replace(row(1, "a"), path=tmp_path / "gone.png")
    with pytest.raises(InputError, match="cannot be read"):
        check_disjoint([gone], [row(2, "b")])


def of_groups(row: ManifestRow, sizes: list[int]) -> list[ManifestRow]:
    """So many frames for each group; every third group is of the rare class."""
    return [
        dataclasses.replace(row, group=f"ours/{n}", label="rare" if n % 3 == 0 else "common")
        for n, size in enumerate(sizes)
        for _ in range(size)
    ]


def test_splits_keep_groups_whole_and_shares_close(row: MakeRow) -> None:
    sizes = np.random.default_rng(0).integers(1, 9, 90).tolist()
    shares = {"train": 0.7, "val": 0.1, "test": 0.2}
    rows = split_by_group(of_groups(row(1, "a"), sizes), shares, seed=1)
    assert len({(r.group, r.split) for r in rows}) == 90
    for label in ("rare", "common"):
        counts = Counter(r.split for r in rows if r.label == label)
        for name, share in shares.items():
            assert counts[name] / counts.total() == pytest.approx(share, abs=0.02)


def test_the_seed_decides_the_split(row: MakeRow) -> None:
    rows = of_groups(row(1, "a"), [2] * 30)
    shares = {"train": 0.5, "test": 0.5}
    first, again, other = (split_by_group(rows, shares, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("shares", "kind"),
    [
        ({"a": 0.5, "b": 0.4}, InputError),
        ({"a": 1.5, "b": -0.5}, InputError),
        ({}, InputError),
        ({"a": 0.5, "b": 0.3, "c": 0.2}, NotEnoughExamples),
    ],
)
def test_impossible_splits_are_refused(
    row: MakeRow, shares: dict[str, float], kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="expected"):
        split_by_group(of_groups(row(1, "a"), [3, 3]), shares, seed=0)


def broken_rules(rows: list[ManifestRow]) -> dict[str, bool]:
    return {f.rule: f.is_error for f in check_rows(rows, packaged_catalogue())}


def test_a_sound_manifest_breaks_no_rule(row: MakeRow) -> None:
    assert broken_rules([row(1, "a"), row(2, "b", use="bench")]) == {}


def test_each_rule_finds_what_breaks_it(row: MakeRow, tmp_path: Path) -> None:
    gone = dataclasses.replace(row(1, "a"), path=tmp_path / "gone.png")
    broken = row(2, "b", sha256="")
    broken.path.write_bytes(b"no picture")
    cases: dict[str, list[ManifestRow]] = {
        "the file exists": [gone],
        "the frame decodes": [broken],
        "the file has the recorded SHA-256": [row(3, "c", sha256="0" * 64)],
        "the use is corpus or bench": [row(4, "d", use="test")],
        "a licence is given": [row(5, "e", licence=" ")],
        "a file has one row": [row(6, "f"), row(6, "f")],
        "a group lies in one split of its set": [
            row(7, "g", group="ours/p", split="train"),
            row(8, "h", group="ours/p", split="test"),
        ],
        "near-duplicates lie in one split of their set": [
            row(9, "i", split="train"),
            row(9, "j", split="test"),
        ],
        "near-duplicates of other labels are marked": [
            row(10, "k", label="cyst"),
            row(10, "l", label="stone"),
        ],
        "no bench frame is in the corpus: same file": [
            row(11, "m"),
            row(11, "n", use="bench"),
        ],
    }
    for rule, rows in cases.items():
        assert broken_rules(rows).get(rule) is True, rule


def test_likeness_inside_a_set_and_overlapping_sets_are_notes(row: MakeRow) -> None:
    rows = [
        row(1, "a"),
        row(1, "b"),
        row(1, "c", dataset="other"),
        row(2, "d", dataset="tn3k", sha256=""),
        row(3, "e", dataset="ddti", use="bench"),
    ]
    assert broken_rules(rows) == {
        "a SHA-256 is recorded": False,
        "pairs of near-duplicates across sets": False,
        "pairs of near-duplicates in two groups of a set": False,
        "sets that share images stay on one side": False,
    }


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the shared frames are not here")
def test_the_shared_corpus_knows_nothing_of_the_shared_bench() -> None:
    rows = read_manifest(SHARED / "data" / "manifest.csv")
    sides = ([row for row in rows if row.use == use] for use in ("corpus", "bench"))
    check_disjoint(*sides)
