"""Evaluation on the wire: metrics, review of labels, thresholds, confusion, forecast, agreement."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from service.api.shapes.base import (
    ENCODER,
    Answer,
    Body,
    Identifier,
    Label,
    RefusedExampleAnswer,
    Rounded,
    Similarity,
    example_of,
)
from service.api.shapes.classifier_shapes import ExampleSource
from service.api.shapes.report_shapes import (
    MULTI_LABEL_ONLY,
    ForecastReport,
    Interval,
    MetricsAnswer,
    OperatingPointAnswer,
    ReliabilityAnswer,
)
from service.api.shapes.scan_shapes import ScanAnswer
from service.api.shapes.version_shapes import ExampleSummary, LabelledSummary
from service.classifiers.evaluation import ConfusionCell, HeadEvaluation, mean_balanced_accuracy
from service.classifiers.refusals import OnRefused
from service.classifiers.review import ReviewItem
from service.classifiers.thresholds import Target, ThresholdRequest

Verdict = Annotated[
    Literal["better", "worse", "cannot_tell"],
    Field(description="Whether the first is better than the second."),
]
ONE_PER_LABEL = "One per label; exactly one for a single-label classifier."


class VersionedAnswer(Answer):
    """An answer about a version of a classifier."""

    classifier: str
    version: int


class EvaluationBody(ExampleSource):
    """Labelled scans and images to evaluate a version on."""

    model_config = example_of({"collection": "liver", "task": "finding", "filter": {}})

    allow_known: bool = Field(
        False, description="Accept examples that the version was fitted from."
    )
    on_refused: OnRefused = Field(
        "fail",
        description="leave_out: evaluate on the rest, and say which examples were left out.",
    )


class ThresholdCountsAnswer(Answer):
    """How often a class or label is called at its threshold, when present and when absent."""

    label: str
    threshold: float
    positives: int
    positives_called: int
    negatives: int
    negatives_called: int


class LabelMetricsAnswer(Answer):
    """Metrics of a label, or of a single-label classifier."""

    label: str | None = Field(description=MULTI_LABEL_ONLY)
    metrics: MetricsAnswer
    reliability: ReliabilityAnswer | None = Field(
        description="Calibration of the probabilities; null in comparisons."
    )
    thresholds: list[ThresholdCountsAnswer] = Field(description="Empty in comparisons.")


class EvaluationAnswer(VersionedAnswer):
    """Metrics on held-out examples."""

    encoder_id: str = Field(examples=[ENCODER])
    calibrated: bool
    examples: int = Field(description="Number of different images.")
    known_examples: int = Field(description="Examples that the version was fitted from.")
    left_out: int = Field(description="Examples that were refused; the metrics are of the rest.")
    refused: list[RefusedExampleAnswer] = Field(description="The first 50 of those left out.")
    balanced_accuracy: float | None = Field(description="Mean over labels.")
    items: list[LabelMetricsAnswer] = Field(description=ONE_PER_LABEL)


class ComparedVersion(Answer):
    """One side of a comparison."""

    version: int
    balanced_accuracy: float | None = Field(description="Mean over labels.")
    items: list[LabelMetricsAnswer] = Field(description=ONE_PER_LABEL)

    @classmethod
    def of(cls, number: int, heads: Sequence[HeadEvaluation]) -> Self:
        """The answer for one side of a comparison."""
        return cls(
            version=number,
            balanced_accuracy=mean_balanced_accuracy(heads),
            items=[LabelMetricsAnswer.model_validate(head) for head in heads],
        )


class DifferenceAnswer(Answer):
    """A metric of the first version minus that of the second, on the same patients."""

    label: str | None = Field(
        description="Of a multi-label classifier; null: the mean over its labels, or the "
        "single-label classifier."
    )
    metric: Literal["balanced_accuracy", "auroc", "log_loss"]
    value: Rounded | None = Field(description="Null when no two classes were scored.")
    low: Rounded | None = Field(
        description="Ends of the 95 % interval: paired bootstrap over patients."
    )
    high: Rounded | None
    verdict: Verdict
    scored: int = Field(description="Examples that both versions scored.")
    groups: int = Field(description="Patients (else studies or images) of those examples.")
    smallest_class_groups: int = Field(description="Patients of the class that has the fewest.")
    cannot_tell_because: str | None


class ComparisonAnswer(Answer):
    """Two versions on the same examples, by their out-of-fold scores."""

    classifier: str
    shared_examples: int = Field(description="Examples that both have, under the same label.")
    only_first: int = Field(description="Examples that only the first version has.")
    only_second: int
    other_label: int = Field(description="Examples of both, under different labels.")
    groups: int = Field(description="Patients (else studies or images) that both scored.")
    verdict: Verdict
    differences: list[DifferenceAnswer] = Field(
        description="First minus second, per metric: of the classifier, then of each label."
    )
    first: ComparedVersion
    second: ComparedVersion


class ReviewItemAnswer(Answer):
    """A scan to label, a doubtful example, or two examples that contradict each other."""

    reason: Literal["uncertain", "doubtful_label", "conflicting_labels"]
    scan: ScanAnswer | None = Field(description="Only for kind `next`.")
    example: LabelledSummary | None = Field(description="Only for kinds `suspect` and `conflict`.")
    other: LabelledSummary | None = Field(description="Only for kind `conflict`: its near copy.")
    label: str | None = Field(description="The label in question of a multi-label classifier.")
    guess: str | None = Field(
        description="Class by the classifier; `present` or `absent` for `label`. Heads that had "
        "not seen the group of a suspect guess its class."
    )
    probabilities: dict[str, Rounded] | None = Field(
        description="Probabilities of the guess and of its alternative."
    )
    similarity: Similarity | None = Field(
        description="Only for kind `conflict`: cosine; 1: the same picture."
    )

    @classmethod
    def of(cls, item: ReviewItem, kind: str, *, dim: int) -> Self:
        """The answer for an item of a version of this kind."""
        return cls.of_record(
            item,
            scan=item.scan and ScanAnswer.of(item.scan, dim=dim),
            example=item.example and LabelledSummary.of(item.example, kind),
            other=item.other and LabelledSummary.of(item.other, kind),
        )


class ReviewAnswer(VersionedAnswer):
    """Labels to look at, most urgent first."""

    kind: Literal["next", "suspect", "conflict"]
    total: int | None = Field(
        description="Number of items without the `limit`; null for kind `next`."
    )
    left_out: int | None = Field(
        description="Only for kind `next`: unlabelled scans that the version has learnt already, "
        "that copy a labelled scan, or that are blank."
    )
    items: list[ReviewItemAnswer]


class ThresholdTarget(Body):
    """A threshold for a class: a value, or the sensitivity or specificity it must reach."""

    label: Label
    sensitivity: float | None = Field(None, gt=0, le=1)
    specificity: float | None = Field(None, gt=0, le=1)
    threshold: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if sum(v is not None for v in (self.sensitivity, self.specificity, self.threshold)) != 1:
            raise ValueError("expected one of sensitivity, specificity and threshold")
        return self

    @property
    def request(self) -> ThresholdRequest:
        """The target as the use cases take it."""
        targets = self.model_dump(exclude={"label"}, exclude_none=True)
        ((target, value),) = targets.items()
        return ThresholdRequest(self.label, cast(Target, target), value)


class ThresholdsBody(Body):
    """All thresholds of the next version; an empty list removes them."""

    model_config = example_of(
        {"thresholds": [{"label": "malignant", "sensitivity": 0.95}], "publish": True}
    )

    thresholds: list[ThresholdTarget] = Field(max_length=1000)
    publish: bool = Field(False, description="Publish the new version at once.")


class ThresholdsAnswer(VersionedAnswer):
    """The operating point of each requested class."""

    items: list[OperatingPointAnswer]


class ConfusionCellAnswer(Answer):
    """Examples of one class to which heads that had not seen their groups gave one class."""

    label: str | None = Field(description=MULTI_LABEL_ONLY)
    actual: str = Field(description="Class by the label of the example.")
    predicted: str
    count: int
    examples: list[ExampleSummary] = Field(description="The first `limit` examples.")

    @classmethod
    def of(cls, cell: ConfusionCell, limit: int) -> Self:
        """The answer for a cell."""
        examples = [ExampleSummary.of_example(example) for example in cell.examples[:limit]]
        return cls.of_record(cell, count=len(cell.examples), examples=examples)


class ConfusionAnswer(VersionedAnswer):
    """Cells that hold examples, in the order of the true classes."""

    classes: list[str] = Field(description="Classes, or labels that are each absent or present.")
    scored: int = Field(description="Examples that have out-of-fold scores.")
    items: list[ConfusionCellAnswer]


class LabelForecast(ForecastReport):
    """The forecast for a label, or for a single-label classifier."""

    label: str | None = Field(description=MULTI_LABEL_ONLY)


class ForecastAnswer(VersionedAnswer):
    """The expected gain from more examples."""

    items: list[LabelForecast] = Field(description=ONE_PER_LABEL)


class AgreementBody(Body):
    """Two tasks, one per reader."""

    model_config = example_of({"task": "reader-1", "other_task": "reader-2"})

    task: Identifier
    other_task: Identifier


class Disagreement(Answer):
    """A scan that two readers labelled differently."""

    scan_id: str
    label: str = Field(description="Label by the reader of `task`.")
    other_label: str
    thumbnail: str | None = Field(description="Path of a small JPEG.")


class AgreementAnswer(Answer):
    """The agreement of two readers."""

    kappa: Interval | None = Field(
        description="Cohen's kappa with its interval over patients; null if both used one class."
    )
    agreed: Rounded = Field(description="Share of scans with the same label.")
    scans: int = Field(description="Scans that both readers labelled.")
    items: list[Disagreement]
