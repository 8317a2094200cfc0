"""Evaluation on the wire: metrics, review of labels, thresholds, confusion, forecast, agreement."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self, cast

from pydantic import Field, model_validator

from service.api.shapes.base import ENCODER, Answer, Body, Identifier, example_of
from service.api.shapes.classifier_shapes import ExampleSource
from service.api.shapes.report_shapes import (
    ForecastReport,
    Interval,
    MetricsAnswer,
    OperatingPointAnswer,
    ReliabilityAnswer,
)
from service.api.shapes.scan_shapes import ScanAnswer
from service.api.shapes.version_shapes import label_fields, thumbnail_path
from service.classifiers.evaluation import ConfusionCell, HeadEvaluation, mean_balanced_accuracy
from service.classifiers.registry import VersionExample
from service.classifiers.review import ReviewItem
from service.classifiers.thresholds import Target, ThresholdRequest

PLACES = 6  # of probabilities and cosines
_OF_LABEL = "Of a multi-label classifier; else null."


class EvaluationBody(ExampleSource):
    """Labelled scans and images to evaluate a version on."""

    model_config = example_of({"collection": "liver", "task": "finding", "filter": {}})

    allow_known: bool = Field(
        False, description="Evaluate also on examples that the version was fitted from."
    )


class ThresholdCountsAnswer(Answer):
    """How often a class or label is called at its threshold, where it is true and where not."""

    label: str
    threshold: float
    positives: int
    positives_called: int
    negatives: int
    negatives_called: int


class LabelMetricsAnswer(Answer):
    """Figures of one label, or of a single-label classifier."""

    label: str | None = Field(description=_OF_LABEL)
    metrics: MetricsAnswer
    reliability: ReliabilityAnswer | None = Field(
        description="Of probabilities; null in comparisons."
    )
    thresholds: list[ThresholdCountsAnswer] = Field(description="Empty in comparisons.")

    @classmethod
    def of(cls, head: HeadEvaluation) -> Self:
        """The shape of the figures of one head."""
        return cls.model_validate(head, from_attributes=True)


class EvaluationAnswer(Answer):
    """Figures on held-out examples."""

    classifier: str
    version: int
    encoder_id: str = Field(examples=[ENCODER])
    calibrated: bool
    examples: int = Field(description="Different images.")
    known_examples: int = Field(description="Of them, those that the version was fitted from.")
    balanced_accuracy: float | None = Field(description="Mean over labels.")
    items: list[LabelMetricsAnswer] = Field(description="One per label; one of a single-label one.")


class ComparedVersion(Answer):
    """One of two versions."""

    version: int
    balanced_accuracy: float | None = Field(description="Mean over labels.")
    items: list[LabelMetricsAnswer] = Field(description="One per label; one of a single-label one.")

    @classmethod
    def of(cls, number: int, heads: Sequence[HeadEvaluation]) -> Self:
        """The shape of one side of a comparison."""
        return cls(
            version=number,
            balanced_accuracy=mean_balanced_accuracy(heads),
            items=[LabelMetricsAnswer.of(head) for head in heads],
        )


class ComparisonAnswer(Answer):
    """Two versions on the same examples, by out-of-fold guesses."""

    classifier: str
    shared_examples: int
    first: ComparedVersion
    second: ComparedVersion


class ReviewExample(Answer):
    """An example of the version."""

    example_id: str
    collection: str | None
    scan_id: str | None = Field(description="Null for an upload.")
    thumbnail: str | None = Field(description="Path of a small JPEG; null for an upload.")
    label: str | None = Field(description="Its class; null of a multi-label classifier.")
    labels: list[str] | None = Field(description=_OF_LABEL)

    @classmethod
    def of(cls, example: VersionExample, kind: str) -> Self:
        """The shape of an example of a version of this kind."""
        collection, scan_id = example.scan or (None, None)
        label, labels = label_fields(example.label, kind)
        return cls(
            example_id=example.example_id,
            collection=collection,
            scan_id=scan_id,
            thumbnail=thumbnail_path(example.scan),
            label=label,
            labels=labels,
        )


class ReviewItemAnswer(Answer):
    """A scan to label, an example to doubt, or two examples that contradict each other."""

    reason: Literal["uncertain", "doubtful_label", "conflicting_labels"]
    scan: ScanAnswer | None = Field(description="Of kind `next`.")
    example: ReviewExample | None = Field(description="Of kinds `suspect` and `conflict`.")
    other: ReviewExample | None = Field(description="Of kind `conflict`: what looks like it.")
    label: str | None = Field(description="The label in question of a multi-label classifier.")
    guess: str | None = Field(
        description="Class by the classifier; `present` or `absent` for `label`. Suspects are "
        "guessed by heads that had not seen their group."
    )
    probabilities: dict[str, float] | None = Field(
        description="Of the guess and of what it competes with."
    )
    similarity: float | None = Field(
        ge=-1.001, le=1.001, description="Of kind `conflict`: cosine; 1 = the same picture."
    )

    @classmethod
    def of(cls, item: ReviewItem, kind: str, *, dim: int) -> Self:
        """The shape of an item of a version of this kind."""
        scan = item.scan and ScanAnswer.of(item.scan, dim)
        return cls(
            reason=item.reason,
            scan=scan,
            example=item.example and ReviewExample.of(item.example, kind),
            other=item.other and ReviewExample.of(item.other, kind),
            label=item.label,
            guess=item.guess,
            probabilities=item.probabilities and _rounded(item.probabilities),
            similarity=item.similarity and round(item.similarity, PLACES),
        )


def _rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {name: round(share, PLACES) for name, share in probabilities.items()}


class ReviewAnswer(Answer):
    """What to look at, most urgent first."""

    classifier: str
    version: int
    kind: Literal["next", "suspect", "conflict"]
    total: int | None = Field(description="With those that `limit` left out; null of `next`.")
    items: list[ReviewItemAnswer]


class ThresholdTarget(Body):
    """A threshold for one class: a value, or the sensitivity or specificity it must reach."""

    label: str = Field(max_length=200)
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
        """As the use cases take it."""
        targets: tuple[Target, ...] = ("sensitivity", "specificity", "threshold")
        for target in targets:
            value = cast(float | None, getattr(self, target))
            if value is not None:
                return ThresholdRequest(self.label, target, value)
        raise AssertionError("unreachable: the model has one target")


class ThresholdsBody(Body):
    """All thresholds of the next version; an empty list takes them away."""

    model_config = example_of(
        {"thresholds": [{"label": "malignant", "sensitivity": 0.95}], "publish": True}
    )

    thresholds: list[ThresholdTarget] = Field(max_length=1000)
    publish: bool = Field(False, description="Let the new version predict at once.")


class ThresholdsAnswer(Answer):
    """The operating point of each class that was asked for."""

    classifier: str
    version: int
    items: list[OperatingPointAnswer]


class ConfusionExample(Answer):
    """An example behind a cell."""

    example_id: str
    collection: str | None
    scan_id: str | None = Field(description="Null for an upload.")
    thumbnail: str | None = Field(description="Path of a small JPEG; null for an upload.")


class ConfusionCellAnswer(Answer):
    """Examples of one class that heads without their groups gave one class."""

    label: str | None = Field(description=_OF_LABEL)
    actual: str = Field(description="As the example is labelled.")
    predicted: str
    count: int
    examples: list[ConfusionExample] = Field(description="The first `limit` of them.")

    @classmethod
    def of(cls, cell: ConfusionCell, limit: int) -> Self:
        """The shape of a cell."""
        examples = [
            ConfusionExample(
                example_id=example.example_id,
                collection=example.scan and example.scan[0],
                scan_id=example.scan and example.scan[1],
                thumbnail=thumbnail_path(example.scan),
            )
            for example in cell.examples[:limit]
        ]
        return cls(
            label=cell.label,
            actual=cell.actual,
            predicted=cell.predicted,
            count=len(cell.examples),
            examples=examples,
        )


class ConfusionAnswer(Answer):
    """Cells that hold examples, true classes in order."""

    classifier: str
    version: int
    classes: list[str] = Field(description="Or labels, whose classes are absent and present.")
    scored: int = Field(description="Examples that have out-of-fold scores.")
    items: list[ConfusionCellAnswer]


class LabelForecast(ForecastReport):
    """The forecast of one label, or of a single-label classifier."""

    label: str | None = Field(description=_OF_LABEL)


class ForecastAnswer(Answer):
    """What more examples would give."""

    classifier: str
    version: int
    items: list[LabelForecast] = Field(description="One per label; one of a single-label one.")


class AgreementBody(Body):
    """Two label tasks, one per reader."""

    model_config = example_of({"task": "reader-1", "other_task": "reader-2"})

    task: Identifier
    other_task: Identifier


class Disagreement(Answer):
    """A scan that two readers labelled differently."""

    scan_id: str
    label: str = Field(description="By the reader of `task`.")
    other_label: str
    thumbnail: str | None = Field(description="Path of a small JPEG.")


class AgreementAnswer(Answer):
    """How far two readers agree."""

    kappa: Interval | None = Field(
        description="Cohen's, with its interval over patients; null where both used one class."
    )
    agreed: float = Field(description="Share of scans with the same label.")
    scans: int = Field(description="That carry labels of both.")
    items: list[Disagreement]
