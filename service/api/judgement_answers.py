"""What the routes that judge answer, as the OpenAPI document tells it."""

from pydantic import Field

from service.api.answers import ENCODER, Answer, ScanAnswer
from service.api.schemas import JsonObject

_JUDGEMENT = "Balanced accuracy, AUROC, per class recall and precision, with intervals by groups."


class EvaluationAnswer(Answer):
    """Figures on held-out examples."""

    classifier: str
    version: int
    encoder_id: str = Field(examples=[ENCODER])
    calibrated: bool
    examples: int = Field(description="Different images that were judged.")
    known_examples: int = Field(description="Of them, those that the version had learnt from.")
    judgement: JsonObject = Field(description=_JUDGEMENT)
    reliability: JsonObject = Field(description="ece, brier, log_loss of the probabilities.")


class ComparisonAnswer(Answer):
    """Two versions on the same examples."""

    classifier: str
    shared_examples: int
    a: JsonObject = Field(description=_JUDGEMENT)
    b: JsonObject = Field(description=_JUDGEMENT)


class SuspectItem(Answer):
    """An example whose label is doubted."""

    example_id: str
    collection: str | None
    scan_id: str | None
    concerns: str | None = Field(
        description="Of a multi-label classifier: the label that is doubtfully present or absent."
    )
    label: str
    label_probability: float
    suggested: str
    suggested_probability: float


class SuspectsAnswer(Answer):
    """Worst first."""

    classifier: str
    version: int
    items: list[SuspectItem]


class ConflictSide(Answer):
    """One of two examples that look alike."""

    example_id: str
    collection: str | None
    scan_id: str | None
    label: str | None
    labels: list[str] | None = Field(description="Of a multi-label classifier; else null.")


class ConflictItem(Answer):
    """Two examples that look alike and carry different labels."""

    similarity: float = Field(ge=-1.001, le=1.001, description="Cosine; 1 = the same picture.")
    first: ConflictSide
    second: ConflictSide


class ConflictsAnswer(Answer):
    """The most alike first, at most as many as asked for."""

    classifier: str
    version: int
    total: int
    items: list[ConflictItem]


class NextAnswer(Answer):
    """Scans to label next, the most instructive first."""

    classifier: str
    version: int
    scans: list[ScanAnswer]
    concerns: list[str | None] = Field(
        description="Per scan the least certain label; nulls of a single-label classifier."
    )


class Disagreement(Answer):
    """A scan that two readers labelled differently."""

    scan_id: str
    one: str = Field(description="The label of the task ``one``.")
    other: str
    thumbnail: str = Field(description="Path of a small JPEG.")


class Agreed(Answer):
    """How far two readers agree."""

    kappa: JsonObject | None = Field(
        description="Cohen's, with its interval over patients; null where both used one class."
    )
    agreed: float = Field(description="Share of scans with the same label.")
    scans: int = Field(description="That carry labels of both.")
    disagreed: list[Disagreement]


class AgreementAnswer(Answer):
    """Of two readers."""

    agreement: Agreed
