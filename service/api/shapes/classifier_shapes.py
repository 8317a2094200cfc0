"""Classifiers on the wire: labelled examples, fits, and classifiers as they are read."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from service.access.name_limits import current_limits
from service.api.shapes.access.signing_key_shapes import SignatureAnswer
from service.api.shapes.base import (
    DISTINCT_NAMES,
    ENCODER,
    VERSION_NAME,
    Answer,
    Body,
    CollectionName,
    Identifier,
    JsonObject,
    Label,
    NewClassifierName,
    PageAnswer,
    ResourceAnswer,
    StudyId,
    SubjectId,
    etag,
    example_of,
)
from service.api.shapes.filter_shapes import FilterBody
from service.api.shapes.report_shapes import VersionReport
from service.api.strict_json import is_unicode
from service.classifiers.fitting import FitOptions, UnlabelledSelection, asks_views
from service.classifiers.label_source import LabelSource, SourceChanges
from service.classifiers.registry import Author, Classifier, ClassifierVersion
from service.classifiers.requests import (
    ExampleSelection,
    FitRequest,
    Labelling,
    RefitFromSource,
    ScanExample,
)

MAX_EXAMPLES = 10_000  # named in one request
MAX_CLASSES = 1000  # with a weight or a threshold of their own in one request
Kind = Literal["single_label", "multi_label"]
Accuracy = Literal["standard", "high"]
Weight = Annotated[float, Field(gt=0, le=1e6)]
Weights = Annotated[dict[Label, Weight], Field(max_length=MAX_CLASSES), DISTINCT_NAMES]
LabelsOfTasks = Annotated[dict[Identifier, Label], Field(max_length=64), DISTINCT_NAMES]
Threshold = Annotated[float, Field(gt=0, lt=1)]
Thresholds = Annotated[dict[Label, Threshold], Field(max_length=MAX_CLASSES), DISTINCT_NAMES]


class Labelled(Body):
    """``label``: the class; ``labels``: every label that is present (multi-label)."""

    label: Label | None = None
    labels: Annotated[list[Label], Field(fail_fast=True)] | None = Field(
        None, max_length=64, description="Empty: no label is present."
    )

    @model_validator(mode="after")
    def _has_label_or_labels(self) -> Self:
        if (self.label is None) == (self.labels is None):
            raise ValueError("expected label, or labels for a multi-label classifier")
        return self

    @property
    def labelling(self) -> Labelling:
        """The label or labels as the use cases take them."""
        return self.label if self.label is not None else tuple(self.labels or ())


class LabelledExample(Labelled):
    """A stored scan (``scan_id``), an image (``image``), or the next file of a form (neither)."""

    scan_id: Identifier | None = None
    collection: CollectionName | None = Field(None, description="Of the scan; null: the request's.")
    image: str | None = Field(None, description="One image file, base64.")
    subject_id: SubjectId | None = Field(None, description="Only for an image or file.")
    study_id: StudyId | None = Field(None, description="Only for an image or file.")

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

    collection: CollectionName | None = None
    task: Identifier | None = Field(None, description="Use every scan with a label for this task.")
    tasks: LabelsOfTasks = Field(
        default_factory=dict,
        description="Multi-label: task -> value that means present; scans with all these tasks.",
    )
    filter: FilterBody = Field(
        default_factory=FilterBody, description="Restricts the scans of the task."
    )
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
        """The examples that are images or files."""
        return [example for example in self.examples if example.scan_id is None]

    @property
    def takes_stored(self) -> bool:
        """Whether stored scans may be among the examples."""
        is_of_task = self.task is not None or bool(self.tasks)
        return is_of_task or len(self.unstored) < len(self.examples)

    @property
    def stored(self) -> ExampleSelection:
        """The examples that are stored scans."""
        return ExampleSelection(
            self.collection,
            self.task,
            dict(self.tasks),
            self.filter.as_stored().where(),
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
            self.filter.as_stored().written(),
        )


class UnlabelledBody(Body):
    """Scans that take part in a fit without a label, where that helps."""

    collection: CollectionName | None = Field(
        description="Null: none, also if the version before had some."
    )
    filter: FilterBody = Field(default_factory=FilterBody)

    @property
    def selection(self) -> UnlabelledSelection:
        """The scans as the use cases take them."""
        kept = self.filter.as_stored()
        return UnlabelledSelection(self.collection, kept.where(), kept.written())


class FitFields(Body):
    """Options of a fit."""

    class_weights: Literal["balanced"] | Weights | None = Field(
        None,
        description="Class or label -> weight. Null: balanced, or as in the version before.",
    )
    counted: Literal["groups", "frames"] | None = Field(
        None,
        description="groups: frames of one patient and class count once together; frames: each "
        "frame counts. Null: groups, or as in the version before.",
    )
    thresholds: Thresholds | None = Field(
        None,
        description="Multi-label: label -> threshold of its probability; 0.5 by default.",
    )
    unlabelled: UnlabelledBody | None = Field(
        None, description="Null: none, or the scans of the version before."
    )
    views: bool | Literal["examples", "auto"] | None = Field(
        None,
        description="true: fit to seven views of each example and predict with accuracy high, "
        "which takes seven times as long. examples: fit to the views and predict without. Scans "
        "need kept images. auto: examples where SONOPROBE_MAX_DEFAULT_VIEWS allows it and all "
        "examples have views; else false. Null: auto, or as in the version before.",
    )

    def fit_options(self, kind: Kind = "single_label") -> FitOptions:
        """The options as the use cases take them; None where the request names none."""
        weights = {} if self.class_weights == "balanced" else self.class_weights
        return FitOptions(
            kind,
            weights if isinstance(weights, dict) else None,
            self.counted,
            self.thresholds,
            None if self.unlabelled is None else self.unlabelled.selection,
            self.views,
        )


class NewClassifierBody(ExampleSource, FitFields):
    """Fit from a label of a collection (``task``), from ``examples``, or from both."""

    model_config = example_of({"name": "finding", "collection": "liver", "task": "finding"})

    name: NewClassifierName
    kind: Kind = "single_label"

    @model_validator(mode="after")
    def _has_examples(self) -> Self:
        if self.task is None and not self.tasks and not self.examples:
            raise ValueError("expected a task, tasks or examples")
        return self

    def request(self, author: Author) -> FitRequest:
        """The fit as the use cases take it."""
        return FitRequest(self.name, self.stored, self.fit_options(self.kind), author)


class ClassifierPatchBody(Body):
    """The version that predicts from now on; an earlier one rolls back."""

    model_config = example_of({"published_version": 2})

    published_version: int = Field(ge=1)


class RefitBody(FitFields):
    """Fit the next version from the labels that its source has now."""

    model_config = example_of({"publish": True})

    version: str = Field(
        "latest",
        pattern=VERSION_NAME,
        description="Version to start from: a number, `published` or `latest`.",
    )
    publish: bool = Field(False, description="Publish the new version at once.")
    collection: CollectionName | None = Field(None, description="Another source: null = as before.")
    task: Identifier | None = None
    tasks: LabelsOfTasks = Field(default_factory=dict)
    filter: FilterBody = Field(default_factory=FilterBody)

    @model_validator(mode="after")
    def _has_a_whole_source(self) -> Self:
        has_tasks = self.task is not None or bool(self.tasks)
        if (self.collection is not None) != has_tasks:
            raise ValueError("expected collection, and task or tasks, for another source")
        if self.collection is None and "filter" in self.model_fields_set:
            raise ValueError("expected collection and task beside filter")
        return self

    def request(self, name: str, author: Author, if_revision: int | None) -> RefitFromSource:
        """The refit as the use cases take it."""
        source = None
        if self.collection is not None:
            kept = self.filter.as_stored()
            where, written = kept.where(), kept.written()
            source = ExampleSelection(self.collection, self.task, self.tasks, where, filter=written)
        return RefitFromSource(
            name, self.version, source, self.fit_options(), author, self.publish, if_revision
        )


class ClassifierImportBody(Body):
    """A classifier that was exported as JSON, and its name here."""

    model_config = example_of(
        {
            "name": "finding",
            "classifier": {"format": "sonoprobe-classifier", "format_version": 1, "heads": []},
        }
    )

    max_bytes: ClassVar[int] = 64_000_000  # the embeddings of 2000 examples

    name: NewClassifierName
    classifier: JsonObject

    @field_validator("classifier")
    @classmethod
    def _is_unicode(cls, document: JsonObject) -> JsonObject:
        if not is_unicode(document):
            raise ValueError("expected text of whole Unicode characters, got half of one")
        return document


class SourceAnswer(Answer):
    """Where the examples of a version come from; later labels are found there."""

    collection: str | None = Field(description="Null: named scans and uploads only.")
    task: str | None
    tasks: dict[str, str] = Field(description="Multi-label: task -> value that means present.")
    filter: JsonObject | None = Field(
        description="As the request wrote it; null when it named subjects or studies: then it is "
        "not kept, and a refit needs it again."
    )
    scans: int = Field(description="Examples that are stored scans.")
    uploads: int

    @classmethod
    def of(cls, version: ClassifierVersion) -> Self | None:
        """The answer for a version; null for imports, and for versions of release 0.1.0."""
        source = LabelSource.of_version(version)
        if source is None:
            return None
        if source.collection and not current_limits().has_collection(source.collection):
            return None
        return cls.of_record(source, tasks=dict(source.tasks))


class SourceChangesAnswer(Answer):
    """How the labels of the source differ from what the version was fitted from."""

    newer: int | None = Field(description="Labelled scans that the version has no example of.")
    changed: int | None = Field(description="Examples whose scans have another label by now.")
    removed: int | None = Field(
        description="Examples whose scans have no label by now, fail the filter, or are deleted."
    )
    not_counted_because: str | None = Field(description="Why the numbers are null.")


class FittedAnswer(ResourceAnswer):
    """The common fields of classifiers and their versions."""

    classifier_id: str
    encoder_id: str = Field(examples=[ENCODER])
    kind: Kind
    classes: list[str] = Field(examples=[["benign", "malignant"]], description="Classes or labels.")
    report: VersionReport | None = Field(description="Null for an import without a report.")
    calibrated: bool = Field(description="Whether every label is; the report gives the reason.")
    accuracy: Accuracy = Field(
        description="Of its predictions, its calibration and its report: high = with seven views."
    )
    source: SourceAnswer | None = Field(
        description="Null for an import, for a version of release 0.1.0, and for a collection that "
        "the key may not name."
    )
    signature: SignatureAnswer | None = Field(
        description="Of the document of an import, when it was imported; null for a fit."
    )
    source_changes: SourceChangesAnswer | None = Field(
        description="Counted when one classifier or version is read; null in other responses, and "
        "without labels of a collection."
    )

    @classmethod
    def of_version(
        cls, version: ClassifierVersion, changes: SourceChanges | None, /, **others: Any
    ) -> Self:
        """The answer for a record; ``others`` are the fields that are not of the version."""
        report = VersionReport.of(version.report)
        is_calibrated = report is not None and report.is_calibrated
        return cls.of_record(
            version,
            report=report,
            calibrated=is_calibrated,
            accuracy="high" if asks_views(version) else "standard",
            source=SourceAnswer.of(version),
            signature=SignatureAnswer.of(version),
            source_changes=changes and SourceChangesAnswer.of_record(changes),
            **others,
        )


class ClassifierAnswer(FittedAnswer):
    """A classifier, with the report of its published version."""

    name: str = Field(examples=["finding"])
    published_version: int = Field(description="The version that predicts.")
    latest_version: int

    @classmethod
    def of(cls, classifier: Classifier, changes: SourceChanges | None = None) -> Self:
        """The answer for a record."""
        return cls.of_version(
            classifier.published,
            changes,
            name=classifier.name,
            classifier_id=classifier.classifier_id,
            published_version=classifier.published.number,
            latest_version=classifier.latest,
            created_at=classifier.created_at,
            etag=etag(classifier.revision),
        )


class ClassifierPage(PageAnswer):
    """Classifiers, sorted by name."""

    items: list[ClassifierAnswer]
