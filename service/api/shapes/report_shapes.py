"""Figures of classifiers: what a version reports, and what an evaluation measures."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from service.api.shapes.base import Answer


class Interval(Answer):
    """A figure with its 95 % interval over patients (groups)."""

    value: float
    low: float
    high: float


class ReliabilityAnswer(Answer):
    """How exact probabilities are; 0 is best."""

    ece: float = Field(description="Expected calibration error.")
    brier: float
    log_loss: float


class ClassMetricsAnswer(Answer):
    """What held-out scores are worth for one class."""

    name: str
    examples: int
    groups: int
    recall: Interval | None
    precision: Interval | None
    auroc: Interval | None
    not_evaluated_because: str | None
    missing_groups: int = Field(description="That the figures need.")


class MetricsAnswer(Answer):
    """What held-out scores are worth."""

    classes: list[str]
    balanced_accuracy: Interval | None
    auroc: Interval | None
    per_class: list[ClassMetricsAnswer]
    confusion: list[list[int]] = Field(description="[true class][predicted class] -> examples.")
    not_evaluated_because: str | None
    missing_groups: dict[str, int] = Field(description="Class -> groups that figures need.")
    scored: int = Field(description="Examples with scores.")


class CalibrationAnswer(Answer):
    """How scores became probabilities: by one temperature, all classes equally frequent."""

    temperature: float
    groups: int
    before: ReliabilityAnswer | None = Field(description="Out of fold, at temperature 1.")
    after: ReliabilityAnswer | None
    not_calibrated_because: str | None
    missing_groups: int = Field(description="That a temperature needs.")


class ConformalAnswer(Answer):
    """By what prediction sets are made."""

    method: Literal["lac", "aps"]
    items: int = Field(description="Independent examples.")


class ThresholdAnswer(Answer):
    """A threshold, and what it gives on scores of heads that had not seen the examples."""

    label: str
    threshold: float = Field(description="The class is called at this probability or above.")
    sensitivity: Interval | None
    specificity: Interval | None
    not_evaluated_because: str | None


class CurvePointAnswer(Answer):
    """Balanced accuracy on other groups, of heads taught with so many groups per class."""

    groups_per_class: int
    balanced_accuracy: float


class GainAnswer(Answer):
    """What more groups of one class alone would give."""

    gain: float
    gain_90: list[float] = Field(description="Interval over repeats.")


class ForecastReport(Answer):
    """Balanced accuracy against groups per class, and beyond."""

    curve: list[CurvePointAnswer]
    more_groups_per_class: int
    now: float | None
    with_more: float | None = Field(description="With so many more groups of every class.")
    gain: float | None
    gain_90: list[float] | None = Field(description="Interval over repeats.")
    weakest_class: str | None
    gain_per_class: dict[str, GainAnswer] = Field(description="More groups of that class alone.")
    most_useful_class: str | None
    not_forecast_because: str | None
    missing_groups: dict[str, int]


class HeadReportAnswer(Answer):
    """Grouped cross-validation of one label, or of a single-label classifier."""

    label: str | None = Field(description="Of a multi-label classifier; else null.")
    classes: list[str]
    examples_per_class: dict[str, int]
    groups_per_class: dict[str, int]
    groups: int
    effective_examples: int = Field(description="Frames of one group and class count once.")
    class_weights: dict[str, float] | None
    regularisation_c: float
    c_chosen_by: str
    n_folds: int
    balanced_accuracy: float | None
    interval_95: list[float] | None
    not_evaluated_because: str | None
    recall_per_class: dict[str, float] | None
    confusion: list[list[int]] | None
    chance: float
    warnings: list[str]
    calibration: CalibrationAnswer
    conformal: ConformalAnswer
    min_margin: float
    margin_chosen_by: str
    metrics: MetricsAnswer
    thresholds: list[ThresholdAnswer]
    forecast: ForecastReport


class GroupingAnswer(Answer):
    """How examples became groups."""

    without_ids: int = Field(description="Examples with neither subject nor study.")
    joined_by_similarity: int = Field(description="Of them, those that are copies of another.")
    similarity: float | None = Field(description="Cosine that makes a copy; null: none sought.")


class NoveltyAnswer(Answer):
    """What distances are usual among the examples."""

    method: Literal["nearest", "class_mean"]
    anchors: int
    reference_groups: int
    usual_distance_median: float | None
    far_from: float | None = Field(description="Distance above which a query is far; null: none.")


class VersionReport(Answer):
    """What a version says of itself; figures are means over labels."""

    examples: int
    examples_without_label: int | None = Field(description="Null of a single-label classifier.")
    groups: int
    effective_examples: int
    balanced_accuracy: float | None
    interval_95: list[float] | None = Field(description="Null of a multi-label classifier.")
    not_evaluated_because: str | None
    novelty: NoveltyAnswer
    grouping: GroupingAnswer
    warnings: list[str]
    labels: list[HeadReportAnswer] = Field(description="One of a single-label classifier.")

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self | None:
        """The shape of a stored report; None of an import without one."""
        return cls.model_validate(report) if report else None

    @property
    def is_calibrated(self) -> bool:
        """Whether the probabilities of every label are."""
        return all(head.calibration.not_calibrated_because is None for head in self.labels)


class CrossFitted(Answer):
    """What thresholds give that were chosen without the patients they are measured on."""

    sensitivity: Interval
    specificity: Interval


class OperatingPointAnswer(ThresholdAnswer):
    """A threshold that was chosen, and by what."""

    chosen_by: dict[str, float] = Field(examples=[{"sensitivity": 0.95}])
    cross_fitted: CrossFitted | None = Field(description="Null for a threshold that was given.")


class _Stored(BaseModel):
    """Stored with a version, by this or a later release: there may be more fields."""

    model_config = ConfigDict(extra="allow")


class VersionSettings(_Stored):
    """How a version came about."""

    base_version: int | None = Field(None, description="The version that it was made from.")
    added: int | None = None
    relabelled: int | None = None
    dropped: int | None = None
    not_kept: int | None = Field(None, description="Examples that were deleted meanwhile.")
    refit: bool | None = Field(None, description="Made by an erasure.")
    imported: bool | None = None
    origin: dict[str, Any] | None = Field(None, description="The card of an imported classifier.")
    operation_id: str | None = None
    class_weights: dict[str, float] | None = None
    counted: str | None = None
    thresholds: dict[str, float] | None = Field(None, description="Of a multi-label classifier.")
    operating_points: list[OperatingPointAnswer] | None = Field(
        None, description="Thresholds that were set, with what they give."
    )
    thresholds_dropped: int | None = Field(
        None, description="Thresholds of the version before: they hold for no other head."
    )
