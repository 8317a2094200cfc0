"""The classifiers of a workspace: fit, change, publish, list, export, import. Blocking.

The HTTP API and the jobs call this. A version is a number, ``published`` or ``latest``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service.catalog.interface import Catalog
from service.catalog.records import (
    Author,
    Classifier,
    ClassifierVersion,
    Page,
    VersionExample,
)
from service.classifiers.evaluation import ClassifierEvaluator, Evaluation
from service.classifiers.examples import Changes, Example, Examples, group_of
from service.classifiers.fitting import MULTI, SINGLE
from service.classifiers.requests import (
    ChangeRequest,
    ExampleSelection,
    FitRequest,
    UploadedExample,
    label_key,
)
from service.classifiers.store import ClassifierStore
from service.classifiers.thresholds import ThresholdRequest, Thresholds
from service.errors import InputError, NameTaken

__all__ = [
    "Author",
    "Classifier",
    "ClassifierRegistry",
    "ClassifierVersion",
    "VersionExample",
]


class ClassifierRegistry:
    """All classifiers of one catalog, with their versions."""

    def __init__(
        self,
        catalog: Catalog,
        store: ClassifierStore,
        evaluator: ClassifierEvaluator,
        thresholds: Thresholds,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._evaluator = evaluator
        self._thresholds = thresholds

    def fit(
        self,
        workspace_id: str,
        request: FitRequest,
        uploads: Sequence[UploadedExample] = (),
        *,
        operation_id: str | None = None,
        before_fit: Callable[[int], None] = lambda _examples: None,
        before_storing: Callable[[], None] = lambda: None,
    ) -> Classifier:
        """Fit a new classifier; its version 1 is published.

        Args:
            uploads: more examples; a request in a job has none.
            operation_id: of the job. A job that restarts after it stored the classifier returns
                that classifier.
            before_fit: called with the number of examples.
            before_storing: called after the fit; its exceptions abandon the fit.

        Raises:
            UnknownItem: no such collection or scan.
            InputError: labels that do not fit the kind of classifier.
            ServiceError: as ``ClassifierStore.fit``.
        """
        settings = {} if operation_id is None else {"operation_id": operation_id}
        try:
            examples = self._examples(workspace_id, request.examples, uploads, request.options.kind)
            before_fit(len(examples))
            return self._store.fit(
                workspace_id,
                request.name,
                examples,
                request.author,
                request.options,
                settings=settings,
                before_storing=before_storing,
            )
        except NameTaken:
            if operation_id is None:
                raise
            classifier, version = self.find(workspace_id, request.name, "1")
            if version.settings.get("operation_id") != operation_id:
                raise
            return classifier

    def check_sources(self, workspace_id: str, selection: ExampleSelection) -> None:
        """Before work that is only accepted now. Raises UnknownItem, EncoderMismatch."""
        names = {scan.collection for scan in selection.scans}
        names |= set() if selection.collection is None else {selection.collection}
        for name in sorted(names):
            self._store.sources.check_collection(workspace_id, name)

    def change(
        self,
        workspace_id: str,
        request: ChangeRequest,
        uploads: Sequence[UploadedExample] = (),
    ) -> tuple[Classifier, ClassifierVersion]:
        """Fit the next version. Raises as ``fit``, and as ``ClassifierStore.extend``."""
        _, base = self.find(workspace_id, request.name, request.version)
        added = self._examples(workspace_id, request.examples, uploads, base.kind)
        relabelled = tuple(
            (reference, label_key(base.kind, label)) for reference, label in request.relabel
        )
        return self._store.extend(
            workspace_id,
            request.name,
            Changes(added, relabelled, request.drop),
            request.author,
            base=base.number,
            options=request.options,
            publish=request.publish,
            if_revision=request.if_revision,
        )

    def evaluate(
        self,
        workspace_id: str,
        name: str,
        number: int,
        examples: ExampleSelection,
        uploads: Sequence[UploadedExample],
        *,
        allow_known: bool,
    ) -> Evaluation:
        """Evaluate a version on labelled examples. Raises as ``ClassifierEvaluator.evaluate``."""
        loaded = self._store.open(workspace_id, name, number)
        labelled = self._examples(workspace_id, examples, uploads, loaded.version.kind)
        return self._evaluator.evaluate(workspace_id, loaded, labelled, allow_known=allow_known)

    def _examples(
        self,
        workspace_id: str,
        stored: ExampleSelection,
        uploads: Sequence[UploadedExample],
        kind: str,
    ) -> Examples:
        """All examples of a request: scans of its tasks, named scans, then uploads."""
        sources, collection = self._store.sources, stored.collection
        if (stored.tasks and kind == SINGLE) or (stored.task is not None and kind == MULTI):
            raise InputError(
                "expected a task of a single-label, or tasks of a multi-label classifier"
            )
        uploaded = [_uploaded(kind, upload, file) for file, upload in enumerate(uploads)]
        parts: list[Examples] = []
        if stored.tasks and collection is not None:
            parts.append(sources.of_tasks(workspace_id, collection, stored.tasks, stored.where))
        if stored.task is not None and collection is not None:
            parts.append(sources.of_task(workspace_id, collection, stored.task, stored.where))
        by_collection: dict[str, list[tuple[str, str]]] = {}
        for scan in stored.scans:
            labelled = (scan.scan_id, label_key(kind, scan.labelling))
            by_collection.setdefault(scan.collection, []).append(labelled)
        for collection, scans in by_collection.items():
            parts.append(sources.of_scans(workspace_id, collection, scans))
        return Examples.joined([*parts, Examples.of(uploaded)])

    # reading ------------------------------------------------------------------------------

    def list_classifiers(
        self, workspace_id: str, *, limit: int, after: str | None
    ) -> Page[Classifier]:
        """Classifiers by name."""
        return self._catalog.list_classifiers(workspace_id, limit=limit, after=after)

    def get(self, workspace_id: str, name: str) -> Classifier:
        """One classifier. Raises UnknownItem."""
        return self._catalog.get_classifier(workspace_id, name)

    def find(
        self, workspace_id: str, name: str, version: str
    ) -> tuple[Classifier, ClassifierVersion]:
        """A classifier with one of its versions. Raises UnknownItem."""
        classifier = self._catalog.get_classifier(workspace_id, name)
        if version == "published":
            return classifier, classifier.published
        number = classifier.latest if version == "latest" else int(version)
        return classifier, self._catalog.get_version(workspace_id, name, number)

    def list_versions(
        self, workspace_id: str, name: str, *, limit: int, before: int | None
    ) -> tuple[Classifier, Page[ClassifierVersion]]:
        """Versions, newest first. Raises UnknownItem."""
        classifier = self._catalog.get_classifier(workspace_id, name)
        page = self._catalog.list_versions(workspace_id, name, limit=limit, before=before)
        return classifier, page

    def list_examples(
        self, workspace_id: str, name: str, number: int, *, limit: int, after: int
    ) -> Sequence[VersionExample]:
        """Examples of a version after number ``after``. Raises UnknownItem."""
        return self._catalog.version_examples(workspace_id, name, number, after=after, limit=limit)

    # changing -----------------------------------------------------------------------------

    def publish(
        self, workspace_id: str, name: str, number: int, *, if_revision: int | None
    ) -> Classifier:
        """Make a version the one that predicts. Raises UnknownItem, PreconditionFailed."""
        return self._catalog.publish_version(workspace_id, name, number, if_revision=if_revision)

    def delete(self, workspace_id: str, name: str, *, if_revision: int | None) -> None:
        """Delete a classifier with its versions. Raises UnknownItem, PreconditionFailed."""
        self._catalog.delete_classifier(workspace_id, name, if_revision=if_revision)

    def set_thresholds(
        self,
        workspace_id: str,
        name: str,
        version: str,
        requests: Sequence[ThresholdRequest],
        author: Author,
        *,
        publish: bool,
        if_revision: int | None,
    ) -> tuple[Classifier, ClassifierVersion]:
        """Store a version with other thresholds. Raises as ``Thresholds.store``."""
        _, base = self.find(workspace_id, name, version)
        return self._thresholds.store(
            workspace_id,
            name,
            requests,
            author,
            base=base.number,
            publish=publish,
            if_revision=if_revision,
        )

    def import_(
        self, workspace_id: str, name: str, document: Mapping[str, Any], author: Author
    ) -> Classifier:
        """Store an exported document. Raises as ``ClassifierStore.import_document``."""
        return self._store.import_document(workspace_id, name, document, author)


def _uploaded(kind: str, upload: UploadedExample, file: int) -> Example:
    return Example(
        upload.embedding_D,
        label_key(kind, upload.label),
        group_of(upload.subject_id, upload.study_id, upload.sha256),
        upload.sha256,
        None,
        upload.subject_id,
        upload.study_id,
        file=file,
    )
