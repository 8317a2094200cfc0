"""What a fitted head promises about tested frames, and how far it keeps that.

Shape suffixes: Q tested frames, C classes.
"""

import numpy as np
from fewshot_data import Doubles, Ints, accuracy_percent, class_numbers

from service.fewshot.calibrator import fit_calibrator, reliability
from service.fewshot.fit import Fit
from service.fewshot.heldout import HeldOut
from training.evaluation.protocol import LabelledSet

NOMINAL = 0.9


def promises(
    suffix: str, head_fit: Fit, labelled: LabelledSet, logits_QC: Doubles, test: Ints
) -> dict[str, float]:
    """``ece`` and, if the version gives prediction sets, ``coverage`` in percent."""
    calibrator = fit_calibrator(head_fit.scores.chosen)
    truth_Q = class_numbers(labelled)[test]
    given_QC = calibrator.calibration.probabilities(logits_QC)
    groups_Q = np.unique(labelled.groups_N[test], return_inverse=True)[1]
    held = HeldOut(labelled.classes, logits_QC, truth_Q, groups_Q)
    values = {f"ece{suffix}": reliability(given_QC, truth_Q, held.balanced_shares()).ece}
    sets = calibrator.conformal.sets(given_QC, NOMINAL)
    if sets.members_NC is not None:
        hit_Q = sets.members_NC[np.arange(len(truth_Q)), truth_Q]
        misses_Q = np.where(hit_Q, truth_Q, len(labelled.classes))
        values[f"coverage{suffix}"] = accuracy_percent(truth_Q, misses_Q)
    return values
