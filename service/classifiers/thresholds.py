"""Thresholds on probabilities of classes or labels: what they give, versions that carry them.

A version's thresholds are part of its settings. Changing them makes a version of the same head
and examples, so that who moved an operating point, and when, is told like any other change, and
rolling back is publishing. Blocking.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from service.catalog.interface import Catalog
from service.catalog.records import (
    Author,
    Classifier,
    ClassifierVersion,
    NewExample,
    NewVersion,
    VersionExample,
)
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.fitting import MULTI
from service.classifiers.loaded import Doubles
from service.classifiers.loaded_labels import OpenedLabels
from service.classifiers.store import ClassifierStore
from service.errors import InputError, NotEnoughExamples
from service.fewshot.bootstrap import Estimate
from service.fewshot.fit import Fit
from service.fewshot.heldout import HeldOut
from service.fewshot.multilabel_answers import (
    PRESENT,
    THRESHOLD,
    LabelHead,
    with_thresholds,
)
from service.fewshot.multilabel_files import from_labels_bytes, to_labels_bytes
from service.fewshot.operating_points import (
    OperatingPoint,
    at_threshold,
    cross_fitted,
    operating_point,
    operating_point_of_specificity,
)

Target: TypeAlias = Literal["sensitivity", "specificity", "threshold"]
POINTS = "operating_points"  # in the settings of a version
_FINDERS = {
    "sensitivity": operating_point,
    "specificity": operating_point_of_specificity,
}
_OF_ONE_CHANGE = frozenset({"added", "relabelled", "dropped", "not_kept", "thresholds_dropped"})


@dataclass(frozen=True, slots=True)
class ThresholdRequest:
    """A threshold for a class, as a target to reach or as a value."""

    label: str
    target: Target
    value: float


@dataclass(frozen=True, slots=True)
class ChosenThresholds:
    """The threshold that a wish led to.

    Attributes:
        point: what it gives on out-of-fold scores; None with ``not_judged_because``.
        elsewhere: sensitivity and specificity of thresholds chosen in this way without the
            patients they are judged on; None for a value that someone gave.
    """

    wanted: ThresholdRequest
    threshold: float
    point: OperatingPoint | None
    not_judged_because: str | None
    elsewhere: tuple[Estimate, Estimate] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the threshold is not rounded, for decisions hang on it."""
        point = self.point
        elsewhere = None
        if self.elsewhere is not None:
            sensitivity, specificity = (one.to_json() for one in self.elsewhere)
            elsewhere = {"sensitivity": sensitivity, "specificity": specificity}
        return {
            "label": self.wanted.label,
            "threshold": self.threshold,
            "chosen_by": {self.wanted.target: self.wanted.value},
            "sensitivity": point and point.sensitivity.to_json(),
            "specificity": point and point.specificity.to_json(),
            "cross_fitted": elsewhere,
            "not_judged_because": self.not_judged_because,
        }


def stored_thresholds(version: ClassifierVersion) -> dict[str, float]:
    """Class -> threshold that the version carries; empty for most."""
    kept: Sequence[Mapping[str, Any]] = version.settings.get(POINTS, [])
    return {str(item["label"]): float(item["threshold"]) for item in kept}


class Thresholds:
    """Chooses thresholds by held-out scores; ``evaluator`` gives those."""

    def __init__(
        self, catalog: Catalog, store: ClassifierStore, evaluator: ClassifierEvaluator
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._evaluator = evaluator

    def choose(
        self, workspace_id: str, name: str, number: int, wanted: Sequence[ThresholdRequest]
    ) -> list[ChosenThresholds]:
        """The threshold of each wish, and the operating point it gives.

        A point is measured on the out-of-fold scores by which its threshold was chosen, which is
        optimistic; ``cross_fitted`` beside it is not.

        Raises:
            UnknownItem: no such classifier or version.
            InputError: no such class, or a value out of range.
            NotEnoughExamples: a target, with fewer than 5 judged groups of the class or of others.
        """
        loaded = self._store.open_either(workspace_id, name, number)
        labels = loaded.made.labels if isinstance(loaded, OpenedLabels) else loaded.head.classes
        _check(wanted, labels)
        if isinstance(loaded, OpenedLabels) and any(
            one.target == "threshold" and not 0 < one.value < 1 for one in wanted
        ):
            raise InputError("expected thresholds of labels above 0 and below 1")
        try:
            fits = self._evaluator.fits(workspace_id, name, number)[1]
        except NotEnoughExamples as error:
            if all(one.target == "threshold" for one in wanted):
                return [ChosenThresholds(one, one.value, None, str(error)) for one in wanted]
            raise
        if isinstance(loaded, OpenedLabels):
            heads = {head.name: head for head in loaded.made.heads}
            return [_of_label(heads[one.label], fits, one) for one in wanted]
        held_out = fits[None].for_calibration  # whose scale is that of the head that serves
        shares_NC = loaded.trust.calibration.probabilities(held_out.logits_NC)
        return [_chosen(held_out, shares_NC, one) for one in wanted]

    def store(
        self,
        workspace_id: str,
        name: str,
        wanted: Sequence[ThresholdRequest],
        author: Author,
        *,
        base: int | None = None,
        publish: bool = False,
        if_revision: int | None = None,
    ) -> tuple[Classifier, ClassifierVersion]:
        """A version of the same head with these thresholds instead of those it had.

        Labels of a multi-label version that are given none have 0.5 again.

        Args:
            base: number of the version to start from; None = the published one.

        Raises:
            UnknownItem, InputError, NotEnoughExamples: as ``choose``.
            PreconditionFailed: ``if_revision`` is not the current one.
        """
        number = base or self._catalog.get_classifier(workspace_id, name).published.number
        chosen = self.choose(workspace_id, name, number, wanted)
        start = self._catalog.get_version(workspace_id, name, number)
        examples = self._catalog.version_examples(workspace_id, name, number)
        settings = {k: v for k, v in start.settings.items() if k not in _OF_ONE_CHANGE}
        told = {"base_version": number, POINTS: [one.to_json() for one in chosen]}
        trust_npz, report = start.trust_npz, start.report
        if start.kind == MULTI:
            given = {one.wanted.label: one.threshold for one in chosen}
            told["thresholds"] = given  # by which later versions are fitted too
            made = with_thresholds(from_labels_bytes(trust_npz), given)
            trust_npz, report = to_labels_bytes(made), _reported(report, chosen)
        version = NewVersion(
            encoder_id=start.encoder_id,
            classes=start.classes,
            head_npz=start.head_npz,
            report=report,
            settings=settings | told,
            trust_npz=trust_npz,
            examples=tuple(_again(example) for example in examples),
            author=author,
            kind=start.kind,
        )
        return self._catalog.add_version(
            workspace_id, name, version, publish=publish, if_revision=if_revision
        )


def _check(wanted: Sequence[ThresholdRequest], classes: Sequence[str]) -> None:
    """Raises InputError: a class twice, unknown, or a value outside 0 to 1."""
    labels = [one.label for one in wanted]
    if len(set(labels)) < len(labels):
        raise InputError("expected one threshold per class")
    strange = sum(label not in classes for label in labels)
    if strange:
        raise InputError(f"{strange} of {len(labels)} thresholds are of no class of the version")
    if not all(0 <= one.value <= 1 for one in wanted):
        raise InputError("expected thresholds and targets of 0 to 1")


def _chosen(held_out: HeldOut, shares_NC: Doubles, wanted: ThresholdRequest) -> ChosenThresholds:
    if wanted.target == "threshold":
        try:
            point = at_threshold(held_out, shares_NC, wanted.label, wanted.value)
        except NotEnoughExamples as error:
            return ChosenThresholds(wanted, wanted.value, None, str(error))
        return ChosenThresholds(wanted, point.threshold, point, None)
    find = _FINDERS[wanted.target]
    point = find(held_out, shares_NC, wanted.label, wanted.value)
    elsewhere = cross_fitted(held_out, shares_NC, wanted.label, wanted.target, wanted.value)
    return ChosenThresholds(wanted, point.threshold, point, None, elsewhere)


def _of_label(
    head: LabelHead, fits: Mapping[str | None, Fit], wanted: ThresholdRequest
) -> ChosenThresholds:
    """The threshold from which one label counts as present."""
    held_out = fits[head.name].for_calibration
    shares_N2 = head.trust.calibration.probabilities(held_out.logits_NC)
    found = replace(_chosen(held_out, shares_N2, replace(wanted, label=PRESENT)), wanted=wanted)
    if not 0 < found.threshold < 1:
        raise InputError(f"only a threshold of {found.threshold:g} gives the {wanted.target}")
    return found


def _reported(report: Mapping[str, Any], chosen: Sequence[ChosenThresholds]) -> dict[str, Any]:
    """A multi-label report whose operating points are those of the new thresholds."""
    by_label = {one.wanted.label: one.to_json() for one in chosen}
    told = ("threshold", "sensitivity", "specificity", "not_judged_because")
    per_label = {}
    for name, said in report.get("per_label", {}).items():
        point = by_label.get(name, {"threshold": THRESHOLD, "not_judged_because": "not asked for"})
        shown = {key: point[key] for key in told if point.get(key) is not None}
        per_label[name] = {**said, "operating_point": shown}
    return {**report, "per_label": per_label}


def _again(example: VersionExample) -> NewExample:
    if example.label is None or example.group is None:
        raise InputError("an example has no recorded label: relabel or drop it first")
    return NewExample(example.label, example.group, example.example_id)
