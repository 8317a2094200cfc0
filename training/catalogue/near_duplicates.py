"""Find frames that show the same picture, within a set and across sets.

Published sets contain each other: the same clip is cropped, resized, recompressed and renamed.
A perceptual hash of the decoded frame survives that; file digests do not. Every pair of hashes
is compared, so no pair within the radius is missed.

Shape suffixes: N frames, H height, W width, K words of a hash, P pairs.
"""

import dataclasses
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from training.catalogue.manifest import Row, load_frame

Words: TypeAlias = npt.NDArray[np.uint64]
HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
RADIUS_BITS = 40  # docs/decisions/0006-near-duplicates.md says from which measurements
_WORDS = HASH_BITS // 64
_BLOCK_ELEMENTS = 4_000_000  # of one block of distances: 32 MB of 64-bit words


@dataclass(frozen=True, slots=True)
class Pair:
    """Two frames that show the same picture.

    Attributes:
        first: row number of one frame, smaller than ``second``.
        second: row number of the other.
        distance_bits: how many of the 256 hash bits differ.
    """

    first: int
    second: int
    distance_bits: int


def perceptual_hash(frame_HW: npt.NDArray[np.uint8]) -> Words:
    """Signs of the 16 x 16 lowest cosine coefficients about their median, uint64 (K,) = (4,).

    Source: ``imagehash.phash`` (BSD-2-Clause), after hackerfactor.com, "Looks Like It" (2011).
    """
    bits = imagehash.phash(Image.fromarray(frame_HW), hash_size=HASH_SIDE).hash
    words_K: Words = np.packbits(bits.ravel()).view(np.uint64)
    return words_K


def hash_rows(rows: Iterable[Row]) -> Words:
    """Hash every row's decoded frame, one frame in memory at a time; uint64 (N, K).

    Raises:
        InputError: a file is missing or does not decode; it is named.
    """
    hashes = [perceptual_hash(load_frame(row.path)) for row in rows]
    return np.stack(hashes) if hashes else np.zeros((0, _WORDS), np.uint64)


def find_pairs(
    hashes_NK: Words,
    radius_bits: int = RADIUS_BITS,
    kinds: Sequence[Hashable] | None = None,
) -> list[Pair]:
    """All pairs of hashes at most ``radius_bits`` apart, exactly, ordered by row number.

    Args:
        hashes_NK: of ``perceptual_hash``.
        radius_bits: most differing bits.
        kinds: one a row; pairs of one kind are left out, so that a clip of thousands of frames
            does not give millions of pairs.
    """
    number = len(hashes_NK)
    codes = {kind: code for code, kind in enumerate(dict.fromkeys(kinds or ()))}
    codes_N = np.array([codes[kind] for kind in kinds] if kinds else range(number), np.int64)
    step = max(1, _BLOCK_ELEMENTS // max(1, number))
    pairs: list[Pair] = []
    for start in range(0, number, step):
        distances = _distances(hashes_NK[start : start + step], hashes_NK[start:])
        near_P, other_P = np.nonzero(distances <= radius_bits)
        wanted_P = (other_P > near_P) & (codes_N[start + near_P] != codes_N[start + other_P])
        near_P, other_P = near_P[wanted_P], other_P[wanted_P]
        bits_P = distances[near_P, other_P]
        pairs += [
            Pair(start + int(a), start + int(b), int(bits))
            for a, b, bits in zip(near_P, other_P, bits_P, strict=True)
        ]
    return pairs


def _distances(left_NK: Words, right_NK: Words) -> npt.NDArray[np.uint16]:
    """Hamming distances of every left hash to every right hash, uint16 (left, right)."""
    total = np.zeros((len(left_NK), len(right_NK)), np.uint16)
    for word in range(left_NK.shape[1]):
        total += np.bitwise_count(left_NK[:, word, None] ^ right_NK[None, :, word])
    return total


def join_groups(rows: Sequence[Row], pairs: Iterable[Pair]) -> list[Row]:
    """Merge the groups of near-duplicates, and mark frames whose group mates disagree.

    Groups that share a near-duplicate become one, named after its first row's group. A frame is
    marked ``label_conflict`` when a chain of near-duplicate pairs of one data set leads from it
    to another label; earlier marks stay. Unlabelled frames contradict nothing.
    """
    edges = list(pairs)
    groups = _UnionFind(row.group for row in rows)
    for pair in edges:
        groups.join(rows[pair.first].group, rows[pair.second].group)
    conflicted = _conflicts(rows, edges)
    return [
        dataclasses.replace(
            row,
            group=groups.root(row.group),
            label_conflict=row.label_conflict or number in conflicted,
        )
        for number, row in enumerate(rows)
    ]


def _conflicts(rows: Sequence[Row], pairs: Iterable[Pair]) -> set[int]:
    """Numbers of the rows in near-duplicate chains that carry more than one label.

    Only rows of one data set are compared: two sets name their classes differently.
    """
    chains = _UnionFind(str(number) for number in range(len(rows)))
    touched: set[int] = set()
    for pair in pairs:
        first, second = rows[pair.first], rows[pair.second]
        if first.dataset == second.dataset and first.label and second.label:
            chains.join(str(pair.first), str(pair.second))
            touched |= {pair.first, pair.second}
    labels: dict[str, set[str]] = {}
    for number in touched:
        labels.setdefault(chains.root(str(number)), set()).add(rows[number].label)
    return {number for number in touched if len(labels[chains.root(str(number))]) > 1}


class _UnionFind:
    """Disjoint sets of names; the earliest name given stands for its set."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent: dict[str, str] = {}
        self._rank: dict[str, int] = {}
        for name in names:
            self._parent.setdefault(name, name)
            self._rank.setdefault(name, len(self._rank))

    def root(self, name: str) -> str:
        path = []
        while self._parent[name] != name:
            path.append(name)
            name = self._parent[name]
        for passed in path:
            self._parent[passed] = name
        return name

    def join(self, left: str, right: str) -> None:
        first, second = sorted((self.root(left), self.root(right)), key=self._rank.__getitem__)
        self._parent[second] = first
