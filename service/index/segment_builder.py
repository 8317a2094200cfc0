"""Making segments: which rows to take over next, writing them, compressing them.

Shape suffixes: N rows, B rows of a block, D embedding width.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.errors import IndexDamaged, Stopping
from service.index import compressed as coarse
from service.index import segment_files as files
from service.index.neighbours import Floats, Ids, Marks
from service.index.segment import Segment, open_segment
from service.index.segment_files import Block
from service.index.tail import Tail

BLOCK_ROWS = 8192
LEAST_COMPRESSED = 1000  # rows; fewer are scanned in less time than the lists take
DEAD_SHARE = 0.1  # of a segment, before it is written again without its dead rows
MERGE_RATIO = 2  # a segment joins what is written when it is at most this many times as long


@dataclass(frozen=True, slots=True)
class Plan:
    """The next step: compress one segment, or write some (and the tail) as one new segment."""

    compress: Segment | None = None
    merge: tuple[Segment, ...] = ()
    with_tail: bool = False


def next_plan(
    segments: Sequence[Segment], tail: Tail, *, exact_rows: int, tail_rows: int, purge: bool
) -> Plan | None:
    """What to do next; None = nothing.

    Args:
        segments: oldest first.
        exact_rows: a tail without segments may hold so many rows.
        tail_rows: a tail beside segments may hold so many rows.
        purge: write every segment again that holds a dead row.
    """
    plain = [s for s in segments if s.coarse is None and s.facts.rows >= LEAST_COMPRESSED]
    if plain:
        return Plan(compress=plain[0])
    waiting = int(np.count_nonzero(tail.living()))
    if waiting > (tail_rows if segments else exact_rows):
        merge: list[Segment] = []
        for segment in reversed(segments):
            if len(segment) > MERGE_RATIO * (waiting + sum(map(len, merge))):
                break
            merge.append(segment)
        return Plan(merge=tuple(reversed(merge)), with_tail=True)
    for segment in segments:
        if segment.dead > (0 if purge else DEAD_SHARE * segment.facts.rows):
            return Plan(merge=(segment,))
    return None


def write_merged(
    folder: Path,
    plan: Plan,
    tail: Tail,
    *,
    encoder_id: str,
    dim: int,
    stopping: Callable[[], bool],
) -> Segment | None:
    """The living rows of the plan as one new segment; None when there are none.

    Raises:
        IndexDamaged: the disk refuses. Stopping: ``stopping`` said so.
    """
    taken = tail if plan.with_tail else None
    blocks = _merged_blocks(plan.merge, taken, dim, stopping)
    return write_segment(folder, blocks, encoder_id=encoder_id, dim=dim)


def write_segment(
    folder: Path, blocks: Iterator[Block], *, encoder_id: str, dim: int
) -> Segment | None:
    """Blocks of ascending ids as one new segment under the folder; None when there is no row.

    Raises:
        IndexDamaged: the disk refuses.
    """
    place = _new_place(folder)
    try:
        facts = files.write_rows(place, blocks, encoder_id=encoder_id, dim=dim)
    except Stopping:
        discard(place)
        raise
    if facts.rows == 0:
        discard(place)
        return None
    return Segment(place, facts)


def compress(segment: Segment, *, stopping: Callable[[], bool]) -> None:
    """Put a compressed index before a segment, if it is long enough to gain by it.

    Raises:
        IndexDamaged: the disk refuses. Stopping: ``stopping`` said so.
    """
    if segment.facts.rows >= LEAST_COMPRESSED:
        rows, dim = segment.facts.rows, segment.facts.dim
        segment.put_coarse(coarse.build(segment.take, rows, dim, stopping=stopping))


def open_all(folder: Path, *, encoder_id: str, dim: int) -> tuple[list[Segment], int]:
    """(segments that verify, oldest first; how many folders did not and were removed)."""
    found, refused = [], 0
    for place in sorted(folder.glob("segment-*")) if folder.is_dir() else []:
        try:
            found.append(open_segment(place, encoder_id=encoder_id, dim=dim))
        except IndexDamaged:
            refused += 1
            discard(place)
    return found, refused


def discard(place: Path) -> None:
    """Remove the files of a segment; searches that still read them finish."""
    shutil.rmtree(place, ignore_errors=True)


def _new_place(folder: Path) -> Path:
    numbers = [int(place.name.partition("-")[2]) for place in folder.glob("segment-*")]
    return folder / f"segment-{max(numbers, default=0) + 1:08d}"


def _merged_blocks(
    segments: Sequence[Segment], tail: Tail | None, dim: int, stopping: Callable[[], bool]
) -> Iterator[Block]:
    places = [np.flatnonzero(segment.alive_N) for segment in segments]
    ids = [segment.row_ids_N[at] for segment, at in zip(segments, places, strict=True)]
    marks = [segment.marks_N[at] for segment, at in zip(segments, places, strict=True)]
    takes: list[Callable[[Ids], Floats]] = [segment.take for segment in segments]
    if tail is not None:
        places.append(np.flatnonzero(tail.living()))
        ids.append(tail.ids()[places[-1]])
        marks.append(tail.marks_C[places[-1]])
        takes.append(lambda at: tail.vectors_CD[at])
    owner_N = np.repeat(np.arange(len(takes)), [len(at) for at in places])
    place_N: Ids = np.concatenate(places)
    ids_N: Ids = np.concatenate(ids)
    marks_N: Marks = np.concatenate(marks)
    order_N = np.argsort(ids_N, kind="stable")
    for start in range(0, len(order_N), BLOCK_ROWS):
        if stopping():
            raise Stopping("an index was being built while the service stopped")
        order_B = order_N[start : start + BLOCK_ROWS]
        rows_BD = np.empty((len(order_B), dim), np.float32)
        for number, take in enumerate(takes):
            mine_B = owner_N[order_B] == number
            rows_BD[mine_B] = take(place_N[order_B[mine_B]])
        yield ids_N[order_B], marks_N[order_B], rows_BD
