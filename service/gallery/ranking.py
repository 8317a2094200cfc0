"""From a ranking to an answer: a limit of hits per group, and hits that differ.

Shape suffixes: N candidates, D embedding width.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.gallery.gallery_records import Floats, GroupField, Scan, SearchHit, SearchRequest

CINE_ATTRIBUTE = "cine_id"  # equal for the stills of one clip
SCORE_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Query:
    """A search request whose examples are resolved.

    Attributes:
        request: ``where`` includes the condition of ``exclude_same``.
        embedding_D: float32, the direction to search.
        hide_row_ids: stored scans that the query is made of.
    """

    request: SearchRequest
    embedding_D: Floats
    hide_row_ids: frozenset[int]


def rounded(score: float) -> float:
    """A cosine with the digits that ranking, thresholds and answers use."""
    return round(float(score), SCORE_DIGITS)


def at_most_per_group(
    hits: Iterable[SearchHit], group_by: GroupField | None, group_size: int
) -> Iterator[SearchHit]:
    """The first ``group_size`` hits of each group; with ``group_by`` None, every hit.

    A scan without subject, study or ``cine_id`` is its own group.
    """
    counts: Counter[str] = Counter()
    for hit in hits:
        group = _group_of(hit.scan, group_by)
        if group is not None:
            counts[group] += 1
        if group is None or counts[group] <= group_size:
            yield hit


def diverse(
    scores_N: npt.NDArray[np.float32],
    embeddings_ND: npt.NDArray[np.float32],
    k: int,
    diversity: float,
) -> list[int]:
    """Positions of k candidates in the order of choosing, by maximal marginal relevance.

    Each step takes the candidate with the greatest ``(1 - diversity) * score - diversity *
    similarity``; similarity is its greatest cosine to the candidates taken before (Carbonell &
    Goldstein, SIGIR 1998, with lambda = 1 - diversity).
    """
    lengths_N1 = np.linalg.norm(embeddings_ND, axis=1, keepdims=True)
    unit_ND = embeddings_ND / np.maximum(lengths_N1, 1e-12)
    similarity_N = np.zeros(len(unit_ND), np.float32)
    left_N = np.ones(len(unit_ND), np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(k, len(unit_ND)):
        worth_N = (1 - diversity) * scores_N - diversity * similarity_N
        best = int(np.argmax(np.where(left_N, worth_N, -np.inf)))
        near_N = unit_ND @ unit_ND[best]
        similarity_N = near_N if not chosen else np.maximum(similarity_N, near_N)
        left_N[best] = False
        chosen.append(best)
    return chosen


def _group_of(scan: Scan, group_by: GroupField | None) -> str | None:
    if group_by == "cine":
        cine = scan.attributes.get(CINE_ATTRIBUTE)
        return None if cine is None else f"{type(cine).__name__}:{cine}"
    return {"subject": scan.subject_id, "study": scan.study_id, None: None}[group_by]
