"""Whether one version is better than another, by their out-of-fold scores. Nothing here fits.

Shape suffixes: N examples that both versions have, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.arrays import Ints
from service.catalog.records import VersionExample
from service.classifiers.evaluation import ClassifierEvaluator, HeadEvaluation
from service.classifiers.store import ClassifierStore
from service.errors import NotEnoughExamples
from service.fewshot.calibrator import Calibration
from service.fewshot.heldout import OutOfFold
from service.fewshot.metrics import compute_metrics
from service.fewshot.uncertainty.paired import Difference, ScorePair, Verdict, paired_differences


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions on the examples that both have with the same labels.

    Attributes:
        shared: examples of both; the others are of one version only, or labelled otherwise.
        differences: first minus second; of the whole classifier, then of each label.
    """

    shared: int
    only_first: int
    only_second: int
    other_label: int
    first: tuple[HeadEvaluation, ...]
    second: tuple[HeadEvaluation, ...]
    differences: tuple[Difference, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether the first is better, by balanced accuracy."""
        return self.differences[0].verdict

    @property
    def groups(self) -> int:
        """Patients (else studies or images) that both versions scored."""
        return self.differences[0].groups


@dataclass(frozen=True, slots=True)
class _Side:
    """The examples of a version that are kept, its out-of-fold scores and its calibrations."""

    examples: Sequence[VersionExample]
    scores: OutOfFold
    calibrations: Mapping[str | None, Calibration]

    def rows_by_key(self) -> dict[str, int]:
        """Identity of the image -> row."""
        return {
            example.sha256 or str(example.scan or example.example_id): row
            for row, example in enumerate(self.examples)
        }

    def take(self, rows_N: Ints) -> "_Side":
        """Some rows."""
        examples = [self.examples[row] for row in rows_N.tolist()]
        return _Side(examples, self.scores.rows(rows_N), self.calibrations)

    def heads(self) -> tuple[HeadEvaluation, ...]:
        """The metrics of each head."""
        return tuple(
            HeadEvaluation(label, compute_metrics(head.nested))
            for label, head in self.scores.heads.items()
        )


def compare_versions(
    store: ClassifierStore,
    evaluator: ClassifierEvaluator,
    workspace_id: str,
    name: str,
    numbers: tuple[int, int],
) -> Comparison:
    """Compare two versions on the examples that both have.

    Patients are those of either version: what one of them holds together stays together.

    Raises:
        UnknownItem: no such classifier or version.
        EncoderMismatch: fitted on another encoder's embeddings.
        NotEnoughExamples: no example has the same labels in both.
    """
    sides = [_side(store, evaluator, workspace_id, name, number) for number in numbers]
    places = [side.rows_by_key() for side in sides]
    common = [key for key in places[0] if key in places[1]]
    labels = [
        [side.examples[place[key]].label for key in common]
        for side, place in zip(sides, places, strict=True)
    ]
    shared = [key for key, one, other in zip(common, *labels, strict=True) if one == other]
    if not shared:
        raise NotEnoughExamples("the two versions share no example under the same labels")
    first, second = (
        side.take(np.array([place[key] for key in shared]))
        for side, place in zip(sides, places, strict=True)
    )
    return Comparison(
        shared=len(shared),
        only_first=len(places[0]) - len(common),
        only_second=len(places[1]) - len(common),
        other_label=len(common) - len(shared),
        first=first.heads(),
        second=second.heads(),
        differences=paired_differences(_pairs(first, second), _joint_groups(first, second)),
    )


def _side(
    store: ClassifierStore,
    evaluator: ClassifierEvaluator,
    workspace_id: str,
    name: str,
    number: int,
) -> _Side:
    examples, scores = evaluator.out_of_fold(workspace_id, name, number)
    heads = store.open(workspace_id, name, number).model.heads
    calibrations = {label: head.calibrator.calibration for label, head in heads.items()}
    return _Side(examples, scores, calibrations)


def _pairs(first: _Side, second: _Side) -> dict[str | None, ScorePair]:
    """The scores of each head that both versions have."""
    labels = [label for label in first.scores.heads if label in second.scores.heads]
    if not labels:
        raise NotEnoughExamples("the two versions share no label")
    pairs = {}
    for label in labels:
        heads = [side.scores.heads[label] for side in (first, second)]
        # Calibrated as in predictions: the scores at the penalty of the head itself.
        shares = [
            side.calibrations[label].probabilities(head.chosen.logits_NC)
            for side, head in zip((first, second), heads, strict=True)
        ]
        pairs[label] = ScorePair(heads[0].nested, heads[1].nested, *shares)
    return pairs


def _joint_groups(first: _Side, second: _Side) -> Ints:
    """(N,) numbers of groups; examples that either version holds together are together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones_N, others_N = (_numbers([e.group for e in side.examples]) for side in (first, second))
    count = int(ones_N.max()) + 1
    size = count + int(others_N.max()) + 1
    links = coo_array((np.ones(len(ones_N), bool), (ones_N, count + others_N)), (size, size))
    numbers: npt.NDArray[np.int32] = connected_components(links, directed=False)[1]
    return numbers[ones_N].astype(np.int64)


def _numbers(groups: Sequence[int]) -> Ints:
    numbers_N: Ints = np.unique(groups, return_inverse=True)[1]
    return numbers_N
