"""Where labelled examples come from: the scans of a collection, or an earlier version. Blocking."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.catalog.filter_records import ScanFilter
from service.catalog.interface import Catalog
from service.catalog.records import LabelledScans, Scan, VersionExample
from service.classifiers.examples import (
    Examples,
    Ids,
    class_name,
    class_names,
    group_of,
    joined_by_study,
    key_of,
)
from service.classifiers.fitting import MULTI, SINGLE
from service.classifiers.requests import ExampleSelection
from service.errors import (
    EncoderMismatch,
    InputError,
    PreconditionFailed,
    TooManyItems,
    UnknownItem,
)

_PAGE = 1000
_TRIES = 3  # of two reads; a deletion may happen between them


def present_of(tasks: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """The ``key_of`` the tasks whose label has the value that means present. Raises InputError."""
    return key_of(
        class_name(task)
        for task, value in tasks.items()
        if labels[task] == value or class_name(labels[task]) == class_name(value)
    )


def require_tasks(selection: ExampleSelection, kind: str) -> None:
    """Raises InputError: a task of a multi-label, or tasks of a single-label classifier."""
    if (selection.tasks and kind == SINGLE) or (selection.task is not None and kind == MULTI):
        raise InputError("expected a task of a single-label, or tasks of a multi-label classifier")


class Sources:
    """Reads examples of the loaded encoder from one catalog.

    Attributes:
        near_duplicate_cosine: from which frames of this encoder are near-duplicates.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        encoder_id: str,
        dim: int,
        near_duplicate_cosine: float,
        max_examples: int,
    ) -> None:
        self._catalog = catalog
        self.encoder_id = encoder_id
        self.near_duplicate_cosine = near_duplicate_cosine
        self._dim = dim
        self._max_examples = max_examples

    def of_task(self, workspace_id: str, collection: str, task: str, where: ScanFilter) -> Examples:
        """Every scan of a collection that has a label for ``task``.

        Two spellings of one name (``class_name``) are one class.

        Raises:
            InputError: a label is no name of a class.
            UnknownItem: no such collection.
            EncoderMismatch: the collection holds embeddings of another encoder.
            TooManyItems: more scans than one fit may have.
        """
        scans = self._labelled(workspace_id, collection, [task], where)
        names = class_names(labels[task] for labels in scans.labels)
        return self._of_scans(workspace_id, collection, scans, names)

    def of_selection(self, workspace_id: str, selection: ExampleSelection, kind: str) -> Examples:
        """The scans of the task or tasks of a selection.

        Raises:
            InputError: a task of a multi-label, or tasks of a single-label classifier.
            UnknownItem, EncoderMismatch, TooManyItems: as ``of_task``.
        """
        require_tasks(selection, kind)
        if selection.collection is None:
            return Examples.of(())
        parts = []
        if selection.tasks:
            where = (selection.collection, selection.tasks, selection.where)
            parts.append(self.of_tasks(workspace_id, *where))
        if selection.task is not None:
            where_one = (selection.collection, selection.task, selection.where)
            parts.append(self.of_task(workspace_id, *where_one))
        return Examples.joined(parts)

    def labels_of(self, workspace_id: str, selection: ExampleSelection) -> dict[str, str]:
        """Scan id -> class or labels that ``of_selection`` would give, without embeddings."""
        if selection.collection is None:
            return {}
        tasks = [selection.task] if selection.task is not None else list(selection.tasks)
        scans = self._labelled(
            workspace_id, selection.collection, tasks, selection.where, vectors=False
        )
        if selection.task is not None:
            keys = class_names(labels[selection.task] for labels in scans.labels)
        else:
            keys = [present_of(selection.tasks, labels) for labels in scans.labels]
        return dict(zip(scans.scan_ids, keys, strict=True))

    def of_tasks(
        self, workspace_id: str, collection: str, tasks: Mapping[str, str], where: ScanFilter
    ) -> Examples:
        """Every scan that has a label for all ``tasks``, for a multi-label classifier.

        A scan has the label named like a task when its value is the one in ``tasks``.

        Raises:
            UnknownItem, EncoderMismatch, TooManyItems: as ``of_task``.
        """
        scans = self._labelled(workspace_id, collection, list(tasks), where)
        keys = [present_of(tasks, labels) for labels in scans.labels]
        return self._of_scans(workspace_id, collection, scans, keys)

    def _labelled(
        self,
        workspace_id: str,
        collection: str,
        tasks: Sequence[str],
        where: ScanFilter,
        *,
        vectors: bool = True,
    ) -> LabelledScans:
        self.check_collection(workspace_id, collection)
        labelled = ScanFilter(label_presence=dict.fromkeys(tasks, True))
        both = replace(where, all_of=(*where.all_of, labelled))
        return self._catalog.labelled(
            workspace_id, collection, where=both, most=self._max_examples, vectors=vectors
        )

    def _of_scans(
        self, workspace_id: str, collection: str, scans: LabelledScans, labels: Sequence[str]
    ) -> Examples:
        count = len(scans.scan_ids)
        ids = self.ids_of(workspace_id, list(zip(scans.subject_ids, scans.study_ids, strict=True)))
        return Examples(
            scans.embeddings_ND,
            labels,
            [group_of(*i, sha256) for i, sha256 in zip(ids, scans.sha256s, strict=True)],
            scans.sha256s,
            [(collection, scan_id) for scan_id in scans.scan_ids],
            [subject_id for subject_id, _ in ids],
            [study_id for _, study_id in ids],
            [None] * count,
            [None] * count,
            [None] * count,
        )

    def scans_of(self, workspace_id: str, collection: str, where: ScanFilter) -> list[Scan]:
        """All scans of a collection that pass a filter. Raises as ``of_task``."""
        self.check_collection(workspace_id, collection)
        scans: list[Scan] = []
        after: str | None = None
        while True:
            page = self._catalog.list_scans(
                workspace_id, collection, where=where, limit=_PAGE, after=after
            )
            scans += page.items
            after = page.next_after
            if len(scans) > self._max_examples:
                raise TooManyItems(f"expected at most {self._max_examples} scans in one request")
            if after is None:
                return scans

    def of_scans(
        self, workspace_id: str, collection: str, labels: Sequence[tuple[str, str]]
    ) -> Examples:
        """Scans by (scan_id, label).

        Raises:
            UnknownItem: no such collection or scan.
            EncoderMismatch: as ``of_task``.
        """
        self.check_collection(workspace_id, collection)
        scans = [self._catalog.get_scan(workspace_id, collection, scan_id) for scan_id, _ in labels]
        if not scans:
            return Examples.of(())
        columns = LabelledScans(
            scan_ids=[scan.scan_id for scan in scans],
            sha256s=[scan.image.sha256 for scan in scans],
            subject_ids=[scan.subject_id for scan in scans],
            study_ids=[scan.study_id for scan in scans],
            labels=[scan.labels for scan in scans],
            embeddings_ND=self._catalog.embeddings(
                workspace_id, collection, [scan.scan_id for scan in scans]
            ),
        )
        return self._of_scans(workspace_id, collection, columns, [label for _, label in labels])

    def of_version(self, workspace_id: str, name: str, number: int) -> Examples:
        """The examples of a version whose vectors are kept, which may be of an earlier encoder.

        Raises:
            PreconditionFailed: examples are deleted at the same time.
            EncoderMismatch: an embedding is not of the loaded encoder. That of a scan is of the
                encoder of its collection, that of an upload of the encoder of the version.
        """
        where = (workspace_id, name, number)
        for _ in range(_TRIES):
            stored = self._catalog.version_examples(*where)
            kept = [example for example in stored if example.is_kept]
            embeddings_ND = self._catalog.version_embeddings(*where, dim=self._dim)
            views = self._catalog.version_views(*where, dim=self._dim)
            if len(kept) == len(embeddings_ND) == len(views):
                break
        else:
            raise PreconditionFailed("examples of the version are being deleted; try again")
        self.require_loaded(workspace_id, kept)
        if any(example.scan is None for example in kept):
            made_for = self._catalog.get_version(*where).encoder_id
            if made_for != self.encoder_id:
                raise EncoderMismatch(
                    f"uploaded examples have embeddings of {made_for}, loaded is {self.encoder_id}:"
                    " send the files again for a new classifier"
                )
        ids = self.ids_of(workspace_id, [(e.subject_id, e.study_id) for e in kept])
        return Examples(
            embeddings_ND,
            [example.label for example in kept],
            [group_of(*i, e.sha256 or e.example_id) for i, e in zip(ids, kept, strict=True)],
            [example.sha256 for example in kept],
            [example.scan for example in kept],
            [subject_id for subject_id, _ in ids],
            [study_id for _, study_id in ids],
            [example.example_id for example in kept],
            [None] * len(kept),
            views,
        )

    def moved(self, workspace_id: str, examples: Sequence[VersionExample]) -> frozenset[str]:
        """Collections of kept examples whose scans have embeddings of another encoder by now."""
        moved = set()
        for name in {e.scan[0] for e in examples if e.scan is not None and e.is_kept}:
            try:
                self.check_collection(workspace_id, name)
            except EncoderMismatch:
                moved.add(name)
            except UnknownItem:  # deleted a moment ago
                continue
        return frozenset(moved)

    def require_loaded(self, workspace_id: str, examples: Sequence[VersionExample]) -> None:
        """Raises EncoderMismatch: kept examples are scans of a collection of another encoder."""
        if self.moved(workspace_id, examples):
            raise EncoderMismatch(
                "examples of the version are scans of a collection that has another encoder than "
                "the loaded one"
            )

    def ids_of(self, workspace_id: str, stored: Sequence[Ids]) -> list[Ids]:
        """Ids of subject and study, those from before a policy of pseudonyms as their pseudonyms.

        So a patient who is stored under both is one.

        Raises:
            PseudonymKeyMissing: there are such ids, and no key.
        """
        rules = self._catalog.intake_rules(workspace_id)
        if rules.pseudonyms is None:
            return list(stored)
        known = {ids: rules.ids(*ids) for ids in set(stored)}
        return [known[ids] for ids in stored]

    def under_stored_ids(
        self, workspace_id: str, examples: Sequence[VersionExample]
    ) -> list[VersionExample]:
        """Examples of a version with the ids of ``ids_of``."""
        ids = self.ids_of(workspace_id, [(e.subject_id, e.study_id) for e in examples])
        return [
            replace(example, subject_id=subject_id, study_id=study_id)
            for example, (subject_id, study_id) in zip(examples, ids, strict=True)
        ]

    def groups_of(
        self, workspace_id: str, scans: Sequence[Scan], others: Sequence[Ids] = ()
    ) -> list[str]:
        """The groups that a split keeps together (``joined_by_study``). Raises as ``ids_of``."""
        ids = self.ids_of(workspace_id, [(scan.subject_id, scan.study_id) for scan in scans])
        groups = [group_of(*i, scan.image.sha256) for i, scan in zip(ids, scans, strict=True)]
        return joined_by_study(groups, ids, others)

    def check_collection(self, workspace_id: str, name: str) -> None:
        """Raises UnknownItem, EncoderMismatch."""
        encoder_id = self._catalog.get_collection(workspace_id, name).encoder_id
        if encoder_id != self.encoder_id:
            raise EncoderMismatch(
                f"the collection holds embeddings of {encoder_id}, loaded is {self.encoder_id}"
            )
