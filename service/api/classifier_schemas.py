"""The bodies that are sent to classifiers."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from service.api.schemas import (
    Body,
    FilterBody,
    Identifier,
    JsonObject,
    Label,
    Name,
    example_of,
)

MOST_NAMED = 10_000


Weight = Annotated[float, Field(gt=0, le=1e6)]
Threshold = Annotated[float, Field(gt=0, lt=1)]


class Classed(Body):
    """``label``: the one class; ``labels``: all that is there, for multi-label classifiers."""

    label: Label | None = None
    labels: list[Label] | None = Field(
        None, max_length=64, description="Empty: none of the labels is there."
    )

    @model_validator(mode="after")
    def _has_one_or_many(self) -> "Classed":
        if (self.label is None) == (self.labels is None):
            raise ValueError("expected label, or labels for a multi-label classifier")
        return self


class LabelledScan(Classed):
    """A stored scan and the class, or labels, to learn it as."""

    scan_id: Identifier
    collection: Name | None = Field(None, description="When not that of the request.")


class UploadedExample(Classed):
    """The class, or labels, of one uploaded file, and who it is from."""

    subject_id: Identifier | None = None
    study_id: Identifier | None = None


class LabelledInstance(UploadedExample):
    """One image of a JSON request, and its class."""

    image: str = Field(description="A whole image file, base64.")


class Stored(Body):
    """Examples that are stored scans: a label of a collection, named scans, or both."""

    collection: Name | None = None
    task: Identifier | None = Field(None, description="Take every scan with this label.")
    tasks: dict[Identifier, Label] = Field(
        default_factory=dict,
        max_length=64,
        description="Multi-label: task -> value that means its label is there; scans with all.",
    )
    filter: FilterBody = Field(default_factory=FilterBody, description="Of the task's scans.")
    scans: list[LabelledScan] = Field(default_factory=list, max_length=MOST_NAMED)

    @model_validator(mode="after")
    def _names_a_collection(self) -> "Stored":
        needy = self.task is not None or bool(self.tasks)
        if (
            needy or any(scan.collection is None for scan in self.scans)
        ) and self.collection is None:
            raise ValueError("stored scans need a collection")
        return self

    @property
    def has_stored(self) -> bool:
        """Whether it names any stored scan."""
        return self.task is not None or bool(self.tasks) or bool(self.scans)


class FitBody(Body):
    """How to fit, beside the examples."""

    class_weights: Literal["balanced"] | dict[Label, Weight] | None = Field(
        None,
        description="Class or label -> how much it counts beside the others, when balanced is "
        "not wanted. Null: balanced, or as in the version before.",
    )
    count: Literal["groups", "frames"] | None = Field(
        None,
        description="groups (as null in a new classifier): frames of one patient and class count "
        "once together; frames: each for itself.",
    )
    thresholds: dict[Label, Threshold] | None = Field(
        None, description="Multi-label: label -> probability from which it is present; else 0.5."
    )


class NewFitBody(FitBody):
    """And of which kind the new classifier is."""

    kind: Literal["single_label", "multi_label"] = "single_label"


class NewClassifierBody(Stored, NewFitBody):
    """Fit from stored scans: a label of a collection (``task``), named ``scans``, or both.

    ``examples`` is another name of ``scans``.
    """

    model_config = example_of({"name": "finding", "collection": "liver", "task": "finding"})

    name: Name

    @model_validator(mode="before")
    @classmethod
    def _examples_are_scans(cls, document: Any) -> Any:
        if isinstance(document, dict) and "examples" in document and "scans" not in document:
            document = {**document, "scans": document["examples"]}
            del document["examples"]
        return document

    @model_validator(mode="after")
    def _has_examples(self) -> "NewClassifierBody":
        if not self.has_stored:
            raise ValueError("expected a task, tasks or scans")
        return self


class UploadedClassifier(Stored, NewFitBody):
    """The ``metadata`` part when a classifier is fitted from uploads, alone or with scans."""

    model_config = example_of(
        {
            "name": "finding",
            "examples": [
                {"label": "benign", "subject_id": "p1"},
                {"label": "malignant", "subject_id": "p2"},
            ],
        }
    )

    name: Name
    examples: list[UploadedExample] = Field(min_length=1, description="One per file.")


class LabelledInstancesBody(Stored, NewFitBody):
    """Fit from images sent as JSON, alone or with stored scans."""

    model_config = example_of(
        {
            "name": "finding",
            "instances": [
                {"image": "iVBORw0KGgo...", "label": "benign", "subject_id": "p1"},
                {"image": "iVBORw0KGgo...", "label": "malignant", "subject_id": "p2"},
            ],
        }
    )

    name: Name
    instances: list[LabelledInstance] = Field(min_length=1)


class ExampleReference(Body):
    """An example of a classifier: by ``example_id``, or by ``collection`` and ``scan_id``."""

    example_id: Identifier | None = None
    collection: Name | None = None
    scan_id: Identifier | None = None

    @model_validator(mode="after")
    def _names_one(self) -> "ExampleReference":
        is_scan = self.collection is not None and self.scan_id is not None
        is_part = self.collection is not None or self.scan_id is not None
        if (self.example_id is None) != is_scan or (self.example_id is not None and is_part):
            raise ValueError("expected example_id, or collection and scan_id")
        return self


class Relabel(ExampleReference, Classed):
    """An example, and its right class or labels."""


class ChangeOptions(Stored, FitBody):
    """What the next version has otherwise than its base; at least one change."""

    base_version: int | None = Field(None, ge=1, description="To start from; the latest if null.")
    publish: bool = Field(False, description="Let the new version predict at once.")
    relabel: list[Relabel] = Field(default_factory=list, max_length=MOST_NAMED)
    drop: list[ExampleReference] = Field(default_factory=list, max_length=MOST_NAMED)


class ChangesBody(ChangeOptions):
    """Change the examples; scans and images that are examples already are relabelled."""

    model_config = example_of(
        {
            "collection": "liver",
            "scans": [{"scan_id": "scan-7", "label": "benign"}],
            "relabel": [{"example_id": "exm_0b1e9f", "label": "malignant"}],
            "drop": [{"collection": "liver", "scan_id": "scan-2"}],
            "publish": True,
        }
    )

    instances: list[LabelledInstance] = Field(default_factory=list)


class UploadedChanges(ChangeOptions):
    """The ``metadata`` part when examples are uploaded."""

    model_config = example_of({"examples": [{"label": "benign", "subject_id": "p9"}]})

    examples: list[UploadedExample] = Field(min_length=1, description="One per file.")


class PublishBody(Body):
    """Which version predicts from now on."""

    model_config = example_of({"version": 2})

    version: int = Field(ge=1)


class PredictScansBody(Body):
    """Predict stored scans instead of uploads."""

    model_config = example_of({"collection": "liver", "scan_ids": ["scan-1", "scan-2"]})

    collection: Name
    scan_ids: list[Identifier] = Field(min_length=1)


class ImportBody(Body):
    """A classifier that ``export`` gave as JSON, and the name it gets here."""

    model_config = example_of(
        {
            "name": "finding",
            "classifier": {"format": "sonoprobe-classifier", "format_version": 1, "arrays": {}},
        }
    )

    name: Name
    classifier: JsonObject


class EvaluationBody(Stored):
    """Judge on labelled images in JSON, on stored scans, or both."""

    model_config = example_of({"collection": "liver", "task": "finding", "filter": {}})

    instances: list[LabelledInstance] = Field(default_factory=list)
    allow_known: bool = Field(False, description="Judge also on what the version learnt from.")


class UploadedEvaluation(Stored):
    """The ``metadata`` part when labelled images are uploaded to be judged on."""

    model_config = example_of({"examples": [{"label": "benign", "subject_id": "p9"}]})

    examples: list[UploadedExample] = Field(min_length=1, description="One per file.")
    allow_known: bool = Field(False, description="Judge also on what the version learnt from.")


class AgreementBody(Body):
    """Two label tasks, one per reader."""

    model_config = example_of({"one": "reader-1", "other": "reader-2"})

    one: Identifier
    other: Identifier
