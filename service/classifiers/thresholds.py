"""Choose thresholds on probabilities of classes or labels, and store versions with them. Blocking.

Thresholds are part of a version. Changing them makes a version with the same heads and examples, so
that the catalog records who moved an operating point and when, and rolling back is publishing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from service.arrays import Doubles
from service.catalog.interface import Catalog
from service.catalog.records import (
    Author,
    Classifier,
    ClassifierVersion,
    NewExample,
    NewVersion,
)
from service.classifiers.erased_meanwhile import again_when_erased
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.examples import class_name
from service.classifiers.fitting import MULTI, REPORT_DIGITS
from service.classifiers.store import ClassifierStore
from service.errors import InputError, NotEnoughExamples
from service.fewshot.classifier import THRESHOLD, FewShotClassifier
from service.fewshot.heldout import HeldOut
from service.fewshot.operating_points import (
    OperatingPoint,
    at_threshold,
    cross_fitted,
    operating_point,
)
from service.fewshot.portable import from_bytes, to_bytes, to_plain
from service.fewshot.report import ThresholdReport
from service.fewshot.uncertainty.intervals import Estimate

Target: TypeAlias = Literal["sensitivity", "specificity", "threshold"]
POINTS = "operating_points"  # in the settings of a version
_OF_ONE_CHANGE = frozenset({"added", "relabelled", "dropped", "not_kept", "thresholds_dropped"})


@dataclass(frozen=True, slots=True)
class ThresholdRequest:
    """A threshold for a class or label, as a target to reach or as a value."""

    label: str
    target: Target
    value: float


@dataclass(frozen=True, slots=True)
class ChosenThresholds:
    """The threshold that a request led to.

    Attributes:
        point: its figures on out-of-fold scores; None where ``not_evaluated_because`` says why.
        cross_fitted: sensitivity and specificity of thresholds chosen for the same target without
            the patients that measure them; None when the request has a value.
    """

    request: ThresholdRequest
    threshold: float
    point: OperatingPoint | None
    not_evaluated_because: str | None
    cross_fitted: tuple[Estimate, Estimate] | None = None

    @property
    def report(self) -> ThresholdReport:
        """For the report of a version."""
        point = self.point
        return ThresholdReport(
            self.request.label,
            self.threshold,
            None if point is None else point.sensitivity,
            None if point is None else point.specificity,
            self.not_evaluated_because,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the threshold is not rounded, because calls depend on it."""
        pair = self.cross_fitted
        measured = pair and {"sensitivity": pair[0], "specificity": pair[1]}
        plain: dict[str, Any] = to_plain(self.report, REPORT_DIGITS)
        return plain | {
            "threshold": self.threshold,
            "chosen_by": {self.request.target: self.request.value},
            "cross_fitted": measured and to_plain(measured, REPORT_DIGITS),
        }


class Thresholds:
    """Chooses thresholds by the out-of-fold scores of the evaluator."""

    def __init__(
        self, catalog: Catalog, store: ClassifierStore, evaluator: ClassifierEvaluator
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._evaluator = evaluator

    def choose(
        self, workspace_id: str, name: str, number: int, requests: Sequence[ThresholdRequest]
    ) -> list[ChosenThresholds]:
        """The threshold of each request with its operating point.

        The out-of-fold scores that choose a threshold also measure its point, which is optimistic;
        ``cross_fitted`` is not.

        Raises:
            UnknownItem: no such classifier or version.
            InputError: no such class or label, or a value out of range.
            NotEnoughExamples: a target with fewer than 5 groups with scores of the class or of
                the others.
        """
        model = self._store.open(workspace_id, name, number).model
        requests = [
            request
            if request.label in model.labels
            else replace(request, label=class_name(request.label))
            for request in requests
        ]
        _check(requests, model)
        try:
            _, scores = self._evaluator.out_of_fold(workspace_id, name, number)
        except NotEnoughExamples as error:
            if any(request.target != "threshold" for request in requests):
                raise
            return [ChosenThresholds(r, r.value, None, str(error)) for r in requests]
        chosen = []
        for request in requests:
            key, own_name = model.find(request.label)
            held_out = scores.heads[key].chosen  # on the scale of the head
            calibration = model.heads[key].calibrator.calibration
            shares_NC = calibration.probabilities(held_out.logits_NC)
            of_class = _chosen(held_out, shares_NC, replace(request, label=own_name))
            if key is not None and not 0 < of_class.threshold < 1:
                value = of_class.threshold
                raise InputError(f"only a threshold of {value:g} gives the {request.target}")
            chosen.append(replace(of_class, request=request))
        return chosen

    @again_when_erased
    def store(
        self,
        workspace_id: str,
        name: str,
        requests: Sequence[ThresholdRequest],
        author: Author,
        *,
        base: int,
        publish: bool = False,
        if_revision: int | None = None,
    ) -> tuple[Classifier, ClassifierVersion]:
        """Store a version with the same heads and only these thresholds.

        Labels without a request return to the default of 0.5.

        Args:
            base: number of the version to start from.

        Raises:
            UnknownItem, InputError, NotEnoughExamples: as ``choose``.
            PreconditionFailed: ``if_revision`` is not the current one.
        """
        chosen = self.choose(workspace_id, name, base, requests)
        examples = self._catalog.version_examples(workspace_id, name, base)
        model = from_bytes(self._catalog.get_version(workspace_id, name, base).artifact)
        unlabelled, _ = self._catalog.version_unlabelled(workspace_id, name, base, dim=model.width)
        # After the examples: of those that are gone by then, it has no scores any more.
        start = self._catalog.get_version(workspace_id, name, base)
        thresholds = {choice.request.label: choice.threshold for choice in chosen}
        settings = {k: v for k, v in start.settings.items() if k not in _OF_ONE_CHANGE}
        settings |= {"base_version": base, POINTS: [choice.to_json() for choice in chosen]}
        if start.kind == MULTI:
            settings["thresholds"] = thresholds  # later versions inherit them
        version = NewVersion(
            encoder_id=start.encoder_id,
            classes=start.classes,
            artifact=to_bytes(model.with_thresholds(thresholds)),
            out_of_fold=start.out_of_fold,
            report=_with_thresholds(start.report, [choice.report for choice in chosen]),
            settings=settings,
            examples=tuple(
                NewExample(e.label, e.group, e.example_id) for e in (*examples, *unlabelled)
            ),
            author=author,
            kind=start.kind,
        )
        gone = sum(not example.is_kept for example in (*examples, *unlabelled))
        return self._catalog.add_version(
            workspace_id, name, version, publish=publish, if_revision=if_revision, gone=gone
        )


def _check(requests: Sequence[ThresholdRequest], model: FewShotClassifier) -> None:
    """Raises InputError: a class or label twice, unknown, or a value out of range."""
    labels = [request.label for request in requests]
    if len(set(labels)) < len(labels):
        raise InputError("expected one threshold per class or label")
    unknown = sum(label not in model.labels for label in labels)
    if unknown:
        raise InputError(f"{unknown} of {len(labels)} thresholds are of no class of the version")
    if not all(0 <= request.value <= 1 for request in requests):
        raise InputError("expected thresholds and targets of 0 to 1")
    values = {r.label: r.value for r in requests if r.target == "threshold"}
    model.check_thresholds(values)


def _chosen(held_out: HeldOut, shares_NC: Doubles, request: ThresholdRequest) -> ChosenThresholds:
    if request.target == "threshold":
        try:
            point = at_threshold(held_out, shares_NC, request.label, request.value)
        except NotEnoughExamples as error:
            return ChosenThresholds(request, request.value, None, str(error))
        return ChosenThresholds(request, point.threshold, point, None)
    target = (request.label, request.target, request.value)
    point = operating_point(held_out, shares_NC, *target)
    rates = cross_fitted(held_out, shares_NC, *target)
    return ChosenThresholds(request, point.threshold, point, None, rates)


def _with_thresholds(
    report: Mapping[str, Any], thresholds: Sequence[ThresholdReport]
) -> dict[str, Any]:
    """A report with the new thresholds of each head."""
    by_label = {threshold.label: threshold for threshold in thresholds}
    heads = []
    for head in report.get("labels", []):
        reports = list(thresholds)
        if head["label"] is not None:
            default = ThresholdReport(head["label"], THRESHOLD, None, None, "not asked for")
            reports = [by_label.get(head["label"], default)]
        heads.append({**head, "thresholds": to_plain(reports, REPORT_DIGITS)})
    return {**report, "labels": heads} if heads else dict(report)
