"""The classifiers of a workspace: fit, change, publish, list, export, import. Blocking.

The HTTP API and the jobs call this. A version is a number, ``published`` or ``latest``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from service.catalog.interface import Catalog
from service.catalog.records import (
    Author,
    Classifier,
    ClassifierVersion,
    Page,
    VersionExample,
)
from service.classifiers.comparison import Comparison, compare_versions
from service.classifiers.erased_meanwhile import again_when_erased
from service.classifiers.evaluation import ClassifierEvaluator, Evaluation
from service.classifiers.examples import Changes, Example, Examples, group_of
from service.classifiers.fitting import UnlabelledSelection
from service.classifiers.label_source import SOURCE, LabelSource, SourceChanges, labels_in
from service.classifiers.refusals import RefusedExample
from service.classifiers.requests import (
    ChangeRequest,
    EvaluationRequest,
    ExampleSelection,
    FitRequest,
    RefitFromSource,
    UploadedExample,
    label_key,
)
from service.classifiers.signing.signing_keys import SigningKeys
from service.classifiers.source_refit import OPERATION, SourceRefit
from service.classifiers.store import ClassifierStore, require_revision
from service.classifiers.thresholds import ThresholdRequest, Thresholds
from service.classifiers.views.upload_views import UploadViews
from service.errors import NameTaken, UnknownItem

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
        signing: SigningKeys,
    ) -> None:
        self.signing = signing
        self._catalog = catalog
        self._store = store
        self._evaluator = evaluator
        self._thresholds = thresholds
        self._sources = SourceRefit(catalog, store)
        self.upload_views = UploadViews(catalog, store)

    @again_when_erased
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
        settings: dict[str, Any] = {} if operation_id is None else {OPERATION: operation_id}
        settings[SOURCE] = self._source(workspace_id, request.examples).to_json()
        try:
            examples = self._examples(workspace_id, request.examples, uploads, request.options.kind)
            before_fit(len(examples))
            return self._store.fit(
                workspace_id,
                request.name,
                examples,
                request.author,
                request.options.in_one_spelling(),
                settings=settings,
                before_storing=before_storing,
            )
        except NameTaken:
            if operation_id is None:
                raise
            classifier, version = self.find(workspace_id, request.name, "1")
            if version.settings.get(OPERATION) != operation_id:
                raise
            return classifier

    def check_sources(
        self,
        workspace_id: str,
        selection: ExampleSelection,
        unlabelled: UnlabelledSelection | None = None,
    ) -> None:
        """Before work that is only accepted now. Raises UnknownItem, EncoderMismatch."""
        names = {scan.collection for scan in selection.scans}
        names |= set() if selection.collection is None else {selection.collection}
        if unlabelled is not None and unlabelled.collection is not None:
            names.add(unlabelled.collection)
        for name in sorted(names):
            self._store.sources.check_collection(workspace_id, name)

    @again_when_erased
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
        settings: dict[str, Any] = {}
        if request.examples.task is not None or request.examples.tasks:
            earlier = self._catalog.version_examples(workspace_id, request.name, base.number)
            settings[SOURCE] = self._source(workspace_id, request.examples, earlier).to_json()
        return self._store.extend(
            workspace_id,
            request.name,
            Changes(added, relabelled, request.drop, settings=settings),
            request.author,
            base=base.number,
            options=request.options.in_one_spelling(),
            publish=request.publish,
            if_revision=request.if_revision,
        )

    def _source(
        self,
        workspace_id: str,
        selection: ExampleSelection,
        earlier: Sequence[VersionExample] = (),
    ) -> LabelSource:
        """The source of a version that reads labels, and the scans of it that have none."""
        source = LabelSource.of(selection)
        named = {s.scan_id for s in selection.scans if s.collection == source.collection}
        named |= labels_in(earlier, source.collection or "").keys()
        if source.collection is None or not named:
            return source
        labels = self._store.sources.labels_of(workspace_id, selection)
        return replace(source, by_hand=tuple(sorted(named - labels.keys())))

    def check_refit(self, workspace_id: str, request: RefitFromSource) -> None:
        """Before work that is only accepted now.

        Raises:
            UnknownItem: no such classifier, version or collection.
            PreconditionFailed: the classifier has another revision than ``if_revision``.
            EncoderMismatch: the collection holds embeddings of another encoder.
        """
        classifier, _ = self.find(workspace_id, request.name, request.version)
        require_revision(classifier, request.if_revision)
        if request.source is not None:
            self.check_sources(workspace_id, request.source)

    @again_when_erased
    def refit(
        self,
        workspace_id: str,
        request: RefitFromSource,
        *,
        operation_id: str | None = None,
        before_fit: Callable[[int], None] = lambda _examples: None,
    ) -> tuple[Classifier, ClassifierVersion]:
        """Fit a version with the labels of today. Raises as ``SourceRefit.refit``.

        Args:
            operation_id: of the job. A job that restarts after it stored the version returns it.
            before_fit: called with the number of labels.
        """
        latest = self.find(workspace_id, request.name, "latest")
        require_revision(latest[0], request.if_revision)
        if operation_id is not None and latest[1].settings.get(OPERATION) == operation_id:
            return latest
        _, base = self.find(workspace_id, request.name, request.version)
        return self._sources.refit(
            workspace_id, request, base, operation_id=operation_id, before_fit=before_fit
        )

    def source_changes(
        self, workspace_id: str, name: str, version: ClassifierVersion
    ) -> SourceChanges | None:
        """How the labels of a version's source differ by now; None without such labels."""
        return self._sources.changes(workspace_id, name, version)

    def evaluate(self, workspace_id: str, request: EvaluationRequest) -> Evaluation:
        """Evaluate a version on labelled examples. Raises as ``ClassifierEvaluator.evaluate``."""
        loaded = self._store.open(workspace_id, request.name, request.number)
        selection, unusable = request.examples, list(request.unusable)
        if request.on_refused == "leave_out":
            selection, unknown = self._stored_scans(workspace_id, selection)
            unusable += unknown
        labelled = self._examples(workspace_id, selection, request.uploads, loaded.version.kind)
        return self._evaluator.evaluate(
            workspace_id,
            loaded,
            labelled,
            allow_known=request.allow_known,
            on_refused=request.on_refused,
            unusable=unusable,
        )

    def _stored_scans(
        self, workspace_id: str, selection: ExampleSelection
    ) -> tuple[ExampleSelection, list[RefusedExample]]:
        """The selection without named scans that do not exist, and those."""
        scans, unknown = [], []
        for scan in selection.scans:
            try:
                self._catalog.get_scan(workspace_id, scan.collection, scan.scan_id)
            except UnknownItem:
                unknown.append(RefusedExample("unknown_scan", (scan.collection, scan.scan_id)))
            else:
                scans.append(scan)
        return replace(selection, scans=tuple(scans)), unknown

    def compare(self, workspace_id: str, name: str, first: int, second: int) -> Comparison:
        """Compare two versions. Raises as ``compare_versions``."""
        numbers = (first, second)
        return compare_versions(self._store, self._evaluator, workspace_id, name, numbers)

    def _examples(
        self,
        workspace_id: str,
        stored: ExampleSelection,
        uploads: Sequence[UploadedExample],
        kind: str,
    ) -> Examples:
        """All examples of a request: scans of its tasks, named scans, then uploads."""
        sources = self._store.sources
        uploaded = [
            _uploaded(kind, upload, file if upload.file is None else upload.file)
            for file, upload in enumerate(uploads)
        ]
        parts = [sources.of_selection(workspace_id, stored, kind)]
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
        self,
        workspace_id: str,
        name: str,
        document: Mapping[str, Any],
        author: Author,
    ) -> Classifier:
        """Store an exported document, with the state of its signature.

        Raises:
            BrokenSignature, UntrustedSignature: as ``SigningKeys.state_of``.
            InvalidArtifact, EncoderMismatch, NameTaken: as ``ClassifierStore.import_document``.
        """
        signature = self.signing.state_of(workspace_id, document)
        import_ = self._store.import_document
        return import_(workspace_id, name, document, author, signature=signature)


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
        views_VD=upload.views_VD,
    )
