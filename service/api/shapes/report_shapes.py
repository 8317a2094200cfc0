"""Figures of classifiers: what a version reports, and what an evaluation measures."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.api.answers import Answer


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


class ThresholdCounts(Answer):
    """How often a label is called at its threshold, where it is there and where it is not."""

    threshold: float
    present: int
    present_called: int
    absent: int
    absent_called: int


class _Stored(BaseModel):
    """Stored with a version, by this or a later release: there may be more fields."""

    model_config = ConfigDict(extra="allow")


class CalibrationReport(_Stored):
    """How scores became probabilities."""

    calibrated: bool = False
    temperature: float | None = None
    groups: int | None = None
    before: ReliabilityAnswer | None = None
    after: ReliabilityAnswer | None = None
    not_calibrated_because: str | None = None
    missing_groups: int | None = None


class LabelReport(_Stored):
    """Grouped cross-validation of one label, or of a single-label classifier."""

    balanced_accuracy: float | None = None
    interval_95: list[float] | None = None
    not_judged_because: str | None = None
    classes: list[str] | None = None
    examples_per_class: dict[str, int] | None = None
    groups_per_class: dict[str, int] | None = None
    recall_per_class: dict[str, float] | None = None
    confusion: list[list[int]] | None = None
    chance: float | None = None
    groups: int | None = None
    effective_examples: float | None = None
    class_weights: dict[str, float] | None = None
    calibration: CalibrationReport | None = None
    warnings: list[str] = Field(default_factory=list)


class VersionReport(LabelReport):
    """What a version says of itself."""

    per_label: dict[str, LabelReport] | None = Field(
        None, description="Of a multi-label classifier."
    )

    @property
    def is_calibrated(self) -> bool:
        """Whether the probabilities of every label are."""
        parts = [self] if self.per_label is None else list(self.per_label.values())
        return bool(parts) and all(p.calibration and p.calibration.calibrated for p in parts)


class CrossFitted(Answer):
    """What thresholds give that were chosen without the patients they are measured on."""

    sensitivity: Interval
    specificity: Interval


class OperatingPointAnswer(Answer):
    """A threshold, and what it gives on scores of heads that had not seen the examples."""

    label: str
    threshold: float = Field(description="The class is called at this probability or above.")
    chosen_by: dict[str, float] = Field(examples=[{"sensitivity": 0.95}])
    sensitivity: Interval | None
    specificity: Interval | None
    cross_fitted: CrossFitted | None = Field(description="Null for a threshold that was given.")
    not_judged_because: str | None


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
