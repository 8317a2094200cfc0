"""What is held of one patient, counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HeldScans:
    """Scans of one patient in one collection."""

    collection: str
    scans: int


@dataclass(frozen=True, slots=True)
class HeldExamples:
    """Examples of one patient in one classifier.

    Attributes:
        examples: stored scans, also those that taught without a label, and uploads together.
        uploads: those that came with a fit and are no stored scans.
        versions: numbers of the versions that learnt from any of them, ascending.
    """

    classifier: str
    examples: int
    uploads: int
    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HeldSubject:
    """Everything that a workspace holds of one patient.

    Attributes:
        study_ids: of scans and uploaded examples.
        outcomes_of: classifier -> number of outcomes of its predictions that name this patient.
    """

    collections: tuple[HeldScans, ...]
    study_ids: tuple[str, ...]
    classifiers: tuple[HeldExamples, ...]
    outcomes_of: Mapping[str, int] = field(default_factory=dict)

    @property
    def outcomes(self) -> int:
        """The outcomes of all classifiers together."""
        return sum(self.outcomes_of.values())
