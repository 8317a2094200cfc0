"""Reads the labels of a version's source again: to count what is newer, and to fit it. Blocking."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.catalog.interface import Catalog
from service.catalog.records import Classifier, ClassifierVersion
from service.classifiers.examples import Changes, Examples, Reference
from service.classifiers.label_source import (
    SOURCE,
    LabelSource,
    SourceChanges,
    SourceMerge,
    labels_in,
    merged,
    seen_labels,
)
from service.classifiers.requests import RefitFromSource
from service.classifiers.store import ClassifierStore
from service.errors import InputError, NoLabelSource, NothingChanged, ServiceError

OPERATION = "operation_id"  # in the settings of a version


@dataclass(frozen=True, slots=True)
class _States:
    """Scan id -> label of the source's collection, and how many examples are gone.

    Attributes:
        seen: as the fit read it.
        ours: of the version, deleted scans too; ``kept`` without them.
        gone: examples of the version whose embeddings do not exist any more.
    """

    seen: Mapping[str, str]
    ours: Mapping[str, str]
    kept: Mapping[str, str]
    gone: int


class SourceRefit:
    """The sources of the versions of one catalog."""

    def __init__(self, catalog: Catalog, store: ClassifierStore) -> None:
        self._catalog = catalog
        self._store = store

    def changes(
        self, workspace_id: str, name: str, version: ClassifierVersion
    ) -> SourceChanges | None:
        """How the labels of today differ; None for a version without labels of a collection."""
        source = LabelSource.of_version(version)
        if source is None or source.collection is None:
            return None
        if source.where is None:
            return SourceChanges(not_counted_because="the filter named subjects or studies")
        try:
            theirs = self._store.sources.labels_of(workspace_id, source.selection)
        except ServiceError as error:  # deleted, of another encoder, or with impossible names
            return SourceChanges(not_counted_because=str(error))
        states = self._states(workspace_id, name, version, source)
        merge = merged(states.seen, states.kept, theirs)
        gone = [i for i in states.ours if i not in theirs and i not in states.kept]
        return replace(merge.counts, removed=len(merge.removed) + len(gone))

    def refit(
        self,
        workspace_id: str,
        request: RefitFromSource,
        base: ClassifierVersion,
        *,
        operation_id: str | None = None,
        before_fit: Callable[[int], None] = lambda _examples: None,
    ) -> tuple[Classifier, ClassifierVersion]:
        """Fit a version with the labels of today; other examples of the base stay.

        Args:
            operation_id: of the job. A job that restarts after it stored the version returns it.
            before_fit: called with the number of labels.

        Raises:
            NoLabelSource: neither the base nor the request has a collection and a task.
            NothingChanged: the base has learnt these labels already, with the loaded encoder.
            UnknownItem: the collection of the source was deleted.
            ServiceError: as ``ClassifierStore.extend``.
        """
        own = LabelSource.of_version(base)
        source = own if request.source is None else LabelSource.of(request.source)
        selection = request.source
        if selection is None:
            if source is None or not source.has_labels:
                raise NoLabelSource(_why_no_source(source))
            selection = source.selection
        if source is None or source.collection is None:
            raise InputError("expected a collection, and a task or tasks of it")
        theirs = self._store.sources.of_selection(workspace_id, selection, base.kind)
        before_fit(len(theirs))
        scan_ids = [scan[1] for scan in theirs.scans if scan is not None]
        labels = dict(zip(scan_ids, theirs.labels, strict=True))
        is_same = own is not None and own.place == source.place
        states = self._states(workspace_id, request.name, base, source)
        if not is_same:
            states = replace(states, seen={})
        merge = merged(states.seen, states.kept, labels)
        is_known = is_same and base.encoder_id == self._store.sources.encoder_id
        if merge.is_empty and is_known and not states.gone and not request.options.is_given:
            raise NothingChanged(
                f"version {base.number} was fitted from these {len(labels)} labels already"
            )
        settings: dict[str, Any] = {SOURCE: _read_now(source, states, labels).to_json()}
        settings |= {} if operation_id is None else {OPERATION: operation_id}
        changes = replace(_changes(source.collection, merge, theirs), settings=settings)
        return self._store.extend(
            workspace_id,
            request.name,
            changes,
            request.author,
            base=base.number,
            options=request.options,
            publish=request.publish,
            if_revision=request.if_revision,
        )

    def _states(
        self, workspace_id: str, name: str, version: ClassifierVersion, source: LabelSource
    ) -> _States:
        collection, own = source.collection or "", LabelSource.of_version(version)
        examples = self._catalog.version_examples(workspace_id, name, version.number)
        seen: Mapping[str, str] = {}
        if own is not None:
            root = examples
            if own.read_for is not None:
                root = self._catalog.version_examples(workspace_id, name, own.read_for)
                read = self._catalog.get_version(workspace_id, name, own.read_for)
                own = LabelSource.of_version(read) or own
            seen = seen_labels(own, root)
        return _States(
            seen,
            labels_in(examples, collection, kept=False),
            labels_in(examples, collection),
            sum(not example.is_kept for example in examples),
        )


def _changes(collection: str, merge: SourceMerge, theirs: Examples) -> Changes:
    wanted = frozenset(merge.newer)
    rows = [i for i, scan in enumerate(theirs.scans) if scan is not None and scan[1] in wanted]
    relabel = merge.changed.items()
    return Changes(
        add=theirs.take(rows),
        relabel=tuple((Reference(scan=(collection, i)), label) for i, label in relabel),
        drop=tuple(Reference(scan=(collection, scan_id)) for scan_id in merge.removed),
        may_stay=True,
    )


def _read_now(source: LabelSource, states: _States, labels: Mapping[str, str]) -> LabelSource:
    """The source of a version that has read these labels, with what was corrected by hand."""
    seen, kept = states.seen, states.kept
    return replace(
        source,
        by_hand=tuple(i for i in kept if i not in labels and i not in seen),
        overrides={
            i: label for i, label in labels.items() if seen.get(i) == label and kept.get(i) != label
        },
        read_for=None,
    )


def _why_no_source(source: LabelSource | None) -> str:
    way = "send the collection and the task or tasks to read labels from"
    if source is None:
        return f"the version remembers no source; {way}"
    if source.collection is None:
        return f"the version was fitted from uploads and named scans alone; {way}"
    return f"the filter of its source named subjects or studies and was not kept; {way}"
