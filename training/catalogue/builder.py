"""Build checked manifest rows from the files of a data set; list the skipped files."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.errors import InputError
from service.imaging.formats.decode import decode
from training.catalogue.adapters import FoundFile
from training.catalogue.manifest import MAX_PIXELS, USES, ManifestRow
from training.catalogue.near_duplicates import (
    RADIUS_BITS,
    Pair,
    Words,
    find_pairs,
    join_groups,
    perceptual_hash,
)


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What all rows of one set share."""

    dataset: str
    licence: str
    use: str = "corpus"
    organ: str = ""


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that became no row, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class ManifestBuild:
    """Rows of one set.

    Attributes:
        hashes_NK: their perceptual hashes, uint64 (N, K).
    """

    rows: list[ManifestRow]
    hashes_NK: Words
    skipped: list[SkippedFile]


def make_rows(files: Iterable[FoundFile], root: Path, facts: SetFacts) -> ManifestBuild:
    """Read, hash and decode every file once; list those that do not decode.

    A frame without a group is a group of its own.

    Raises:
        InputError: an unknown use, no licence, a name with a slash, or not one usable frame.
    """
    _check_facts(facts)
    rows: list[ManifestRow] = []
    hashes: list[Words] = []
    skipped: list[SkippedFile] = []
    for item in files:
        try:
            row, words_K = _row(item, root, facts)
        except InputError as error:
            skipped.append(SkippedFile(item.path, str(error)))
            continue
        rows.append(row)
        hashes.append(words_K)
    if not rows:
        first = f", the first because: {skipped[0].reason}" if skipped else ""
        raise InputError(f"no frame was found; {len(skipped)} files were skipped{first}")
    return ManifestBuild(rows, np.stack(hashes), skipped)


def join_near_duplicates(
    rows: Sequence[ManifestRow], hashes_NK: Words, radius_bits: int = RADIUS_BITS
) -> tuple[list[ManifestRow], list[Pair]]:
    """Join groups of near-duplicates and mark label conflicts; the rows, and the pairs found.

    Pairs of one group and one label say nothing new and are left out.
    """
    pairs = find_pairs(hashes_NK, radius_bits, [(row.group, row.label) for row in rows])
    return join_groups(rows, pairs), pairs


def _check_facts(facts: SetFacts) -> None:
    if facts.use not in USES:
        raise InputError(f"expected a use of {' or '.join(USES)}, got {facts.use!r}")
    if not facts.licence:
        raise InputError("a licence is needed; say what is known, such as 'own data'")
    if not facts.dataset or "/" in facts.dataset:
        raise InputError(f"expected a set's name without a slash, got {facts.dataset!r}")


def _row(item: FoundFile, root: Path, facts: SetFacts) -> tuple[ManifestRow, Words]:
    if item.problem:
        raise InputError(item.problem)
    try:
        data = item.path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from error
    words_K = perceptual_hash(decode(data, max_pixels=MAX_PIXELS).pixels_HW)
    inner = item.path.resolve().relative_to(root.resolve()).as_posix()
    row = ManifestRow(
        path=item.path.resolve(),
        use=facts.use,
        dataset=facts.dataset,
        label=item.label,
        group=f"{facts.dataset}/{item.group.strip('/') or inner}",
        split=item.split,
        licence=facts.licence,
        label_conflict=False,
        organ=facts.organ,
        sha256=hashlib.sha256(data).hexdigest(),
        source=inner,
    )
    return row, words_K
