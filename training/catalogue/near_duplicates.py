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
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from training.catalogue.manifest import ManifestRow, load_frame

Words: TypeAlias = npt.NDArray[np.uint64]
HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
RADIUS_BITS = 40  # docs/decisions/0006-near-duplicates.md says from which measurements
_WORDS = HASH_BITS // 64
_BLOCK_ELEMENTS = 1_000_000  # of one block of distances: 32 MB of 64-bit words


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


def hash_rows(rows: Iterable[ManifestRow]) -> Words:
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
    differing = np.bitwise_count(left_NK[:, None] ^ right_NK[None])
    distances: npt.NDArray[np.uint16] = differing.sum(2, dtype=np.uint16)
    return distances


def join_groups(rows: Sequence[ManifestRow], pairs: Iterable[Pair]) -> list[ManifestRow]:
    """Merge the groups of near-duplicates, and mark frames whose group mates disagree.

    Groups that share a near-duplicate become one, named after its first row's group. A frame is
    marked ``label_conflict`` when a chain of near-duplicate pairs of one data set leads from it
    to another label; earlier marks stay. Unlabelled frames contradict nothing.
    """
    edges = list(pairs)
    first_of = {row.group: number for number, row in reversed(list(enumerate(rows)))}
    same_group = [(first_of[row.group], number) for number, row in enumerate(rows)]
    roots = _roots(len(rows), same_group + [(pair.first, pair.second) for pair in edges])
    conflicted = _conflicts(rows, edges)
    marks = [row.label_conflict or number in conflicted for number, row in enumerate(rows)]
    return [
        dataclasses.replace(row, group=rows[root].group, label_conflict=mark)
        for row, root, mark in zip(rows, roots, marks, strict=True)
    ]


def _conflicts(rows: Sequence[ManifestRow], pairs: Iterable[Pair]) -> set[int]:
    """Numbers of the rows in near-duplicate chains that carry more than one label.

    Only rows of one data set are compared: two sets name their classes differently.
    """
    edges = [
        (pair.first, pair.second)
        for pair in pairs
        if rows[pair.first].dataset == rows[pair.second].dataset
        and rows[pair.first].label
        and rows[pair.second].label
    ]
    roots = _roots(len(rows), edges)
    labels: dict[int, set[str]] = {}
    chained = sorted({number for edge in edges for number in edge})
    for number in chained:
        labels.setdefault(roots[number], set()).add(rows[number].label)
    return {number for number in chained if len(labels[roots[number]]) > 1}


def _roots(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Of each of ``count`` rows, the first row that edges connect it with."""
    left_E, right_E = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(left_E)), (left_E, right_E)), shape=(count, count))
    components_N = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(components_N, return_index=True, return_inverse=True)
    roots: list[int] = first[inverse].tolist()
    return roots
