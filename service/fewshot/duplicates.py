"""Near-duplicates among embeddings: groups where no patient ids are known.

Shape suffixes: N rows, D embedding width, P pairs, B rows of a block.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from service.arrays import Bools, Doubles, Floats, Ints
from service.errors import InputError
from service.fewshot.head import unit_rows

MAX_ROWS = 20_000  # all pairs are compared: 4e8 products of rows, some ten seconds
USUAL = 99.0  # percentile of pairs with different labels, which are not copies of each other
USUAL_OF_CONFLICTS = 90.0  # when copies with different labels are searched for
_CHUNK = 256
_SAMPLED = 2000


@dataclass(frozen=True, slots=True)
class Pairs:
    """Similar pairs of rows, the most similar first.

    Attributes:
        first_P, second_P: row numbers, first < second.
        cosine_P: of each pair.
    """

    first_P: Ints
    second_P: Ints
    cosine_P: Doubles


def alike(embeddings_ND: npt.NDArray[np.floating], *, min_similarity: float) -> Pairs:
    """All pairs of rows with a cosine of at least ``min_similarity``.

    Raises:
        InputError: zero or non-finite rows, a min_similarity outside (0, 1], or too many rows.
    """
    firsts, seconds, cosines = [], [], []
    for first_P, second_P, cosine_P in _blocks(embeddings_ND, min_similarity):
        firsts.append(first_P)
        seconds.append(second_P)
        cosines.append(cosine_P)
    all_P = np.concatenate(cosines).astype(np.float64)
    order_P = np.argsort(-all_P, kind="stable")
    return Pairs(np.concatenate(firsts)[order_P], np.concatenate(seconds)[order_P], all_P[order_P])


def _blocks(
    embeddings_ND: npt.NDArray[np.floating], min_similarity: float
) -> Iterator[tuple[Ints, Ints, Floats]]:
    """First rows, second rows and cosines of similar pairs, one block of first rows at a time."""
    if not 0 < min_similarity <= 1:
        raise InputError(f"expected a min_similarity above 0 and up to 1, got {min_similarity}")
    if len(embeddings_ND) > MAX_ROWS:
        raise InputError(f"expected at most {MAX_ROWS} rows, got {len(embeddings_ND)}")
    unit_ND = unit_rows(embeddings_ND).astype(np.float32)
    for start in range(0, len(unit_ND), _CHUNK):
        with threadpool_limits(1):
            cosines_BN = unit_ND[start : start + _CHUNK] @ unit_ND[start:].T
        # In float32 the cosine of two equal rows may be 1 - 1e-7.
        rows_P, columns_P = np.nonzero(np.triu(cosines_BN >= min_similarity - 1e-6, k=1))
        yield rows_P + start, columns_P + start, cosines_BN[rows_P, columns_P]


def first_pairs(
    embeddings_ND: npt.NDArray[np.floating],
    rank_of: Callable[[Ints, Ints], Ints],
    *,
    limit: int,
    min_similarity: float,
) -> tuple[Pairs, dict[int, int]]:
    """The first ``limit`` similar pairs by rank and then by cosine, and the number of each rank.

    Args:
        rank_of: (P,) ranks of pairs, given by their first and their second rows; below 0 = the
            pair is left out.

    Raises:
        InputError: as ``alike``.
    """
    first_P, second_P = np.zeros(0, np.int64), np.zeros(0, np.int64)
    cosine_P, rank_P = np.zeros(0), np.zeros(0, np.int64)
    numbers: Counter[int] = Counter()
    # Block by block, because a thousand copies of one frame are half a million pairs.
    for firsts, seconds, cosines in _blocks(embeddings_ND, min_similarity):
        ranks = rank_of(firsts, seconds)
        keep = np.flatnonzero(ranks >= 0)
        numbers.update(ranks[keep].tolist())
        first_P, second_P = np.append(first_P, firsts[keep]), np.append(second_P, seconds[keep])
        cosine_P, rank_P = np.append(cosine_P, cosines[keep]), np.append(rank_P, ranks[keep])
        best = np.lexsort((second_P, first_P, -cosine_P, rank_P))[:limit]
        first_P, second_P = first_P[best], second_P[best]
        cosine_P, rank_P = cosine_P[best], rank_P[best]
    return Pairs(first_P, second_P, cosine_P), dict(numbers)


def fingerprints(embeddings_ND: npt.NDArray[np.floating]) -> npt.NDArray[np.uint64]:
    """(N,) 64 bits of a random linear sum: equal for equal rows, and hardly ever for others.

    For 100,000 rows a digest per row would take ten times as long.
    """
    whole_ND = np.ascontiguousarray(embeddings_ND)
    words_NW = whole_ND.view(np.uint32)
    factors_W = np.random.default_rng(0).integers(1, 2**63, words_NW.shape[1], np.uint64) * 2 + 1
    fingerprints_N = np.empty(len(words_NW), np.uint64)
    for start in range(0, len(words_NW), _CHUNK):
        fingerprints_N[start : start + _CHUNK] = words_NW[start : start + _CHUNK] @ factors_W
    return fingerprints_N


def near_duplicate_groups(
    embeddings_ND: npt.NDArray[np.floating], *, min_similarity: float
) -> Ints:
    """(N,) group numbers; a chain of similar pairs joins rows.

    The groups stand in for patients: they hold repeated frames, not two views of one patient.

    Raises:
        InputError: as ``alike``.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(embeddings_ND)
    groups_N = np.arange(count)
    # Block by block, because a thousand copies of one frame are half a million pairs.
    for first_P, second_P, _ in _blocks(embeddings_ND, min_similarity):
        heads_N = np.unique(groups_N, return_index=True)[1][groups_N]
        first, second = np.append(np.arange(count), first_P), np.append(heads_N, second_P)
        links = coo_array((np.ones(len(first), bool), (first, second)), (count, count))
        groups_N = connected_components(links, directed=False)[1].astype(np.int64)
    return groups_N


def closest(
    embeddings_ND: npt.NDArray[np.floating], others_MD: npt.NDArray[np.floating]
) -> tuple[Ints, Doubles]:
    """(N,) number of the most similar other row, and (N,) its cosine.

    Raises:
        InputError: zero or non-finite rows.
    """
    unit_ND = unit_rows(embeddings_ND).astype(np.float32)
    unit_MD = unit_rows(others_MD).astype(np.float32)
    best_N, cosine_N = np.zeros(len(unit_ND), np.int64), np.zeros(len(unit_ND))
    for start in range(0, len(unit_ND), _CHUNK):
        with threadpool_limits(1):
            cosines_BM = unit_ND[start : start + _CHUNK] @ unit_MD.T
        best_N[start : start + _CHUNK] = cosines_BM.argmax(1)
        cosine_N[start : start + _CHUNK] = cosines_BM.max(1)
    return best_N, cosine_N


def joined_by_similarity(
    groups: Sequence[str],
    is_bare_N: Bools,
    embeddings_ND: npt.NDArray[np.floating],
    *,
    min_similarity: float,
) -> tuple[list[str], Bools]:
    """Groups in which rows without a patient join similar rows, and (N,) which rows joined.

    Similar rows without a patient are one group: that of the most similar row of a known group,
    or else the first of their own by name. The order of the rows therefore changes no name.

    Args:
        groups: N names.
        is_bare_N: which rows have no patient.

    Raises:
        InputError: as ``alike``, of the rows without a patient.
    """
    joined = list(groups)
    bare = np.flatnonzero(is_bare_N)
    known = np.array(sorted(np.flatnonzero(~is_bare_N), key=joined.__getitem__), np.int64)
    number_B = near_duplicate_groups(embeddings_ND[bare], min_similarity=min_similarity)
    names: dict[int, str] = {}
    for row, number in zip(bare.tolist(), number_B.tolist(), strict=True):
        names[number] = min(names.get(number, groups[row]), groups[row])
    is_joined_B = np.bincount(number_B)[number_B] > 1
    if len(known):
        best_B, cosine_B = closest(embeddings_ND[bare], embeddings_ND[known])
        near = [
            (float(cosine_B[b]), groups[known[best_B[b]]], int(number_B[b]))
            for b in np.flatnonzero(cosine_B >= min_similarity).tolist()
        ]
        for _, name, number in sorted(near):  # the most similar comes last
            names[number] = name
        is_joined_B |= np.isin(number_B, [number for *_, number in near])
    for row, number in zip(bare.tolist(), number_B.tolist(), strict=True):
        joined[row] = names[number]
    is_joined_N = np.zeros(len(groups), np.bool_)
    is_joined_N[bare] = is_joined_B
    return joined, is_joined_N


def similarity_of_copies(
    embeddings_ND: npt.NDArray[np.floating],
    labels: Sequence[str],
    *,
    min_similarity: float,
    usual: float = USUAL,
    seed: int = 0,
) -> float:
    """The cosine from which rows count as copies: ``min_similarity`` or more.

    Where many rows of different labels are more similar than that, the threshold is a percentile
    of the cosines of those pairs.

    Args:
        min_similarity: cosine from which frames of this encoder are near-duplicates.
        usual: percentile of the pairs of different labels.

    Raises:
        InputError: lengths differ, or zero or non-finite rows.
    """
    if len(embeddings_ND) != len(labels):
        raise InputError(f"expected {len(embeddings_ND)} labels, got {len(labels)}")
    rows = np.arange(len(labels))
    if len(rows) > _SAMPLED:  # drawn in an order that the upload cannot change
        rows = np.argsort(fingerprints(np.asarray(embeddings_ND)), kind="stable")
        rows = np.random.default_rng(seed).permutation(rows)[:_SAMPLED]
    unit_ND = unit_rows(embeddings_ND[rows]).astype(np.float32)
    number_N = np.unique(np.asarray(labels, object)[rows].astype(str), return_inverse=True)[1]
    with threadpool_limits(1):
        cosines_NN = unit_ND @ unit_ND.T
    cosine_P = cosines_NN[number_N[:, None] < number_N]
    if not len(cosine_P):
        return min_similarity
    return min(1.0, max(min_similarity, float(np.percentile(cosine_P, usual))))
