"""Versions of classifiers on the wire: their examples, and changes of them."""

from typing import Any, Self

from pydantic import Field, model_validator

from service.access.name_limits import current_limits
from service.api.shapes.base import (
    THUMBNAIL_HELP,
    Answer,
    Body,
    CollectionName,
    Identifier,
    PageAnswer,
    etag,
    example_of,
)
from service.api.shapes.classifier_shapes import (
    MAX_EXAMPLES,
    ExampleSource,
    FitFields,
    FittedAnswer,
    Labelled,
)
from service.api.shapes.report_shapes import MULTI_LABEL_ONLY, VersionSettings
from service.api.shapes.scan_shapes import thumbnail_path
from service.classifiers.examples import Reference
from service.classifiers.label_source import (
    SOURCE,
    UNLABELLED,
    SourceChanges,
    collections_read,
)
from service.classifiers.registry import Author, Classifier, ClassifierVersion, VersionExample
from service.classifiers.requests import ChangeRequest, labelling_of
from service.classifiers.signing.signatures import SIGNATURE


class ExampleReference(Body):
    """An example of a classifier: by ``example_id``, or by ``collection`` and ``scan_id``."""

    example_id: Identifier | None = None
    collection: CollectionName | None = None
    scan_id: Identifier | None = None

    @model_validator(mode="after")
    def _names_one_example(self) -> Self:
        is_scan = self.collection is not None and self.scan_id is not None
        is_part = self.collection is not None or self.scan_id is not None
        if (self.example_id is None) != is_scan or (self.example_id is not None and is_part):
            raise ValueError("expected example_id, or collection and scan_id")
        return self

    @property
    def reference(self) -> Reference:
        """The reference as the use cases take it."""
        if self.collection is not None and self.scan_id is not None:
            return Reference(scan=(self.collection, self.scan_id))
        return Reference(self.example_id)


class RelabelledExample(ExampleReference, Labelled):
    """An example, and its correct class or labels."""


class ExampleChangesBody(ExampleSource, FitFields):
    """How the next version differs: at least one change.

    Scans and images in ``examples`` that the version already has are relabelled.
    """

    model_config = example_of(
        {
            "collection": "liver",
            "examples": [{"scan_id": "scan-7", "label": "benign"}],
            "relabel": [{"example_id": "exm_0b1e9f", "label": "malignant"}],
            "drop": [{"collection": "liver", "scan_id": "scan-2"}],
            "publish": True,
        }
    )

    publish: bool = Field(False, description="Publish the new version at once.")
    relabel: list[RelabelledExample] = Field(default_factory=list, max_length=MAX_EXAMPLES)
    drop: list[ExampleReference] = Field(default_factory=list, max_length=MAX_EXAMPLES)

    def request(
        self, name: str, version: str, author: Author, if_revision: int | None
    ) -> ChangeRequest:
        """The change as the use cases take it; the kind of the version stays."""
        return ChangeRequest(
            name,
            version,
            self.stored,
            tuple((item.reference, item.labelling) for item in self.relabel),
            tuple(item.reference for item in self.drop),
            self.fit_options(),
            author,
            self.publish,
            if_revision,
        )


class CreatedBy(Answer):
    """The API key or access token that created a version; nulls when the service requires none."""

    key_id: str | None = Field(
        description="Of an access token: oidc_ and a digest of its issuer and subject."
    )
    name: str | None = Field(description="Of an access token: its subject and issuer.")


class VersionAnswer(FittedAnswer):
    """A version, which never changes; the ETag is that of its classifier."""

    classifier: str = Field(examples=["finding"])
    version: int
    published: bool
    examples: int = Field(description="Number of examples; see .../examples.")
    settings: VersionSettings
    created_by: CreatedBy

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        version: ClassifierVersion,
        changes: SourceChanges | None = None,
    ) -> Self:
        """The answer for a record."""
        is_shown = all(map(current_limits().has_collection, collections_read(version)))
        hidden = {SOURCE, SIGNATURE} if is_shown else {SOURCE, SIGNATURE, UNLABELLED}
        settings = {name: value for name, value in version.settings.items() if name not in hidden}
        return cls.of_version(
            version,
            changes,
            classifier=classifier.name,
            classifier_id=classifier.classifier_id,
            version=version.number,
            published=version.number == classifier.published.number,
            settings=VersionSettings.model_validate(settings),
            created_by=CreatedBy(key_id=version.author.key_id, name=version.author.key_name),
            created_at=version.created_at,
            etag=etag(classifier.revision),
        )


class VersionPage(PageAnswer):
    """Versions, newest first."""

    items: list[VersionAnswer]


class ExampleSummary(Answer):
    """An example and its scan; an upload has no scan."""

    example_id: str
    collection: str | None
    scan_id: str | None = Field(description="Null for an upload.")
    thumbnail: str | None = Field(description=THUMBNAIL_HELP)

    @classmethod
    def of_example(cls, example: VersionExample, **others: Any) -> Self:
        """The answer for a record; ``others`` are further fields.

        A scan of a collection that the caller may not name is shown as an upload.
        """
        scan = example.scan
        if scan is not None and not current_limits().has_collection(scan[0]):
            scan = None
        collection, scan_id = scan or (None, None)
        return cls.of_record(
            example,
            collection=collection,
            scan_id=scan_id,
            thumbnail=None if scan is None else thumbnail_path(*scan),
            **others,
        )


class LabelledSummary(ExampleSummary):
    """An example with its class or labels."""

    label: str | None = Field(description="Its class; null for a multi-label classifier.")
    labels: list[str] | None = Field(description=MULTI_LABEL_ONLY)

    @classmethod
    def of(cls, example: VersionExample, kind: str, **others: Any) -> Self:
        """The answer for an example of a version of this kind."""
        labelling = labelling_of(kind, example.label)
        label, labels = (labelling, None) if isinstance(labelling, str) else (None, labelling)
        return cls.of_example(example, label=label, labels=labels, **others)


class ExampleAnswer(LabelledSummary):
    """An example that a version was fitted from."""

    group: int = Field(description="Equal numbers: same patient, study or image.")
    sha256: str | None = Field(description="Of the image; null once its subject was erased.")
    kept: bool = Field(description="False once its scan was deleted or its subject erased.")


class ExamplePage(PageAnswer):
    """Examples in the order in which they were fitted."""

    items: list[ExampleAnswer]
