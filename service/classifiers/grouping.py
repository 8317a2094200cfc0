"""Which examples count once and stay on one side of a split: patients, or what stands in.

Shape suffixes: N examples.
"""

from dataclasses import dataclass

import numpy as np

from service.classifiers.examples import Examples
from service.fewshot.duplicates import closest, near_duplicate_groups, similarity_of_copies
from service.fewshot.report import GroupingReport

MAX_COMPARED = 10_000  # examples without ids: all pairs are compared, some seconds


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups of examples, and how they came about.

    Attributes:
        groups: one per example.
        without_ids: examples with neither subject nor study.
        joined: of them, those that another one resembles so much that both are one group.
        similarity: the cosine that makes it so; None where copies were not looked for.
    """

    groups: tuple[str, ...]
    without_ids: int
    joined: int
    similarity: float | None

    @property
    def report(self) -> GroupingReport:
        """For the report of the fit."""
        return GroupingReport(self.without_ids, self.joined, self.similarity)

    def warnings(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        if not self.without_ids:
            return ()
        start = f"patient ids are missing for {self.without_ids} of {len(self.groups)} examples: "
        if self.similarity is None:
            return (f"{start}each image stands for a patient; too many to look for copies",)
        return (f"{start}near-duplicates count as one patient, other views of a patient do not",)


def grouped(examples: Examples) -> Grouping:
    """Subjects, else studies; examples without either join what they look like."""
    groups, embeddings_ND = list(examples.groups), examples.embeddings_ND
    is_bare_N = np.array(
        [
            subject_id is None and study_id is None
            for subject_id, study_id in zip(examples.subject_ids, examples.study_ids, strict=True)
        ]
    )
    bare, known = np.flatnonzero(is_bare_N), np.flatnonzero(~is_bare_N)
    if not len(bare) or len(bare) > MAX_COMPARED:
        return Grouping(tuple(groups), len(bare), 0, None)
    similarity = similarity_of_copies(embeddings_ND, examples.labels)
    number_N = near_duplicate_groups(embeddings_ND[bare], min_similarity=similarity)
    names = {number: f"alike:{number}" for number in number_N.tolist()}
    is_joined_N = np.bincount(number_N)[number_N] > 1
    if len(known):
        best_N, cosine_N = closest(embeddings_ND[bare], embeddings_ND[known])
        alike = np.flatnonzero(cosine_N >= similarity)
        for i in alike[np.argsort(cosine_N[alike])]:
            names[int(number_N[i])] = groups[int(known[best_N[i]])]
        is_joined_N |= np.array([not names[n].startswith("alike:") for n in number_N.tolist()])
    for row, number in zip(bare.tolist(), number_N.tolist(), strict=True):
        groups[row] = names[number]
    return Grouping(tuple(groups), len(bare), int(is_joined_N.sum()), similarity)
