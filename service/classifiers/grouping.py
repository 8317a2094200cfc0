"""Group examples by patient, or by similarity where patients are not known.

Shape suffixes: N examples.
"""

from dataclasses import dataclass

import numpy as np

from service.classifiers.examples import Examples
from service.fewshot.duplicates import closest, near_duplicate_groups, similarity_of_copies
from service.fewshot.report import GroupingReport

MAX_COMPARED = 10_000  # examples without ids: comparing all pairs takes some seconds


@dataclass(frozen=True, slots=True)
class Grouping:
    """One group per example, and how the groups came about."""

    groups: tuple[str, ...]
    report: GroupingReport

    def warnings(self) -> tuple[str, ...]:
        """Warnings for readers of the report."""
        without_ids, count = self.report.without_ids, len(self.groups)
        if not without_ids:
            return ()
        start = f"patient ids are missing for {without_ids} of {count} examples: "
        if self.report.similarity is None:
            return (f"{start}each image stands for a patient; too many to look for copies",)
        return (f"{start}near-duplicates count as one patient, other views of a patient do not",)


def grouped(examples: Examples) -> Grouping:
    """Group by subject, else by study; examples without either join similar examples."""
    groups, embeddings_ND = list(examples.groups), examples.embeddings_ND
    is_bare_N = np.array(
        [
            subject_id is None and study_id is None
            for subject_id, study_id in zip(examples.subject_ids, examples.study_ids, strict=True)
        ]
    )
    bare, known = np.flatnonzero(is_bare_N), np.flatnonzero(~is_bare_N)
    if not len(bare) or len(bare) > MAX_COMPARED:
        return Grouping(tuple(groups), GroupingReport(len(bare), 0, None))
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
    report = GroupingReport(len(bare), int(is_joined_N.sum()), similarity)
    return Grouping(tuple(groups), report)
