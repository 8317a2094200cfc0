"""What turned out to be true: checking outcomes, and the figures that follow from them.

Shape suffixes: N outcomes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.arrays import Doubles
from service.catalog.ids import subject_digest
from service.catalog.monitoring.monitoring_records import Outcome
from service.catalog.plain_text import name_of
from service.catalog.records import ClassifierVersion
from service.classifiers.fitting import MULTI
from service.classifiers.monitoring.monitor_records import OutcomeFigures, OutcomesReport
from service.errors import InputError
from service.fewshot.classifier import ABSENT, PRESENT, CalibratedHead, effective_thresholds
from service.fewshot.drift.accuracy_in_use import HeadOutcomes, accuracy_in_use

PRESENCE = (ABSENT, PRESENT)


@dataclass(frozen=True, slots=True)
class ReportedOutcome:
    """An outcome as a caller sends it: the answer that was given, and what was true.

    Attributes:
        number: of the version that answered.
        patient: any name of the patient that the caller keeps, best a keyed digest; only a digest
            of it is stored.
    """

    prediction_id: str
    number: int
    probabilities: Mapping[str, float]
    abstained: bool
    actual: tuple[str, ...]
    patient: str | None = None


def checked_outcome(
    workspace_id: str, version: ClassifierVersion, reported: ReportedOutcome
) -> Outcome:
    """The outcome to store.

    Raises:
        InputError: other classes than those of the version, or not one true class.
    """
    names = set(version.classes)
    if set(reported.probabilities) != names:
        raise InputError(
            f"expected a probability of each of the {len(names)} classes or labels of the version"
        )
    if not set(reported.actual) <= names:
        raise InputError("expected as actual only classes or labels of the version")
    if version.kind != MULTI and len(reported.actual) != 1:
        raise InputError(f"expected exactly one actual class, got {len(reported.actual)}")
    patient = reported.patient
    digest = None if patient is None else subject_digest(workspace_id, name_of(patient))
    return Outcome(
        reported.prediction_id,
        digest,
        dict(reported.probabilities),
        reported.abstained,
        tuple(sorted(set(reported.actual))),
    )


def outcomes_report(
    version: ClassifierVersion,
    stored: Sequence[Outcome],
    heads: Mapping[str | None, CalibratedHead],
) -> OutcomesReport:
    """Accuracy and calibration in use.

    A label of a multi-label version is answered where the whole answer is, and where its
    probability is as far from the threshold as the version demands. Thresholds that a request had
    chosen are not known here: those of the version stand for them.

    Args:
        heads: of the version.
    """
    # An outcome without a patient is a group of its own.
    names = [outcome.patient_digest or f"p/{outcome.prediction_id}" for outcome in stored]
    groups_N = np.unique(np.array(names, dtype=str), return_inverse=True)[1]
    answered_N = np.array([not outcome.abstained for outcome in stored], bool)
    known = [o for o in stored if set(o.probabilities) == set(version.classes)]
    if len(known) < len(stored):  # damage; nothing that was checked is so
        return OutcomesReport(len(stored), 0, ())
    shares_NC = np.array([[o.probabilities[c] for c in version.classes] for o in stored], float)
    shares_NC = shares_NC.reshape(len(stored), len(version.classes))
    labels = []
    if version.kind == MULTI:
        for c, label in enumerate(version.classes):
            threshold = effective_thresholds(label, heads[label])[PRESENT]
            present_N = shares_NC[:, c] >= threshold
            distance_N = np.abs(shares_NC[:, c] - threshold)
            clear_N = distance_N >= heads[label].calibrator.min_margin / 2
            true_N = np.array([label in outcome.actual for outcome in stored], np.int64)
            confidence_N = np.where(present_N, shares_NC[:, c], 1 - shares_NC[:, c])
            head = HeadOutcomes(
                true_N, present_N.astype(np.int64), confidence_N, answered_N & clear_N, groups_N
            )
            labels.append(OutcomeFigures(label, accuracy_in_use(head, PRESENCE)))
    else:
        number = {name: c for c, name in enumerate(version.classes)}
        true_N = np.array([number[outcome.actual[0]] for outcome in stored], np.int64)
        guesses_N = _called_classes(shares_NC, version.classes, heads[None])
        top_N = shares_NC[np.arange(len(stored)), guesses_N]
        head = HeadOutcomes(true_N, guesses_N, top_N, answered_N, groups_N)
        labels.append(OutcomeFigures(None, accuracy_in_use(head, version.classes)))
    named = sum(outcome.patient_digest is not None for outcome in stored)
    return OutcomesReport(len(stored), named, tuple(labels))


def _called_classes(
    shares_NC: Doubles, classes: Sequence[str], head: CalibratedHead
) -> npt.NDArray[np.int64]:
    """(N,) numbers of the classes that the version called, whether it then abstained or not.

    A class that reaches its own threshold goes before the most probable one, as in predictions.
    """
    if not len(shares_NC):
        return np.empty(0, np.int64)
    thresholds_C = np.array([head.thresholds.get(name, np.inf) for name in classes])
    excess_NC = shares_NC - thresholds_C
    has_reached_N = (excess_NC >= 0).any(1)
    called_N = np.where(has_reached_N, excess_NC.argmax(1), shares_NC.argmax(1))
    return np.asarray(called_N, np.int64)
