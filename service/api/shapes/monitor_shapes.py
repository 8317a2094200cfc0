"""The use of classifiers on the wire: monitor and outcomes."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints

from service.api.shapes.base import (
    DISTINCT_NAMES,
    TIME,
    Answer,
    Body,
    Identifier,
    Label,
    Rounded,
    Share,
    Similarity,
    example_of,
)
from service.api.shapes.evaluation_shapes import VersionedAnswer
from service.api.shapes.report_shapes import MULTI_LABEL_ONLY, Interval
from service.classifiers.monitoring.monitor_records import (
    MonitorReport,
    OutcomeFigures,
    WindowTest,
)
from service.classifiers.monitoring.outcome_reports import ReportedOutcome

PredictionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Probability = Annotated[float, Field(ge=0, le=1)]
Probabilities = Annotated[dict[Label, Probability], Field(max_length=1000), DISTINCT_NAMES]
Figure = Literal["similarity", "confidence", "abstentions"]
MAX_OUTCOMES = 1000  # of one request


class OutcomeBody(Body):
    """What a prediction said, and what turned out to be true."""

    prediction_id: PredictionId = Field(
        description="Of the prediction; a second outcome of it replaces the first."
    )
    version: int = Field(ge=1, le=999_999_999, description="Version that answered.")
    probabilities: Probabilities = Field(
        description="Probability of every class or label, as predicted."
    )
    abstained: bool = Field(description="Whether the decision was abstained.")
    actual: list[Label] = Field(
        max_length=1000,
        description="The true class; of a multi-label classifier the labels that are present.",
    )
    patient: Identifier | None = Field(
        None,
        description="Keyed digest of the patient, or the subject_id of the stored scans; only a "
        "digest of it is stored.",
    )

    @property
    def reported(self) -> ReportedOutcome:
        """As the use case takes it."""
        return ReportedOutcome(
            self.prediction_id,
            self.version,
            self.probabilities,
            self.abstained,
            tuple(self.actual),
            self.patient,
        )


class OutcomesBody(Body):
    """Outcomes of predictions."""

    model_config = example_of(
        {
            "outcomes": [
                {
                    "prediction_id": "prd_5f2b1c0d9e8a74630011",
                    "version": 3,
                    "probabilities": {"benign": 0.81, "malignant": 0.19},
                    "abstained": False,
                    "actual": ["benign"],
                    "patient": "9c1185a5c5e9fc54612808977ee8f548b2258d31",
                }
            ]
        }
    )

    outcomes: list[OutcomeBody] = Field(min_length=1, max_length=MAX_OUTCOMES)


class OutcomesStored(Answer):
    """How many outcomes were stored."""

    recorded: int = Field(description="Predictions that had no outcome before.")
    replaced: int = Field(description="Predictions whose earlier outcome was replaced.")


class WindowUsageAnswer(Answer):
    """The answers of a stretch of time. Medians and means are null without comparable answers."""

    window: Literal["hour", "day", "week", "all"]
    started_at: str | None = Field(examples=[TIME])
    ended_at: str | None = Field(examples=[TIME])
    answers: int
    compared: int = Field(description="Answers to pictures that are not blank and not frozen.")
    abstained: dict[str, int] = Field(description="Reason -> answers.")
    abstained_share: Share | None
    called: dict[str, int] = Field(description="Class or label -> answers that called it.")
    most_probable: dict[str, Share] = Field(description="Class or label -> share of the answers.")
    similarity_median: Similarity | None = Field(
        description="Of the mean cosine to the nearest 5 examples."
    )
    distance_median: Rounded | None = Field(description="Of 1 - cosine to the nearest example.")
    confidence_mean: Share | None = Field(
        description="Of the greatest probability; for labels, of the mean of max(p, 1 - p)."
    )
    findings: dict[str, int] = Field(description="Quality finding -> answers.")
    machines: dict[str, int] = Field(description="Manufacturer and model -> answers.")
    sizes: dict[str, int] = Field(description="Width x height of the frame -> answers.")


class ReferenceAnswer(Answer):
    """The same figures of the labelled examples, each by what had not seen its patient."""

    examples: int
    groups: int
    most_probable: dict[str, Share] = Field(description="Empty for a multi-label classifier.")
    abstained_share: Share
    similarity_median: Similarity | None
    distance_median: Rounded | None
    confidence_mean: Share


class FigureTestAnswer(Answer):
    """A figure of a window: mean deviation from the reference, and its limit."""

    figure: Figure
    deviation: Rounded
    limit: Rounded = Field(
        description="Similarity and confidence alarm below it, abstentions above."
    )
    alarms: bool


class WindowTestAnswer(Answer):
    """The test of a full window of answers."""

    window: int = Field(description="Answers that fill it.", examples=[200])
    started_at: str = Field(examples=[TIME])
    ended_at: str = Field(examples=[TIME])
    compared: int
    false_alarm_share: float = Field(
        description="Chance that an undisturbed window of this length alarms by any figure."
    )
    alarms: bool
    figures: list[FigureTestAnswer]

    @classmethod
    def of(cls, test: WindowTest) -> Self:
        """The answer for a test."""
        figures = [FigureTestAnswer.of_record(figure) for figure in test.figures]
        return cls.of_record(test, figures=figures)


class ConfidenceBinAnswer(Answer):
    """Answered outcomes whose probability lies between ``low`` and ``high``."""

    low: float
    high: float
    predictions: int
    mean_confidence: Share | None
    right: int


class OutcomeFiguresAnswer(Answer):
    """Accuracy and calibration in use; null where `not_evaluated_because` says why."""

    label: str | None = Field(description=MULTI_LABEL_ONLY)
    outcomes: int
    groups: int = Field(description="Patients; predictions without one count as one each.")
    answered: Share | None = Field(description="Share of outcomes without abstention.")
    accuracy: Interval | None
    balanced_accuracy: Interval | None
    recall: dict[str, Interval | None]
    overconfidence: Interval | None = Field(description="Mean confidence minus accuracy.")
    expected_calibration_error: float | None
    bins: list[ConfidenceBinAnswer]
    not_evaluated_because: str | None

    @classmethod
    def of(cls, head: OutcomeFigures) -> Self:
        """The answer for the figures of one head."""
        figures = head.figures
        bins = [ConfidenceBinAnswer.of_record(one) for one in figures.bins]
        return cls.of_record(figures, label=head.label, bins=bins)


class OutcomesAnswer(Answer):
    """What turned out to be true of predictions."""

    outcomes: int
    with_patient: int = Field(
        description="Outcomes that name a patient. The others count as patients of their own, so "
        "intervals are too narrow where several are of one patient."
    )
    labels: list[OutcomeFiguresAnswer] = Field(description="One per label; one of all classes.")


class MonitorAnswer(VersionedAnswer):
    """A version in use, against its reference."""

    alarming: bool = Field(description="Whether the last full window of any length alarms.")
    false_alarms_per_1000: float = Field(
        description="For which the limits are set: per 1,000 answers to patients like those of the "
        "examples, over all windows and figures."
    )
    windows: list[WindowUsageAnswer]
    reference: ReferenceAnswer | None
    no_reference_because: str | None
    not_tested_because: str | None
    latest: list[WindowTestAnswer] = Field(description="The last full window of each length.")
    alarms: list[WindowTestAnswer] = Field(description="Windows that alarmed, newest first.")
    outcomes: OutcomesAnswer

    @classmethod
    def of(cls, report: MonitorReport, classifier: str, version: int) -> Self:
        """The answer for a report."""
        reference = report.reference
        return cls.of_record(
            report,
            classifier=classifier,
            version=version,
            windows=[WindowUsageAnswer.of_record(window) for window in report.windows],
            reference=reference and ReferenceAnswer.of_record(reference),
            latest=[WindowTestAnswer.of(test) for test in report.latest],
            alarms=[WindowTestAnswer.of(test) for test in report.alarms],
            outcomes=OutcomesAnswer.of_record(
                report.outcomes,
                labels=[OutcomeFiguresAnswer.of(head) for head in report.outcomes.labels],
            ),
        )
