"""Check a manifest for everything that can be wrong with it.

Shape suffixes: N frames, K words of a hash.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.errors import InputError
from service.imaging.formats.decode import decode
from training.catalogue.entries import Dataset
from training.catalogue.leaks import find_leaks
from training.catalogue.manifest import MAX_PIXELS, USES, ManifestRow
from training.catalogue.near_duplicates import (
    RADIUS_BITS,
    Pair,
    Words,
    find_pairs,
    hash_rows,
    join_groups,
    perceptual_hash,
)

_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class RuleViolation:
    """One rule and the frames that break it.

    Attributes:
        rule: what was expected.
        is_error: whether the manifest must not be used; else it is to be known.
        number: of frames, or of pairs where the rule says so.
        examples: a few of them.
    """

    rule: str
    is_error: bool
    number: int
    examples: tuple[str, ...]


def check_rows(
    rows: Sequence[ManifestRow],
    catalogue: Mapping[str, Dataset],
    *,
    radius_bits: int = RADIUS_BITS,
) -> list[RuleViolation]:
    """Check rows against their files, each other and leaks between corpus and bench; errors first.

    Files are read and decoded once. Rows whose file is missing or does not decode are reported
    and left out of the comparisons.
    """
    violations = [_violation(rule, True, names) for rule, names in _field_rules(rows).items()]
    files = _read_files(rows)
    violations += [
        _violation("the file exists", True, files.missing),
        _violation("the file has the recorded SHA-256", True, files.changed),
        _violation("the frame decodes", True, files.broken),
        _violation("a SHA-256 is recorded", False, [_name(row) for row in rows if not row.sha256]),
    ]
    violations += _leak_rules(files.rows, files.stacked(), radius_bits)
    violations += _likeness_rules(files.rows, files.stacked(), radius_bits)
    tied = _tied(rows, catalogue)
    violations.append(_violation("sets that share images stay on one side", False, tied))
    broken = [violation for violation in violations if violation.number]
    return sorted(broken, key=lambda violation: not violation.is_error)


@dataclass(slots=True)
class _Files:
    """Rows whose frame is there, and the names of those whose frame is not."""

    rows: list[ManifestRow] = field(default_factory=list)
    hashes: list[Words] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def stacked(self) -> Words:
        """Perceptual hashes of ``rows``, uint64 (N, K)."""
        return np.stack(self.hashes) if self.hashes else hash_rows(())


def _read_files(rows: Iterable[ManifestRow]) -> _Files:
    files = _Files()
    for row in rows:
        try:
            data = row.path.read_bytes()
            frame = decode(data, max_pixels=MAX_PIXELS)
        except OSError:
            files.missing.append(_name(row))
            continue
        except InputError as error:
            files.broken.append(f"{_name(row)}: {error}")
            continue
        if row.sha256 and hashlib.sha256(data).hexdigest() != row.sha256:
            files.changed.append(_name(row))
        files.rows.append(row)
        files.hashes.append(perceptual_hash(frame.pixels_HW))
    return files


def _field_rules(rows: Sequence[ManifestRow]) -> dict[str, list[str]]:
    """What the rows say by themselves."""
    counts = Counter(row.path.resolve() for row in rows)
    repeated = [path.name for path, number in counts.items() if number > 1]
    return {
        f"the use is {' or '.join(USES)}": [_name(row) for row in rows if row.use not in USES],
        "a licence is given": [_name(row) for row in rows if not row.licence.strip()],
        "a file has one row": repeated,
        "a group lies in one split of its set": _torn(rows),
    }


def _torn(rows: Iterable[ManifestRow]) -> list[str]:
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.split:
            splits.setdefault(row.group, set()).add(f"{row.use} {row.split}")
    return [f"{group}: {sorted(places)}" for group, places in splits.items() if len(places) > 1]


def _leak_rules(
    rows: Sequence[ManifestRow], hashes_NK: Words, radius_bits: int
) -> Iterator[RuleViolation]:
    sides = [[number for number, row in enumerate(rows) if row.use == use] for use in USES]
    corpus, bench = [[rows[number] for number in side] for side in sides]
    hashes = (hashes_NK[sides[0]], hashes_NK[sides[1]])
    leaks = find_leaks(corpus, bench, radius_bits=radius_bits, hashes=hashes)
    by_kind: dict[str, list[str]] = {}
    for leak in leaks:
        by_kind.setdefault(leak.kind, []).append(f"{_name(leak.bench)} = {_name(leak.corpus)}")
    for kind, names in by_kind.items():
        yield _violation(f"no bench frame is in the corpus: {kind}", True, names)


def _likeness_rules(
    rows: Sequence[ManifestRow], hashes_NK: Words, radius_bits: int
) -> Iterator[RuleViolation]:
    pairs = find_pairs(hashes_NK, radius_bits, [(row.group, row.label) for row in rows])
    across = [pair for pair in pairs if rows[pair.first].dataset != rows[pair.second].dataset]
    within = [pair for pair in pairs if rows[pair.first].dataset == rows[pair.second].dataset]
    apart = [pair for pair in within if rows[pair.first].group != rows[pair.second].group]
    yield _violation("pairs of near-duplicates across sets", False, _names(rows, across))
    yield _violation("pairs of near-duplicates in two groups of a set", False, _names(rows, apart))
    splits = [(rows[pair.first].split, rows[pair.second].split) for pair in within]
    torn = [pair for pair, (a, b) in zip(within, splits, strict=True) if a and b and a != b]
    yield _violation("near-duplicates lie in one split of their set", True, _names(rows, torn))
    joined = join_groups(rows, pairs)
    unmarked = [
        f"{_name(row)} ({row.label})"
        for row, after in zip(rows, joined, strict=True)
        if after.label_conflict and not row.label_conflict
    ]
    yield _violation("near-duplicates of other labels are marked", True, unmarked)


def _tied(rows: Iterable[ManifestRow], catalogue: Mapping[str, Dataset]) -> list[str]:
    """Sets that share images with a set on the other side, by the catalogue."""
    sides = {use: {row.dataset for row in rows if row.use == use} for use in USES}
    return [
        f"{name} (corpus) and {other} (bench)"
        for name in sorted(sides["corpus"] & set(catalogue))
        for other in catalogue[name].overlaps
        if other in sides["bench"]
    ]


def _names(rows: Sequence[ManifestRow], pairs: Iterable[Pair]) -> list[str]:
    return [
        f"{_name(rows[pair.first])} = {_name(rows[pair.second])} ({pair.distance_bits} bits)"
        for pair in sorted(pairs, key=lambda pair: pair.distance_bits)
    ]


def _name(row: ManifestRow) -> str:
    return f"{row.dataset}/{row.path.name}"


def _violation(rule: str, is_error: bool, names: Sequence[str]) -> RuleViolation:
    return RuleViolation(rule, is_error, len(names), tuple(names[:_EXAMPLES]))
