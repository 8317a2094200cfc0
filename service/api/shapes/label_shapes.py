"""Labels of a whole collection on the wire: which scans to label next, and a class's new name."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from service.api.shapes.base import Answer, Body, Identifier, Label, Similarity, example_of
from service.api.shapes.scan_shapes import ScanAnswer
from service.classifiers.labelling.near_duplicates import NearDuplicates, SamePatient


class NextScan(Answer):
    """A scan to label."""

    reason: Literal["diverse"]
    scan: ScanAnswer


class NextScansAnswer(Answer):
    """Scans to label, the most useful first."""

    collection: str
    tasks: list[str]
    unlabelled: int = Field(description="Scans of the collection that lack a label for a task.")
    left_out: int = Field(description="Of these: copies of labelled scans, and blank frames.")
    items: list[NextScan]


class NearDuplicateAnswer(Answer):
    """Two scans that nearly repeat each other; the first one was stored before."""

    similarity: Similarity = Field(description="Cosine.", examples=[0.998])
    patients: SamePatient = Field(description="`unknown`: at least one scan names no patient.")
    same_image: bool = Field(description="They have the same file, or the same pixels.")
    differs: list[str] = Field(
        description="Fields with different values.", examples=[["subject_id", "labels.finding"]]
    )
    first: ScanAnswer
    second: ScanAnswer


class NearDuplicatesAnswer(Answer):
    """Pairs of different patients first, then those without a patient, then by similarity."""

    collection: str
    min_similarity: float = Field(description="The cosine that was used.", examples=[0.9])
    scans: int = Field(description="Of the collection.")
    compared: int = Field(description="Of these: all, or of more than 20,000 a drawn part.")
    total: int = Field(description="Number of all pairs that pass.")
    of_different_patients: int = Field(description="Of these.")
    items: list[NearDuplicateAnswer]

    @classmethod
    def of(cls, found: NearDuplicates, *, collection: str, dim: int) -> "NearDuplicatesAnswer":
        """The answer for the pairs of a collection."""
        items = [
            NearDuplicateAnswer.of_record(
                pair,
                same_image=pair.is_same_image,
                first=ScanAnswer.of(pair.first, dim=dim),
                second=ScanAnswer.of(pair.second, dim=dim),
            )
            for pair in found.pairs
        ]
        return cls.of_record(found, collection=collection, items=items)


class LabelRenameBody(Body):
    """A class of a task, and its new name."""

    model_config = example_of({"task": "finding", "from": "Zyste", "to": "cyst", "merge": True})

    task: Identifier
    # As it is stored, which may be longer or otherwise spelt than a new label may be.
    old: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(alias="from")
    new: Label = Field(alias="to")
    merge: bool = Field(False, description="Whether scans may have the new label already.")
    dry_run: bool = Field(False, description="Count the scans, and change nothing.")

    @model_validator(mode="after")
    def _is_another_name(self) -> "LabelRenameBody":
        if self.old == self.new:
            raise ValueError("expected another name in to than in from")
        return self


class LabelRenameAnswer(Answer):
    """What a renaming changed."""

    collection: str
    task: str
    renamed: int = Field(description="Scans that had the old label; each has a new ETag.")
    merged_into: int = Field(description="Scans that had the new label before.")
    dry_run: bool
