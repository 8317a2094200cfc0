"""What the routes of thresholds, confusion and forecast take and answer."""

from typing import Self

from pydantic import Field, model_validator

from service.api.answers import Answer
from service.api.schemas import Body, JsonObject, example_of


class ThresholdWish(Body):
    """A threshold for one class: a value, or the sensitivity or specificity it must reach."""

    label: str = Field(max_length=200)
    sensitivity: float | None = Field(None, gt=0, le=1)
    specificity: float | None = Field(None, gt=0, le=1)
    threshold: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if sum(v is not None for v in (self.sensitivity, self.specificity, self.threshold)) != 1:
            raise ValueError("expected one of sensitivity, specificity and threshold")
        return self


class ThresholdsBody(Body):
    """All thresholds of the next version; an empty list takes them away."""

    model_config = example_of(
        {"thresholds": [{"label": "malignant", "sensitivity": 0.95}], "publish": True}
    )

    thresholds: list[ThresholdWish] = Field(max_length=1000)
    base_version: int | None = Field(None, ge=1, description="The published one if null.")
    publish: bool = Field(False, description="Let the new version predict at once.")


class Interval(Answer):
    """A figure with its 95 % interval over patients (groups)."""

    value: float
    low: float
    high: float


class CrossFitted(Answer):
    """What thresholds chosen without the judged patients give: no optimism of the choice."""

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


class OperatingPointsAnswer(Answer):
    """One per class that was asked for."""

    classifier: str
    version: int
    points: list[OperatingPointAnswer]


class CellExample(Answer):
    """An example behind a cell; ``scan_id`` is null for an upload."""

    example_id: str
    collection: str | None
    scan_id: str | None
    thumbnail: str | None = Field(description="Path of a small JPEG; null for an upload.")


class Cell(Answer):
    """Examples of one true class that heads without their groups gave one class."""

    concerns: str | None = Field(description="Label of a multi-label classifier; else null.")
    label: str = Field(description="As the example is labelled.")
    predicted: str
    count: int
    examples: list[CellExample] = Field(description="The first ``most`` of them.")


class ConfusionAnswer(Answer):
    """Cells that hold examples, true classes in order."""

    classifier: str
    version: int
    classes: list[str]
    judged: int = Field(description="Examples that have held-out scores.")
    cells: list[Cell]


class ForecastAnswer(Answer):
    """What more examples would give."""

    classifier: str
    version: int
    forecast: JsonObject = Field(
        description="curve, gain of 10 more groups of every class, gain_per_class of that class "
        "alone, most_useful_class; or not_forecast_because with missing_groups. Of a multi-label "
        "classifier all that under ``per_label``."
    )
