"""Metrics of classifiers: the report of a version, and what an evaluation measures."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from service.api.shapes.base import Answer, JsonObject

MULTI_LABEL_ONLY = "Only for a multi-label classifier; else null."
SINGLE_LABEL_ONLY = "Only for a single-label classifier; else null."


class Interval(Answer):
    """A metric with its 95 % interval over patients (groups)."""

    value: float
    low: float
    high: float


class ReliabilityAnswer(Answer):
    """How well probabilities are calibrated; 0 is best."""

    ece: float = Field(description="Expected calibration error.")
    brier: float
    log_loss: float


class ClassMetricsAnswer(Answer):
    """Metrics of held-out scores for a class."""

    name: str
    examples: int
    groups: int
    recall: Interval | None
    precision: Interval | None
    auroc: Interval | None
    not_evaluated_because: str | None
    missing_groups: int = Field(description="Groups that the metrics still need.")


class MetricsAnswer(Answer):
    """Metrics of held-out scores."""

    classes: list[str]
    balanced_accuracy: Interval | None
    auroc: Interval | None
    per_class: list[ClassMetricsAnswer]
    confusion: list[list[int]] = Field(description="[true class][predicted class] -> examples.")
    not_evaluated_because: str | None
    missing_groups: dict[str, int] = Field(
        description="Class -> groups that the metrics still need."
    )
    scored: int = Field(description="Examples with scores.")


class CalibrationAnswer(Answer):
    """How scores become probabilities: one temperature, with all classes equally frequent."""

    temperature: float
    groups: int
    before: ReliabilityAnswer | None = Field(description="Out of fold, at temperature 1.")
    after: ReliabilityAnswer | None
    not_calibrated_because: str | None
    missing_groups: int = Field(description="Groups that a temperature still needs.")


class ConformalAnswer(Answer):
    """How prediction sets are made."""

    method: Literal["lac", "aps"]
    items: int = Field(description="Independent examples.")


class ThresholdAnswer(Answer):
    """A threshold and its metrics on out-of-fold scores."""

    label: str
    threshold: float = Field(description="The class is called at this probability or above.")
    sensitivity: Interval | None
    specificity: Interval | None
    not_evaluated_because: str | None


class CurvePointAnswer(Answer):
    """Balanced accuracy on other groups, for heads fitted from so many groups per class."""

    groups_per_class: int
    balanced_accuracy: float


class GainAnswer(Answer):
    """The expected gain from more groups of one class."""

    gain: float
    gain_90: list[float] = Field(description="Interval over repeats.")


class ForecastReport(Answer):
    """Balanced accuracy against groups per class, and beyond."""

    curve: list[CurvePointAnswer]
    more_groups_per_class: int
    now: float | None
    with_more: float | None = Field(
        description="Expected with that many more groups of every class."
    )
    gain: float | None
    gain_90: list[float] | None = Field(description="Interval over repeats.")
    weakest_class: str | None
    gain_per_class: dict[str, GainAnswer] = Field(
        description="Class -> gain from more groups of it alone."
    )
    most_useful_class: str | None
    not_forecast_because: str | None
    missing_groups: dict[str, int]


class UnlabelledAnswer(Answer):
    """Whether unlabelled scans taught a label's head, and why."""

    scans: int = Field(description="Unlabelled scans that were looked at.")
    used: bool
    because: str
    taught: int = Field(description="Scans that taught the head; 0 when not used.")
    agreement: float | None = Field(
        description="Share of the scans on which their graph and the labelled examples agree."
    )
    gain: float | None = Field(
        description="Cross-validated balanced accuracy with the scans minus without them; null: "
        "too few groups."
    )


class HeadReportAnswer(Answer):
    """Grouped cross-validation of a label, or of a single-label classifier."""

    label: str | None = Field(description=MULTI_LABEL_ONLY)
    classes: list[str]
    examples_per_class: dict[str, int]
    groups_per_class: dict[str, int]
    groups: int
    effective_examples: int = Field(description="Frames of one group and class count once.")
    class_weights: dict[str, float] | None
    unlabelled: UnlabelledAnswer | None = Field(
        None, description="Null: the fit was given no unlabelled scans."
    )
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
    """How examples were grouped."""

    without_ids: int = Field(description="Examples without subject and study.")
    joined_by_similarity: int = Field(description="Examples without ids that copy another.")
    similarity: float | None = Field(
        description="Cosine from which an example is a copy; null: not checked."
    )


class NoveltyAnswer(Answer):
    """Which distances are usual among the examples."""

    method: Literal["nearest", "class_mean"]
    anchors: int
    reference_groups: int
    usual_distance_median: float | None
    far_from: float | None = Field(
        description="Distance above which a query is far; null: no limit."
    )


class VersionReport(Answer):
    """The report of a version; metrics are means over labels."""

    examples: int
    examples_without_label: int | None = Field(description=MULTI_LABEL_ONLY)
    groups: int
    effective_examples: int
    balanced_accuracy: float | None
    interval_95: list[float] | None = Field(description=SINGLE_LABEL_ONLY)
    not_evaluated_because: str | None
    novelty: NoveltyAnswer
    grouping: GroupingAnswer
    warnings: list[str]
    labels: list[HeadReportAnswer] = Field(
        description="One per label; exactly one for a single-label classifier."
    )

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self | None:
        """The answer for a stored report; None for an import without one."""
        return cls.model_validate(report) if report else None

    @property
    def is_calibrated(self) -> bool:
        """Whether the probabilities of every label are calibrated."""
        return all(head.calibration.not_calibrated_because is None for head in self.labels)


class CrossFitted(Answer):
    """Metrics of thresholds that were chosen without the patients they are measured on."""

    sensitivity: Interval
    specificity: Interval


class OperatingPointAnswer(ThresholdAnswer):
    """A threshold, with the target that it was chosen for."""

    chosen_by: dict[str, float] = Field(examples=[{"sensitivity": 0.95}])
    cross_fitted: CrossFitted | None = Field(description="Null for a given threshold.")


class UnlabelledSettings(BaseModel):
    """Where the unlabelled scans of a version come from."""

    collection: str
    filter: JsonObject | None = Field(
        description="As the request wrote it; null when it named subjects or studies."
    )
    scans: int = Field(description="How many the version lists; erasing one names the classifier.")


class VersionSettings(BaseModel):
    """How a version was made; a later release may have stored more fields."""

    model_config = ConfigDict(extra="allow")

    base_version: int | None = Field(None, description="The version it was made from.")
    added: int | None = None
    relabelled: int | None = None
    dropped: int | None = None
    not_kept: int | None = Field(None, description="Examples that were deleted meanwhile.")
    unlabelled: UnlabelledSettings | None = Field(None, description="Null: none were given.")
    unlabelled_not_kept: int | None = Field(
        None, description="Unlabelled scans that were deleted meanwhile."
    )
    refit: bool | None = Field(None, description="Made by an erasure.")
    imported: bool | None = None
    origin: dict[str, Any] | None = Field(None, description="The card of an imported classifier.")
    operation_id: str | None = None
    class_weights: dict[str, float] | None = None
    counted: str | None = None
    views: bool | Literal["examples"] | None = Field(
        None,
        description="true: fitted to views, asked with views; examples: fitted to views. Null: no "
        "views, made before there was a default.",
    )
    views_chosen_by: str | None = Field(
        None, description="The rule that chose views; null: the request did."
    )
    thresholds: dict[str, float] | None = Field(None, description=MULTI_LABEL_ONLY)
    operating_points: list[OperatingPointAnswer] | None = Field(
        None, description="Thresholds that were set, with their metrics."
    )
    thresholds_dropped: int | None = Field(
        None, description="Thresholds of the version before, which do not apply to the new head."
    )
