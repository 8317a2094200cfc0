"""Which examples cannot evaluate a version, and why.

Shape suffixes: N examples, M examples of the fit, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from service.arrays import Floats
from service.catalog.records import VersionExample
from service.classifiers.examples import (
    Examples,
    Ids,
    known_subject,
    labels_of,
    subjects_of_studies,
)
from service.classifiers.loaded import LoadedClassifier
from service.errors import ExamplesRefused
from service.fewshot.duplicates import closest, similarity_of_copies

RefusalReason: TypeAlias = Literal[
    "unreadable",
    "unknown_scan",
    "unknown_class",
    "same_scan",
    "same_image",
    "same_subject",
    "same_study",
    "near_copy",
]
OnRefused: TypeAlias = Literal["fail", "leave_out"]
LEARNT: frozenset[RefusalReason] = frozenset(
    {"same_scan", "same_image", "same_subject", "same_study", "near_copy"}
)
NAMED = 5  # examples that an error names in its text
LISTED = 50  # examples that a response lists
IDENTICAL = 1 - 1e-5  # cosine of two float32 embeddings of the same pixels


@dataclass(frozen=True, slots=True)
class RefusedExample:
    """An example that was not used.

    Attributes:
        scan: (collection, scan_id) of a stored scan.
        file: number of the upload among those of the request, from 0.
        code: of the error of an unreadable upload.
    """

    reason: RefusalReason
    scan: tuple[str, str] | None = None
    file: int | None = None
    code: str | None = None

    @property
    def name(self) -> str:
        """For errors: the id of a stored scan, or the number of a file."""
        name = f"file {self.file}" if self.scan is None else f"scan {'/'.join(self.scan)}"
        return f"{name} ({self.code or self.reason})"

    def to_json(self) -> dict[str, Any]:
        """As in responses."""
        collection, scan_id = self.scan or (None, None)
        place = {"collection": collection, "scan_id": scan_id, "file": self.file}
        return {**place, "reason": self.reason, "code": self.code}


def examples_refused(refused: Sequence[RefusedExample], of: int) -> ExamplesRefused:
    """The error that names the refused ones among so many examples."""
    shown = "; ".join(example.name for example in refused[:NAMED])
    more = f"; and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
    ways = "leave them out, or send on_refused: leave_out"
    if any(example.reason in LEARNT for example in refused):
        ways += ", or allow_known for those that the version was fitted from"
    if any(example.reason == "near_copy" for example in refused):
        ways += "; with subject_id, similar frames of two patients are no copies"
    says = f"{len(refused)} of {of} examples cannot be used: {shown}{more}. Way out: {ways}"
    return ExamplesRefused(says, [example.to_json() for example in refused[:LISTED]])


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a version was fitted from, as far as it is known.

    Attributes:
        embeddings_MD: of the examples that are kept, or the anchors of an imported version.
        subject_ids: of the same rows.
        similarity: cosine from which an example is a copy.
    """

    examples: Sequence[VersionExample]
    embeddings_MD: Floats
    subject_ids: Sequence[str | None]
    similarity: float


def learnt_of(
    loaded: LoadedClassifier,
    examples: Sequence[VersionExample],
    kept: Examples,
    near_duplicate_cosine: float,
) -> Learnt:
    """What a version was fitted from.

    Args:
        kept: the examples whose embeddings exist.
        near_duplicate_cosine: of the encoder of the version.
    """
    if not len(kept):
        anchors_MD = loaded.model.novelty.anchors_SD  # copies differ between encoders: unknown here
        return Learnt(examples, anchors_MD, [None] * len(anchors_MD), IDENTICAL)
    similarity = similarity_of_copies(
        kept.embeddings_ND, kept.labels, min_similarity=near_duplicate_cosine
    )
    return Learnt(examples, kept.embeddings_ND, kept.subject_ids, similarity)


def copy_reasons(
    embeddings_ND: Floats, subject_ids: Sequence[str | None], learnt: Learnt
) -> list[RefusalReason | None]:
    """``same_image`` for the same pixels, ``near_copy`` for a similar frame.

    Similar frames of two known patients are no copies of each other.
    """
    if not len(learnt.embeddings_MD) or not len(embeddings_ND):
        return [None] * len(embeddings_ND)
    best_N, cosine_N = closest(embeddings_ND, learnt.embeddings_MD)
    reasons: list[RefusalReason | None] = []
    for subject_id, best, cosine in zip(
        subject_ids, best_N.tolist(), cosine_N.tolist(), strict=True
    ):
        other = learnt.subject_ids[best]
        differ = subject_id is not None and other is not None and subject_id != other
        if cosine >= IDENTICAL:
            reasons.append("same_image")
        else:
            is_copy = cosine >= learnt.similarity and not differ
            reasons.append("near_copy" if is_copy else None)
    return reasons


def refusal_reasons(
    loaded: LoadedClassifier, examples: Examples, learnt: Learnt
) -> list[RefusalReason | None]:
    """Why each example cannot evaluate the version; None = it can."""
    images = {e.sha256 for e in learnt.examples} - {None}
    scans = {e.scan for e in learnt.examples} - {None}
    learnt_ids: list[Ids] = [(e.subject_id, e.study_id) for e in learnt.examples]
    subjects = {subject for subject, _ in learnt_ids} - {None}
    studies = {study for _, study in learnt_ids} - {None}
    # Ids of either side may tell whose a study is.
    subject_of = subjects_of_studies([*learnt_ids, *examples.ids()])
    linked = {known_subject(ids, subject_of) for ids in learnt_ids} - {None}
    copies = copy_reasons(examples.embeddings_ND, examples.subject_ids, learnt)
    is_known = {key: _knows(loaded, key) for key in set(examples.labels)}
    reasons: list[RefusalReason | None] = []
    for row, (copy, (subject, study)) in enumerate(zip(copies, examples.ids(), strict=True)):
        reason = copy
        if not is_known[examples.labels[row]]:
            reason = "unknown_class"
        elif examples.scans[row] in scans:
            reason = "same_scan"
        elif examples.sha256s[row] in images:
            reason = "same_image"
        elif copy == "same_image":
            pass
        elif subject in subjects:
            reason = "same_subject"
        elif study in studies:
            reason = "same_study"
        elif known_subject((subject, study), subject_of) in linked:
            reason = "same_subject"
        reasons.append(reason)
    return reasons


def _knows(loaded: LoadedClassifier, key: str) -> bool:
    """Whether the version has the class, or all labels, of an example."""
    labels = loaded.model.labels
    return key in labels if None in loaded.model.heads else labels_of(key) <= set(labels)


def named(examples: Examples, reasons: Sequence[RefusalReason | None]) -> list[RefusedExample]:
    """The examples that have a reason."""
    return [
        RefusedExample(reason, examples.scans[row], examples.files[row])
        for row, reason in enumerate(reasons)
        if reason is not None
    ]


def take_indices(reasons: Sequence[RefusalReason | None], allowed: frozenset[str]) -> list[int]:
    """Rows without a reason, or with an allowed one."""
    return np.flatnonzero([r is None or r in allowed for r in reasons]).tolist()
