"""Builds segments: chooses the rows, writes them and compresses them.

Shape suffixes: N rows, B rows of a block, Q queries, K neighbours, D embedding width.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from service.arrays import Floats
from service.errors import IndexDamaged, Stopping
from service.index import compressed
from service.index import segment_files as files
from service.index.freed_memory import return_freed_memory
from service.index.neighbours import ContentHashes, Ids
from service.index.segment import Segment
from service.index.segment_files import Block
from service.index.tail import Tail

BLOCK_ROWS = 8192
MIN_COMPRESSED_ROWS = 1000  # scanning fewer rows is faster than searching lists
REMOVED_SHARE = 0.1  # of a segment, before it is rewritten without its removed rows
WANTED_RECALL = 0.985  # at 10, sampled at each build
RECALL_AT, SAMPLED_QUERIES, TIE = 10, 200, 1e-6
TRIED_PROBES = (24, 32, 48, 64, 96, 128)
MERGE_RATIO = 2  # a segment is merged when it is at most this many times as long as newer rows


@dataclass(frozen=True, slots=True)
class Plan:
    """The next step: compress one segment, or merge segments and the tail into a new one.

    Attributes:
        measure: a compressed segment whose lists were never measured, as those of 0.1.0.
    """

    compress: Segment | None = None
    measure: Segment | None = None
    merge: tuple[Segment, ...] = ()
    with_tail: bool = False


def next_plan(
    segments: Sequence[Segment], tail: Tail, *, exact_rows: int, tail_rows: int, purge: bool
) -> Plan | None:
    """The next step; None when there is nothing to do.

    Args:
        segments: oldest first.
        exact_rows: maximum number of rows in the tail when there is no segment.
        tail_rows: maximum number of rows in the tail when there are segments.
        purge: rewrite every segment that contains a removed row.
    """
    plain = [s for s in segments if s.compressed is None and s.manifest.rows >= MIN_COMPRESSED_ROWS]
    if plain:
        return Plan(compress=plain[0])
    waiting = int(np.count_nonzero(tail.alive()))
    if waiting > (tail_rows if segments else exact_rows):
        merge: list[Segment] = []
        for segment in reversed(segments):
            if len(segment) > MERGE_RATIO * (waiting + sum(map(len, merge))):
                break
            merge.append(segment)
        return Plan(merge=tuple(reversed(merge)), with_tail=True)
    for segment in segments:
        if segment.removed > (0 if purge else REMOVED_SHARE * segment.manifest.rows):
            return Plan(merge=(segment,))
    return next((Plan(measure=s) for s in segments if s.lacks_probes), None)


def write_segment(
    folder: Path, blocks: Iterator[Block], *, encoder_id: str, dim: int
) -> Segment | None:
    """Write blocks of ascending ids as one new segment under the folder; None without a row.

    Raises: IndexDamaged, Stopping.
    """
    place = _new_place(folder)
    try:
        manifest = files.write_rows(place, blocks, encoder_id=encoder_id, dim=dim)
    except Stopping:
        discard(place)
        raise
    if manifest.rows == 0:
        discard(place)
        return None
    return Segment(place, manifest)


def compress(segment: Segment, *, stopping: Callable[[], bool]) -> None:
    """Add a compressed index to a segment that is long enough. Raises IndexDamaged, Stopping."""
    rows, dim = segment.manifest.rows, segment.manifest.dim
    if rows >= MIN_COMPRESSED_ROWS:
        segment.put_compressed(compressed.build(segment.take, rows, dim, stopping=stopping))
        return_freed_memory()  # of the built lists, which are read from the file from now on
        measure(segment, stopping=stopping)


def measure(segment: Segment, *, stopping: Callable[[], bool]) -> None:
    """Choose and store how many lists a search looks through. Raises IndexDamaged, Stopping."""
    segment.put_probes(choose_probes(segment, stopping=stopping))


def choose_probes(segment: Segment, *, stopping: Callable[[], bool]) -> int:
    """The fewest lists whose recall at 10 is ``WANTED_RECALL``; the most tried where none is.

    They are at least the root of twice the number of lists: new scans lie farther from the stored
    ones than these from each other, so that a sample of stored rows promises too much (decision
    0048). For the same reason the queries are stored rows, moved up to halfway to another one.
    Reads all rows once.

    Raises: Stopping.
    """
    if segment.compressed is None:
        raise IndexDamaged("the segment has no compressed index")
    min_probes = math.isqrt(2 * segment.compressed.lists)
    rng = np.random.default_rng(compressed.SEED)
    pairs_2Q = np.sort(rng.choice(segment.manifest.rows, (2, SAMPLED_QUERIES)))
    asked_QD, other_QD = segment.take(pairs_2Q[0]), segment.take(rng.permutation(pairs_2Q[1]))
    share_Q1 = rng.uniform(0, 0.5, (SAMPLED_QUERIES, 1)).astype(np.float32)
    queries_QD = _unit(asked_QD + share_Q1 * (other_QD - asked_QD))
    worst_Q = _best_scores(segment, queries_QD, stopping)[:, 0] - TIE  # a tie is no miss
    for probes in (tried for tried in TRIED_PROBES if tried >= min_probes):
        compressed.stop_if(stopping)
        answers = segment.nearest_in_lists(probes, queries_QD, RECALL_AT)
        pairs = zip(answers, worst_Q, strict=True)
        hits = [int(np.count_nonzero(answer.scores_K >= worst)) for answer, worst in pairs]
        if np.mean(hits) / RECALL_AT >= WANTED_RECALL:
            return probes
    return TRIED_PROBES[-1]


def _unit(rows_QD: Floats) -> Floats:
    """Rows of length 1. Halfway between opposite rows it stays 0, as near to every row."""
    length_Q1 = np.linalg.norm(rows_QD, axis=1, keepdims=True)
    unit_QD: Floats = rows_QD / np.maximum(length_Q1, np.finfo(np.float32).tiny)
    return unit_QD


def _best_scores(segment: Segment, queries_QD: Floats, stopping: Callable[[], bool]) -> Floats:
    """The 10 best scores of each query among all rows, lowest first, float32 (Q, K)."""
    best_QK: Floats = np.full((len(queries_QD), RECALL_AT), -1, np.float32)
    for start in range(0, segment.manifest.rows, BLOCK_ROWS):
        compressed.stop_if(stopping)
        rows_BD = segment.take(np.arange(start, min(start + BLOCK_ROWS, segment.manifest.rows)))
        with threadpool_limits(1):  # it is work in the background, beside requests
            scores_QB = queries_QD @ rows_BD.T
        either = np.hstack([best_QK, scores_QB])
        best_QK = np.partition(either, -RECALL_AT, axis=1)[:, -RECALL_AT:]
    return np.sort(best_QK, axis=1)


def open_all(folder: Path, *, encoder_id: str, dim: int) -> tuple[list[Segment], int]:
    """Open valid segments, oldest first, and remove invalid ones; return also their number."""
    segments, refused = [], 0
    for place in sorted(folder.glob("segment-*")):
        try:
            manifest = files.verified(place, encoder_id=encoder_id, dim=dim)
            segments.append(Segment(place, manifest))
        except IndexDamaged:
            refused += 1
            discard(place)
    return segments, refused


def discard(place: Path) -> None:
    """Remove the files of a segment; running searches keep their open files."""
    shutil.rmtree(place, ignore_errors=True)


def _new_place(folder: Path) -> Path:
    numbers = [int(place.name.partition("-")[2]) for place in folder.glob("segment-*")]
    return folder / f"segment-{max(numbers, default=0) + 1:08d}"


def merged_blocks(
    plan: Plan, tail: Tail, dim: int, *, stopping: Callable[[], bool]
) -> Iterator[Block]:
    """Yield the alive rows of the plan, by ascending ids. Raises Stopping."""
    segments = plan.merge
    places = [np.flatnonzero(segment.alive_N) for segment in segments]
    ids = [segment.row_ids_N[at] for segment, at in zip(segments, places, strict=True)]
    hashes = [segment.hashes_N[at] for segment, at in zip(segments, places, strict=True)]
    takes: list[Callable[[Ids], Floats]] = [segment.take for segment in segments]
    if plan.with_tail:
        places.append(np.flatnonzero(tail.alive()))
        ids.append(tail.ids()[places[-1]])
        hashes.append(tail.hashes_C[places[-1]])
        takes.append(lambda at: tail.vectors_CD[at])
    owner_N = np.repeat(np.arange(len(takes)), [len(at) for at in places])
    place_N: Ids = np.concatenate(places)
    ids_N: Ids = np.concatenate(ids)
    hashes_N: ContentHashes = np.concatenate(hashes)
    order_N = np.argsort(ids_N, kind="stable")
    for start in range(0, len(order_N), BLOCK_ROWS):
        compressed.stop_if(stopping)
        order_B = order_N[start : start + BLOCK_ROWS]
        rows_BD = np.empty((len(order_B), dim), np.float32)
        for number, take in enumerate(takes):
            is_own_B = owner_N[order_B] == number
            rows_BD[is_own_B] = take(place_N[order_B[is_own_B]])
        yield ids_N[order_B], hashes_N[order_B], rows_BD
