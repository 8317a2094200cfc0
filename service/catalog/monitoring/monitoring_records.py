"""Records of how classifiers are used: counts of answers, and what turned out to be true.

Counts add up. A JSON object of counts holds whole numbers, lists of counts (of classes, of bins)
and objects of named counts; the sum of two has the sums of their members.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from service.catalog.codec import encode_json

Counts: TypeAlias = Mapping[str, Any]
Period: TypeAlias = Literal["slot", "block", "total"]

MAX_NAMES = 60  # of named counts, such as machines; further ones are counted together
OTHER = "other"


@dataclass(frozen=True, slots=True)
class UsageWindows:
    """Which sums of the counts are kept.

    Attributes:
        slot_s: length of a slot: all answers of a stretch of time.
        kept_slots: newest slots that are kept.
        block_answers: answers that fill a block, whenever they come; then the next one begins.
        kept_blocks: newest blocks that are kept.
    """

    slot_s: int
    kept_slots: int
    block_answers: int
    kept_blocks: int


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The sum of the counts of one period of a version.

    Attributes:
        number: of the slot (seconds since 1970 / length) or of the block, from 0.
        started_at, ended_at: of the first and the last of its answers, to a few seconds.
    """

    period: Period
    number: int
    started_at: str
    ended_at: str
    answers: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a prediction said, and what turned out to be true.

    Attributes:
        prediction_id: a later outcome of the same prediction replaces the earlier one.
        patient_digest: of the patient whom the caller named; None = nobody was named.
        probabilities: class or label -> probability, as predicted.
        abstained: whether the classifier gave no answer.
        actual: the true class, or the labels that are present.
    """

    prediction_id: str
    patient_digest: str | None
    probabilities: Mapping[str, float]
    abstained: bool
    actual: tuple[str, ...]


def summed(first: Counts, second: Counts) -> dict[str, Any]:
    """The sum of two objects of counts; members that only one has stay as they are."""
    total = dict(first)
    for name, value in second.items():
        known = total.get(name)
        if known is None:
            total[name] = value
        elif isinstance(value, Mapping):
            total[name] = _bounded(summed(known, value))
        elif isinstance(value, list | tuple):
            longer, shorter = (known, value) if len(known) >= len(value) else (value, known)
            rest = longer[len(shorter) :]
            total[name] = [a + b for a, b in zip(longer, shorter, strict=False)] + list(rest)
        else:
            total[name] = known + value
    return total


def _bounded(counts: dict[str, Any]) -> dict[str, Any]:
    """At most ``MAX_NAMES`` names: the rarest are counted together."""
    if len(counts) <= MAX_NAMES:
        return counts
    other = counts.pop(OTHER, 0)
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    kept = {name: counts[name] for name in ranked[: MAX_NAMES - 1]}
    return kept | {OTHER: other + sum(counts[name] for name in ranked[MAX_NAMES - 1 :])}


def outcome_row(
    version_seq: int, workspace_id: str, outcome: Outcome, recorded_at: str
) -> tuple[int | str | bool | None, ...]:
    """The columns of a row of outcomes, in the order in which both engines store them."""
    return (
        version_seq,
        workspace_id,
        outcome.prediction_id,
        outcome.patient_digest,
        encode_json(outcome.probabilities),
        outcome.abstained,
        encode_json(outcome.actual),
        recorded_at,
    )
