"""Classifiers on the wire: labelled examples, fits, and classifiers as they are read."""

from typing import Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from service.api.shapes.base import (
    ENCODER,
    TIME,
    Answer,
    Body,
    Identifier,
    JsonObject,
    Label,
    Name,
    etag,
    example_of,
)
from service.api.shapes.filter_shapes import FilterBody
from service.api.shapes.report_shapes import VersionReport
from service.classifiers.fitting import FitOptions
from service.classifiers.registry import Author, Classifier
from service.classifiers.requests import ExampleSelection, FitRequest, Labelling, ScanExample

MAX_EXAMPLES = 10_000  # named in one request
Kind = Literal["single_label", "multi_label"]
Weight = Annotated[float, Field(gt=0, le=1e6)]
Threshold = Annotated[float, Field(gt=0, lt=1)]


class Labelled(Body):
    """``label``: the one class; ``labels``: all that is there, for multi-label classifiers."""

    label: Label | None = None
    labels: list[Label] | None = Field(
        None, max_length=64, description="Empty: none of the labels is there."
    )

    @model_validator(mode="after")
    def _has_label_or_labels(self) -> Self:
        if (self.label is None) == (self.labels is None):
            raise ValueError("expected label, or labels for a multi-label classifier")
        return self

    @property
    def labelling(self) -> Labelling:
        """As the use cases take it."""
        return self.label if self.label is not None else tuple(self.labels or ())


class LabelledExample(Labelled):
    """A stored scan (``scan_id``), an image (``image``), or the next file of a form (neither)."""

    scan_id: Identifier | None = None
    collection: Name | None = Field(None, description="Of the scan, when not the request's.")
    image: str | None = Field(None, description="A whole image file, base64.")
    subject_id: Identifier | None = Field(None, description="Of an image or file.")
    study_id: Identifier | None = Field(None, description="Of an image or file.")

    @model_validator(mode="after")
    def _is_scan_or_image(self) -> Self:
        if self.scan_id is not None:
            if self.image or self.subject_id or self.study_id:
                raise ValueError("a stored scan has its image, subject and study already")
        elif self.collection is not None:
            raise ValueError("expected scan_id beside collection")
        return self


class ExampleSource(Body):
    """Labelled examples: the scans of a task of a collection, and those in ``examples``."""

    collection: Name | None = None
    task: Identifier | None = Field(None, description="Take every scan with this label.")
    tasks: dict[Identifier, Label] = Field(
        default_factory=dict,
        max_length=64,
        description="Multi-label: task -> value that means its label is there; scans with all.",
    )
    filter: FilterBody = Field(default_factory=FilterBody, description="Of the task's scans.")
    examples: list[LabelledExample] = Field(default_factory=list, max_length=MAX_EXAMPLES)

    @model_validator(mode="after")
    def _names_a_collection(self) -> Self:
        needs_one = self.task is not None or bool(self.tasks)
        needs_one |= any(e.scan_id is not None and e.collection is None for e in self.examples)
        if needs_one and self.collection is None:
            raise ValueError("stored scans need a collection")
        return self

    @property
    def unstored(self) -> list[LabelledExample]:
        """Examples that are images or files."""
        return [example for example in self.examples if example.scan_id is None]

    @property
    def stored(self) -> ExampleSelection:
        """Examples that are stored scans."""
        return ExampleSelection(
            self.collection,
            self.task,
            dict(self.tasks),
            self.filter.where(),
            tuple(
                ScanExample(
                    example.collection or self.collection or "",
                    scan_id,
                    example.label,
                    None if example.labels is None else tuple(example.labels),
                )
                for example in self.examples
                if (scan_id := example.scan_id) is not None
            ),
        )


class FitFields(Body):
    """How to fit, beside the examples."""

    class_weights: Literal["balanced"] | dict[Label, Weight] | None = Field(
        None,
        description="Class or label -> how much it counts beside the others, when balanced is "
        "not wanted. Null: balanced, or as in the version before.",
    )
    counted: Literal["groups", "frames"] | None = Field(
        None,
        description="groups (as null in a new classifier): frames of one patient and class count "
        "once together; frames: each for itself.",
    )
    thresholds: dict[Label, Threshold] | None = Field(
        None, description="Multi-label: label -> probability from which it is present; else 0.5."
    )

    def fit_options(self, kind: Kind = "single_label") -> FitOptions:
        """As the use cases take it; None where the request says nothing."""
        weights = {} if self.class_weights == "balanced" else self.class_weights
        return FitOptions(
            kind, weights if isinstance(weights, dict) else None, self.counted, self.thresholds
        )


class NewClassifierBody(ExampleSource, FitFields):
    """Fit from a label of a collection (``task``), from ``examples``, or from both."""

    model_config = example_of({"name": "finding", "collection": "liver", "task": "finding"})

    name: Name
    kind: Kind = "single_label"

    @model_validator(mode="after")
    def _has_examples(self) -> Self:
        if self.task is None and not self.tasks and not self.examples:
            raise ValueError("expected a task, tasks or examples")
        return self

    def request(self, author: Author) -> FitRequest:
        """As the use cases take it."""
        return FitRequest(self.name, self.stored, self.fit_options(self.kind), author)


class ClassifierPatchBody(Body):
    """Which version predicts from now on; an earlier one rolls back."""

    model_config = example_of({"published_version": 2})

    published_version: int = Field(ge=1)


class ClassifierImportBody(Body):
    """A classifier that was exported as JSON, and the name it gets here."""

    model_config = example_of(
        {
            "name": "finding",
            "classifier": {"format": "sonoprobe-classifier", "format_version": 1, "arrays": {}},
        }
    )

    name: Name
    classifier: JsonObject


class ClassifierAnswer(Answer):
    """A classifier and what its published version says of itself."""

    name: str = Field(examples=["finding"])
    classifier_id: str
    encoder_id: str = Field(examples=[ENCODER])
    kind: Kind
    classes: list[str] = Field(examples=[["benign", "malignant"]], description="Or labels.")
    report: VersionReport | None = Field(description="Null of an import without one.")
    calibrated: bool = Field(description="Of every label; the report says why not.")
    published_version: int = Field(description="The one that predicts.")
    latest_version: int
    created_at: str = Field(examples=[TIME])
    etag: str = Field(examples=['"1"'])

    @classmethod
    def of(cls, classifier: Classifier) -> Self:
        """The shape of a record."""
        version = classifier.published
        report = VersionReport.of(version.report)
        return cls(
            name=classifier.name,
            classifier_id=classifier.classifier_id,
            encoder_id=version.encoder_id,
            kind=cast(Kind, version.kind),
            classes=list(version.classes),
            report=report,
            calibrated=report is not None and report.is_calibrated,
            published_version=version.number,
            latest_version=classifier.latest,
            created_at=classifier.created_at,
            etag=etag(classifier.revision),
        )


class ClassifierPage(Answer):
    """``next_cursor`` is null on the last page."""

    items: list[ClassifierAnswer]
    next_cursor: str | None
