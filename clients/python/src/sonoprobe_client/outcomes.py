"""What predictions turned out to be."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sonoprobe_client.answer import Answer
from sonoprobe_client.bodies import OutcomeBody

Document: TypeAlias = Answer | Mapping[str, Any]


def outcome_of(
    answer: Document, item: Document, actual: Sequence[str], *, patient: str | None = None
) -> OutcomeBody:
    """An outcome for ``put_outcomes``.

    Args:
        answer: of ``predict`` or ``predict_scans``.
        item: one of its items, or its ``cine``.
        actual: the true class, or the labels that are present.
        patient: a keyed digest, or the subject_id of the stored scans.
    """
    told, found = _document(answer), _document(item)
    outcome: OutcomeBody = {
        "prediction_id": found["prediction_id"],
        "version": told["version"],
        "probabilities": {o["label"]: o["probability"] for o in found["outputs"]},
        "abstained": found["decision"] == "abstained",
        "actual": list(actual),
    }
    if patient is not None:
        outcome["patient"] = patient
    return outcome


def _document(answer: Document) -> Mapping[str, Any]:
    return answer.document() if isinstance(answer, Answer) else answer
