"""Which examples count once and stay on one side of a judgement: patients, or what stands in.

Shape suffixes: N examples, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.classifiers.examples import Example
from service.fewshot.duplicates import closest, likeness_of_copies, near_duplicate_groups

Floats: TypeAlias = npt.NDArray[np.float32]

MOST_SEARCHED = 10_000  # examples without ids: all pairs are compared, some seconds


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups of examples, and how they came about.

    Attributes:
        groups: one per example.
        without_ids: examples with neither subject nor study.
        joined: of them, those that another one resembles so much that both are one group.
        likeness: the cosine that makes it so; None where it was not looked for.
    """

    groups: tuple[str, ...]
    without_ids: int
    joined: int
    likeness: float | None

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "without_ids": self.without_ids,
            "joined_by_likeness": self.joined,
            "likeness": None if self.likeness is None else round(self.likeness, 4),
        }

    def warnings(self) -> list[str]:
        """What a reader of the figures must know."""
        if not self.without_ids:
            return []
        said = f"patient ids are missing for {self.without_ids} of {len(self.groups)} examples: "
        if self.likeness is None:
            return [f"{said}each image stands for a patient; too many to look for copies"]
        return [f"{said}near-duplicates count as one patient, other views of a patient do not"]


def grouped(examples: Sequence[Example], embeddings_ND: Floats) -> Grouping:
    """Subjects, else studies; examples without either join what they look like."""
    groups = [example.group for example in examples]
    is_bare_N = np.array([e.subject_id is None and e.study_id is None for e in examples])
    bare, known = np.flatnonzero(is_bare_N), np.flatnonzero(~is_bare_N)
    if not len(bare) or len(bare) > MOST_SEARCHED:
        return Grouping(tuple(groups), len(bare), 0, None)
    likeness = likeness_of_copies(embeddings_ND, [example.label for example in examples])
    found_N = near_duplicate_groups(embeddings_ND[bare], likeness=likeness)
    names = {number: f"alike:{number}" for number in found_N.tolist()}
    is_joined_N = np.bincount(found_N)[found_N] > 1
    if len(known):
        best_N, cosine_N = closest(embeddings_ND[bare], embeddings_ND[known])
        for i in np.flatnonzero(cosine_N >= likeness)[np.argsort(cosine_N[cosine_N >= likeness])]:
            names[int(found_N[i])] = groups[int(known[best_N[i]])]
        is_joined_N |= np.array([not names[n].startswith("alike:") for n in found_N.tolist()])
    for row, number in zip(bare.tolist(), found_N.tolist(), strict=True):
        groups[row] = names[number]
    return Grouping(tuple(groups), len(bare), int(is_joined_N.sum()), likeness)
