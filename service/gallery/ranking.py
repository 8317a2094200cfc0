"""From a ranking to an answer: so many hits per group, and hits that differ from each other.

Shape suffixes: N candidates, D embedding width.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.records import Scan

GroupField: TypeAlias = Literal["subject", "study", "cine"]
CINE_ATTRIBUTE = "cine_id"  # stills of one clip say so by this attribute


@dataclass(frozen=True, slots=True)
class Hit:
    """A similar scan; ``score`` is the cosine, in [-1, 1]."""

    scan: Scan
    score: float


def at_most_per_group(
    hits: Iterable[Hit], group_by: GroupField | None, group_size: int
) -> Iterator[Hit]:
    """Pass on the first ``group_size`` hits of each group; None = every hit.

    A scan without subject, study or ``cine_id`` is its own group.
    """
    seen: dict[str, int] = {}
    for hit in hits:
        group = _group_of(hit.scan, group_by)
        if group is not None:
            seen[group] = seen.get(group, 0) + 1
            if seen[group] > group_size:
                continue
        yield hit


def diverse(
    scores_N: npt.NDArray[np.float32],
    embeddings_ND: npt.NDArray[np.float32],
    k: int,
    diversity: float,
) -> list[int]:
    """Positions of k candidates in the order of choosing, by maximal marginal relevance.

    Each time the one of greatest ``(1 - diversity) * score - diversity * likeness`` is chosen,
    where likeness is the greatest cosine to what was chosen before (Carbonell & Goldstein,
    SIGIR 1998, with lambda = 1 - diversity).
    """
    lengths_N1 = np.linalg.norm(embeddings_ND, axis=1, keepdims=True)
    unit_ND = embeddings_ND / np.maximum(lengths_N1, 1e-12)
    likeness_N = np.zeros(len(unit_ND), np.float32)
    left_N = np.ones(len(unit_ND), np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(k, len(unit_ND)):
        worth_N = (1 - diversity) * scores_N - diversity * likeness_N
        best = int(np.argmax(np.where(left_N, worth_N, -np.inf)))
        near_N = unit_ND @ unit_ND[best]
        likeness_N = near_N if not chosen else np.maximum(likeness_N, near_N)
        left_N[best] = False
        chosen.append(best)
    return chosen


def _group_of(scan: Scan, group_by: GroupField | None) -> str | None:
    if group_by == "cine":
        named = scan.attributes.get(CINE_ATTRIBUTE)
        return None if named is None else f"{type(named).__name__}:{named}"
    return {"subject": scan.subject_id, "study": scan.study_id, None: None}[group_by]
