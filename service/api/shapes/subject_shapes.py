"""The answer about one patient."""

from typing import Self

from pydantic import Field

from service.api.shapes.base import Answer, PageAnswer
from service.api.shapes.scan_shapes import ScanRecord
from service.gallery.gallery_records import HeldSubject, Page, Scan


class HeldScansAnswer(Answer):
    """Number of scans in one collection."""

    collection: str = Field(examples=["liver"])
    scans: int


class HeldExamplesAnswer(Answer):
    """A classifier that has examples of the patient."""

    classifier: str = Field(examples=["finding"])
    examples: int = Field(description="Stored scans and uploads together.")
    uploads: int = Field(description="Those that came with a fit and are no stored scans.")
    versions: list[int] = Field(description="Versions that learnt from any of them.")


class SubjectAnswer(PageAnswer):
    """What the workspace holds of one patient; only ``items`` are paged."""

    subject_id: str = Field(examples=["p1"])
    scans: int
    study_ids: list[str] = Field(description="Of scans and uploaded examples.")
    collections: list[HeldScansAnswer]
    classifiers: list[HeldExamplesAnswer]
    outcomes: int = Field(description="Outcomes of predictions that name the patient.")
    items: list[ScanRecord] = Field(description="Scans, in the order of storing.")

    @classmethod
    def of(cls, subject_id: str, held: HeldSubject, page: Page[Scan], cursor: str | None) -> Self:
        """The answer for the records of the catalog."""
        return cls.of_record(
            held,
            subject_id=subject_id,
            scans=sum(part.scans for part in held.collections),
            items=[ScanRecord.of(scan) for scan in page.items],
            next_cursor=cursor,
        )
