"""The evaluation protocol: labelled features in, scores out, the same splits for every encoder.

The classifier is the service's own (``service.fewshot``). Support and test never share a group.
Scores are balanced accuracies in percent unless said otherwise.

Shape suffixes: N frames, D feature width, C classes, K neighbours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Ints, unit_rows
from service.errors import NotEnoughExamples
from service.fewshot import metrics
from service.fewshot.fit import fit, fit_head

Floats: TypeAlias = npt.NDArray[np.floating]
Strings: TypeAlias = npt.NDArray[np.str_]
SHOTS = (1, 5, 10, 20)
SEEDS = 20
FRACTIONS = (0.01, 0.05, 0.1, 0.25, 0.5)
NEIGHBOURS = 5
_ENCODER = "evaluated"


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Labels and groups of one evaluation set.

    Attributes:
        groups_N: patient, video or near-duplicate group.
        support_N: True where a frame may only be learnt from; such frames are never tested.
            All False for sets whose frames may be either.
    """

    name: str
    labels_N: Strings
    groups_N: Strings
    support_N: Bools

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(sorted(set(self.labels_N.tolist())))

    @property
    def may_teach(self) -> Bools:
        """Where a frame may be learnt from."""
        return self.support_N if self.has_own_split else ~self.support_N

    @property
    def has_own_split(self) -> bool:
        """Whether support frames are fixed by the set."""
        return bool(self.support_N.any())


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of the training and the test part."""

    train: Ints
    test: Ints


def balanced_accuracy(truth_N: Strings, predictions_N: Strings) -> float:
    """Mean recall over the classes of the truth, percent."""
    names, codes = np.unique(np.concatenate([truth_N, predictions_N]), return_inverse=True)
    truth, predictions = codes[: len(truth_N)], codes[len(truth_N) :]
    return 100 * metrics.balanced_accuracy(truth, predictions, len(names))


def shot_split(labelled: LabelledSet, shots: int, seed: int) -> Split:
    """``shots`` frames per class from distinct groups, and all frames of the other groups.

    Where the set fixes its support and a class has fewer groups than ``shots``, the rest are
    further frames of the same groups: nothing of the support is ever tested.

    Raises:
        NotEnoughExamples: a class has too few groups to learn from, or none to be evaluated on.
    """
    rng = np.random.default_rng((seed, shots))
    train: list[int] = []
    used: set[str] = set()
    for name in labelled.classes:
        of_class_N = labelled.may_teach & (labelled.labels_N == name)
        free = [g for g in np.unique(labelled.groups_N[of_class_N]) if g not in used]
        groups = rng.permutation(free)[:shots].tolist()
        used |= set(groups)
        rows = [
            int(rng.choice(np.flatnonzero(of_class_N & (labelled.groups_N == group))))
            for group in groups
        ]
        if labelled.has_own_split:
            others = np.setdiff1d(np.flatnonzero(of_class_N), rows)
            rows += rng.permutation(others)[: shots - len(rows)].tolist()
        if len(rows) < shots:
            raise NotEnoughExamples(f"{labelled.name}: a class has {len(rows)} frames to teach")
        train += rows
    test = np.flatnonzero(~labelled.support_N & ~np.isin(labelled.groups_N, list(used)))
    if set(labelled.labels_N[test]) != set(labelled.classes):
        raise NotEnoughExamples(f"{labelled.name}: {shots} shots leave a class without test frames")
    return Split(np.array(train), test)


def fraction_split(labelled: LabelledSet, fraction: float, seed: int) -> Split:
    """A share of the groups of every class (at least one), and all frames of the others."""
    rng = np.random.default_rng((seed, round(1000 * fraction)))
    used: set[str] = set()
    for name in labelled.classes:
        groups = np.unique(labelled.groups_N[labelled.may_teach & (labelled.labels_N == name)])
        free = [group for group in groups if group not in used]
        used |= set(rng.permutation(free)[: max(1, round(fraction * len(groups)))].tolist())
    taught_N = np.isin(labelled.groups_N, list(used))
    return Split(
        np.flatnonzero(labelled.may_teach & taught_N),
        np.flatnonzero(~labelled.support_N & ~taught_N),
    )


def probe(features_ND: Floats, labelled: LabelledSet, split: Split) -> Strings:
    """Class names that the service's head, fitted on ``split.train``, gives to ``split.test``."""
    head = fit_head(
        features_ND[split.train],
        labelled.labels_N[split.train].tolist(),
        labelled.groups_N[split.train].tolist(),
        encoder_id=_ENCODER,
    )
    predictions: Strings = np.array(head.classes)[head.logits(features_ND[split.test]).argmax(1)]
    return predictions


def shot_scores(
    features_ND: Floats, labelled: LabelledSet, shots: int, seeds: int = SEEDS
) -> list[float]:
    """One score per seed; seed i is the same split for every encoder."""
    return [_scored(features_ND, labelled, shot_split(labelled, shots, s)) for s in range(seeds)]


def fraction_scores(
    features_ND: Floats, labelled: LabelledSet, fraction: float, seeds: int
) -> list[float]:
    """One score per seed at a share of the labelled groups."""
    splits = (fraction_split(labelled, fraction, seed) for seed in range(seeds))
    return [_scored(features_ND, labelled, split) for split in splits if _usable(labelled, split)]


def _usable(labelled: LabelledSet, split: Split) -> bool:
    classes = set(labelled.classes)
    return all(set(labelled.labels_N[rows]) == classes for rows in (split.train, split.test))


def _scored(features_ND: Floats, labelled: LabelledSet, split: Split) -> float:
    return balanced_accuracy(labelled.labels_N[split.test], probe(features_ND, labelled, split))


def full_probe(features_ND: Floats, labelled: LabelledSet) -> tuple[Ints, Strings]:
    """Held-out predictions of a linear probe on everything: (rows, class names).

    Grouped 5-fold with the penalty chosen inside each fold; for sets with their own split, one
    head fitted on all support frames.
    """
    if labelled.has_own_split:
        split = Split(np.flatnonzero(labelled.support_N), np.flatnonzero(~labelled.support_N))
        return split.test, probe(features_ND, labelled, split)
    fitted = fit(
        features_ND, labelled.labels_N.tolist(), labelled.groups_N.tolist(), encoder_id=_ENCODER
    )
    guesses_N = fitted.scores.nested.guesses()
    rows = np.flatnonzero(guesses_N >= 0)
    return rows, np.array(fitted.head.classes)[guesses_N[rows]]


def nearest_others(features_ND: Floats, labelled: LabelledSet) -> Iterator[tuple[int, Ints]]:
    """Each testable row with all rows of other groups, nearest first."""
    unit_ND = unit_rows(features_ND)
    group_ids_N = np.unique(labelled.groups_N, return_inverse=True)[1]
    rows = np.flatnonzero(~labelled.support_N)
    for start in range(0, len(rows), 256):
        batch = rows[start : start + 256]
        scores = unit_ND[batch] @ unit_ND.T
        scores[group_ids_N[batch][:, None] == group_ids_N] = -np.inf
        ranked = np.argsort(-scores, axis=1, kind="stable")
        for row, order, row_scores in zip(batch, ranked, scores, strict=True):
            yield int(row), order[: int(np.isfinite(row_scores).sum())]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Search quality among frames of other groups, percent.

    Attributes:
        knn: balanced accuracy of the majority of the nearest ``NEIGHBOURS``.
        recall_at: k -> share of queries with a frame of their class among the first k.
        mean_average_precision: over all frames of other groups.
    """

    knn: float
    recall_at: dict[int, float]
    mean_average_precision: float


def retrieval(
    features_ND: Floats, labelled: LabelledSet, ks: Sequence[int] = (1, 5, 10)
) -> Retrieval:
    """Every testable frame queries all frames of other groups."""
    truth, predictions, precisions = [], [], []
    queries_with_hit = dict.fromkeys(ks, 0)
    for row, order in nearest_others(features_ND, labelled):
        same = labelled.labels_N[order] == labelled.labels_N[row]
        names, counts = np.unique(labelled.labels_N[order[:NEIGHBOURS]], return_counts=True)
        truth.append(labelled.labels_N[row])
        predictions.append(names[counts.argmax()])
        for k in ks:
            queries_with_hit[k] += bool(same[:k].any())
        hits = np.flatnonzero(same)
        if len(hits):
            precisions.append(float(np.mean(np.arange(1, len(hits) + 1) / (hits + 1))))
    return Retrieval(
        balanced_accuracy(np.array(truth), np.array(predictions)),
        {k: 100 * count / len(truth) for k, count in queries_with_hit.items()},
        100 * float(np.mean(precisions)) if precisions else 0.0,
    )
