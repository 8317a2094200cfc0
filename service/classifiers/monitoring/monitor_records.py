"""What the monitor of a version tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from service.fewshot.drift.accuracy_in_use import AccuracyInUse
from service.fewshot.drift.drift_alarms import FALSE_ALARMS_PER_1000

WindowName: TypeAlias = Literal["hour", "day", "week", "all"]


@dataclass(frozen=True, slots=True)
class UsageFigures:
    """The answers of a stretch of time; medians and means are None without comparable answers.

    Attributes:
        compared: answers to pictures that are not blank and not frozen.
        abstained: reason -> answers.
        called: class or label -> answers that called it.
        most_probable: class or label -> share of the answers.
        similarity_median: of the mean cosine to the nearest 5 examples.
        distance_median: of 1 - cosine to the nearest example.
        confidence_mean: of the probability of the most probable class; for labels, of the mean of
            the greater of p and 1 - p.
        findings: quality finding -> answers.
        machines, sizes: as files name them -> answers.
    """

    window: WindowName
    started_at: str | None
    ended_at: str | None
    answers: int
    compared: int
    abstained: Mapping[str, int]
    abstained_share: float | None
    called: Mapping[str, int]
    most_probable: Mapping[str, float]
    similarity_median: float | None
    distance_median: float | None
    confidence_mean: float | None
    findings: Mapping[str, int]
    machines: Mapping[str, int]
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ReferenceFigures:
    """The same figures of the labelled examples, each by what had not seen its group."""

    examples: int
    groups: int
    most_probable: Mapping[str, float]
    abstained_share: float
    similarity_median: float | None
    distance_median: float | None
    confidence_mean: float


@dataclass(frozen=True, slots=True)
class FigureTest:
    """One figure of a full window: its deviation from the reference, and the limit."""

    figure: str
    deviation: float
    limit: float
    alarms: bool


@dataclass(frozen=True, slots=True)
class WindowTest:
    """The test of a full window.

    Attributes:
        window: answers that fill it.
        compared: answers that were compared.
        false_alarm_share: chance that an undisturbed window of this length alarms.
    """

    window: int
    started_at: str
    ended_at: str
    compared: int
    false_alarm_share: float
    figures: tuple[FigureTest, ...]

    @property
    def alarms(self) -> bool:
        """Whether any figure passed its limit."""
        return any(figure.alarms for figure in self.figures)


@dataclass(frozen=True, slots=True)
class OutcomeFigures:
    """Accuracy and calibration in use, of one label or of all classes (None)."""

    label: str | None
    figures: AccuracyInUse


@dataclass(frozen=True, slots=True)
class OutcomesReport:
    """What turned out to be true.

    Attributes:
        with_patient: outcomes that name a patient. The others count as patients of their own,
            which makes intervals too narrow where several are of one patient.
    """

    outcomes: int
    with_patient: int
    labels: tuple[OutcomeFigures, ...]


@dataclass(frozen=True, slots=True)
class MonitorReport:
    """A version in use.

    Attributes:
        reference: None where ``no_reference_because`` says why.
        not_tested_because: why no window can be tested.
        latest: the last full window of each length.
        alarms: earlier windows that alarmed, newest first.
    """

    windows: tuple[UsageFigures, ...]
    reference: ReferenceFigures | None
    no_reference_because: str | None
    not_tested_because: str | None
    latest: tuple[WindowTest, ...]
    alarms: tuple[WindowTest, ...]
    outcomes: OutcomesReport
    false_alarms_per_1000: float = FALSE_ALARMS_PER_1000

    @property
    def alarming(self) -> bool:
        """Whether the last full window of any length alarms."""
        return any(test.alarms for test in self.latest)
