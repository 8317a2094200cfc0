"""Find evaluation frames that the distillation corpus already knows.

A frame leaks as the same file, as another frame of its subject or video, or as a near-duplicate.
A leak is an error; a number measured over one is worth nothing.

Shape suffixes: N frames, K words of a hash.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.errors import Conflict, InputError
from training.catalogue.manifest import USES, ManifestRow
from training.catalogue.near_duplicates import RADIUS_BITS, Words, find_pairs, hash_rows

SAME_FILE, SAME_GROUP, NEAR_DUPLICATE = "same file", "same group", "near-duplicate"
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Leak:
    """One evaluation frame and the corpus frame that matches it.

    Attributes:
        corpus: the row that may be trained on.
        bench: the row that must not be known.
        distance_bits: of the perceptual hashes, 0 for the other kinds.
    """

    kind: str
    corpus: ManifestRow
    bench: ManifestRow
    distance_bits: int = 0


def corpus_and_bench(
    rows: Sequence[ManifestRow],
) -> tuple[list[ManifestRow], list[ManifestRow]]:
    """The rows that may be learnt from, and those that are evaluated on.

    Raises:
        InputError: a row is neither: an evaluation frame under another name would be guarded by
            nothing.
    """
    strange = [row for row in rows if row.use not in USES]
    if strange:
        raise InputError(
            f"expected a use of {' or '.join(USES)}, got {strange[0].use!r} in "
            f"{len(strange)} rows of the manifest"
        )
    corpus, bench = ([row for row in rows if row.use == use] for use in USES)
    return corpus, bench


def read_apart(rows: Sequence[ManifestRow]) -> tuple[list[ManifestRow], list[ManifestRow]]:
    """``corpus_and_bench``, after a check that the corpus knows nothing of the bench.

    Raises:
        Conflict: as ``check_disjoint``.
        InputError: as both.
    """
    corpus, bench = corpus_and_bench(rows)
    if bench:
        check_disjoint(corpus, bench)
    return corpus, bench


def find_leaks(
    corpus: Sequence[ManifestRow],
    bench: Sequence[ManifestRow],
    *,
    radius_bits: int = RADIUS_BITS,
    hashes: tuple[Words, Words] | None = None,
) -> list[Leak]:
    """Every leak, one for each evaluation frame and kind: its nearest or first cause.

    Args:
        hashes: perceptual hashes of both, uint64 (N, K) each; computed when not given.

    Raises:
        InputError: a file is missing or does not decode.
    """
    leaks = _by_key(SAME_FILE, corpus, bench, _digests(corpus), _digests(bench))
    groups = [[row.group for row in rows] for rows in (corpus, bench)]
    leaks += _by_key(SAME_GROUP, corpus, bench, *groups)
    left_NK, right_NK = hashes or (hash_rows(corpus), hash_rows(bench))
    sides = [0] * len(corpus) + [1] * len(bench)
    nearest: dict[int, Leak] = {}
    for pair in find_pairs(np.concatenate([left_NK, right_NK]), radius_bits, sides):
        row = pair.second - len(corpus)
        if row not in nearest or pair.distance_bits < nearest[row].distance_bits:
            nearest[row] = Leak(NEAR_DUPLICATE, corpus[pair.first], bench[row], pair.distance_bits)
    return leaks + [nearest[row] for row in sorted(nearest)]


def check_disjoint(
    corpus: Sequence[ManifestRow], bench: Sequence[ManifestRow], *, radius_bits: int = RADIUS_BITS
) -> None:
    """Refuse a corpus that holds an evaluation frame, its subject or a near-duplicate of it.

    Raises:
        Conflict: with the number of evaluation frames of each kind of leak and examples.
        InputError: a file is missing or does not decode.
    """
    leaks = find_leaks(corpus, bench, radius_bits=radius_bits)
    if leaks:
        raise Conflict(f"the distillation pool knows the evaluation: {describe(leaks)}")


def describe(leaks: Sequence[Leak]) -> str:
    """Counts by kind and a few examples, one line."""
    counts = Counter(leak.kind for leak in leaks)
    parts = [f"{number} frames by {kind}" for kind, number in counts.items()]
    examples = [
        f"{leak.bench.path.name} of {leak.bench.dataset} is in {leak.corpus.path.name} of "
        f"{leak.corpus.dataset} ({leak.kind}, {leak.distance_bits} bits)"
        for leak in leaks[:_EXAMPLES]
    ]
    return f"{', '.join(parts)}; such as {'; '.join(examples)}"


def _by_key(
    kind: str,
    corpus: Sequence[ManifestRow],
    bench: Sequence[ManifestRow],
    corpus_keys: Sequence[str],
    bench_keys: Sequence[str],
) -> list[Leak]:
    known = dict(zip(reversed(corpus_keys), reversed(corpus), strict=True))
    pairs = zip(bench_keys, bench, strict=True)
    return [Leak(kind, known[key], row) for key, row in pairs if key in known]


def _digests(rows: Sequence[ManifestRow]) -> list[str]:
    """Of the files as they are now: a recorded digest may be of another file."""
    try:
        return [hashlib.sha256(row.path.read_bytes()).hexdigest() for row in rows]
    except OSError as error:
        raise InputError(f"a frame cannot be read: {error}") from error
