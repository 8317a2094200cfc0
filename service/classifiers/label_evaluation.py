"""How good a multi-label classifier is, label by label.

Shape suffixes: N examples, U unlabelled rows, L labels, D embedding width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.classifiers.examples import Example, labels_of
from service.classifiers.grouping import grouped
from service.classifiers.loaded_labels import OpenedLabels
from service.errors import InputError, NotEnoughExamples
from service.fewshot.fit import Fit
from service.fewshot.heldout import HeldOut
from service.fewshot.metrics import compute_metrics
from service.fewshot.multilabel import MultiLabelFit
from service.fewshot.multilabel_answers import CLASSES, LabelHead
from service.fewshot.temperature import reliability

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Judged: TypeAlias = tuple[Sequence[Example], MultiLabelFit]


def judged_labels(
    loaded: OpenedLabels, examples: Sequence[Example]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Judgement and reliability of each label on labelled examples.

    Raises:
        InputError: a label that the version does not know, or examples without a list of labels.
    """
    there = [labels_of(example.label) for example in examples]
    strange = frozenset[str]().union(*there) - set(loaded.made.labels)
    if strange:
        raise InputError(f"{len(strange)} labels are none of the version's")
    embeddings_ND = np.stack([example.embedding_D for example in examples])
    groups_N = np.unique(grouped(examples, embeddings_ND).groups, return_inverse=True)[1]
    figures, exactness = {}, {}
    for head in loaded.made.heads:
        present_N = np.array([head.name in labels for labels in there])
        judgement, exact = _of_label(
            head, loaded.version.report, embeddings_ND, present_N, groups_N
        )
        figures[head.name] = judgement
        exactness[head.name] = exact
    return {"per_label": figures, "balanced_accuracy": macro(figures)}, exactness


def _of_label(
    head: LabelHead,
    report: Mapping[str, Any],
    embeddings_ND: Floats,
    present_N: npt.NDArray[np.bool_],
    groups_N: npt.NDArray[np.int64],
) -> tuple[dict[str, Any], dict[str, float]]:
    weights = report.get("per_label", {}).get(head.name, {}).get("class_weights")
    shares_N2 = head.trust.probabilities(head.head, embeddings_ND)
    held_out = HeldOut(
        CLASSES,
        np.log(np.maximum(shares_N2, 1e-300)),
        present_N.astype(np.int64),
        groups_N,
        np.array([weights[name] for name in CLASSES]) if weights else None,
    )
    exactness = reliability(shares_N2, held_out.labels_N, held_out.balanced_shares())
    called_N = shares_N2[:, 1] >= head.threshold
    counts = {
        "threshold": head.threshold,
        "present_called": int((present_N & called_N).sum()),
        "present": int(present_N.sum()),
        "absent_called": int((~present_N & called_N).sum()),
        "absent": int((~present_N).sum()),
    }
    return compute_metrics(held_out).to_json() | {"at_threshold": counts}, exactness.to_json()


def compared_labels(one: Judged, other: Judged) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Two fits on the examples that both have under the same labels.

    Returns:
        How many they share, and the judgement of each on those by out-of-fold scores.

    Raises:
        NotEnoughExamples: none.
    """
    keys = [{e.example_id: e.label for e in examples} for examples, _ in (one, other)]
    shared = {key for key, label in keys[0].items() if keys[1].get(key) == label}
    if not shared:
        raise NotEnoughExamples("the two versions share no example under the same labels")
    first, second = (_on(examples, found.fits, shared) for examples, found in (one, other))
    return len(shared), first, second


def _on(
    examples: Sequence[Example], fits: Mapping[str, Fit], shared: set[str | None]
) -> dict[str, Any]:
    rows = np.array([i for i, example in enumerate(examples) if example.example_id in shared])
    figures = {
        name: compute_metrics(found.held_out.rows(rows)).to_json() for name, found in fits.items()
    }
    return {"per_label": figures, "balanced_accuracy": macro(figures), "judged": len(rows)}


def macro(figures: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Mean over labels of the balanced accuracy; None where one has none."""
    found = [figure["balanced_accuracy"] for figure in figures.values()]
    if not found or any(value is None for value in found):
        return None
    return round(float(np.mean([value["value"] for value in found])), 4)


def doubt_by_label(loaded: OpenedLabels, embeddings_UD: Floats) -> tuple[Doubles, list[str | None]]:
    """What each row leaves open, over all labels.

    Returns:
        (U, 2 L) probabilities that each label is there, and that it is not: their entropy is the
        sum over labels, which are independent. And each row's least certain label.
    """
    shares_UL = loaded.made.probabilities(embeddings_UD)
    unsure = np.abs(shares_UL - 0.5).argmin(1).tolist()
    return np.hstack([shares_UL, 1 - shares_UL]), [loaded.made.labels[one] for one in unsure]
