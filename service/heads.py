"""Classifiers: heads fitted by ``fewshot``, kept by the catalog. Blocking, thread safe.

Shape suffixes: N examples, C classes, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.interface import Catalog
from service.catalog.records import Classifier, NewClassifier, Scan, ScanFilter
from service.errors import EncoderMismatch, NotEnoughExamples
from service.fewshot.fit import fit
from service.fewshot.head import LinearHead, from_npz, to_npz

Floats: TypeAlias = npt.NDArray[np.float32]
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled embedding.

    Attributes:
        embedding_D: float32, unit length.
        label: its class.
        group: subject, study, or the image itself; never on both sides of a judgement.
        scan: (collection, scan_id) when it is a stored scan.
    """

    embedding_D: Floats
    label: str
    group: str
    scan: tuple[str, str] | None = None


class Heads:
    """All classifiers of one catalog that the loaded encoder can serve."""

    def __init__(self, catalog: Catalog, *, encoder_id: str) -> None:
        self._catalog = catalog
        self._encoder_id = encoder_id

    def fit(self, workspace_id: str, name: str, examples: Sequence[Example]) -> Classifier:
        """Fit, judge by grouped cross-validation, and store.

        Raises:
            NotEnoughExamples: fewer than two classes.
            NameTaken: the workspace has a classifier of this name.
        """
        if not examples:
            raise NotEnoughExamples("expected labelled examples of at least 2 classes, got none")
        fitted = fit(
            np.stack([example.embedding_D for example in examples]),
            [example.label for example in examples],
            [example.group for example in examples],
            encoder_id=self._encoder_id,
        )
        return self._catalog.create_classifier(
            workspace_id,
            NewClassifier(
                name=name,
                encoder_id=self._encoder_id,
                classes=fitted.head.classes,
                head_npz=to_npz(fitted.head),
                report=fitted.report.to_json(),
                scan_ids=tuple(dict.fromkeys(e.scan for e in examples if e.scan is not None)),
            ),
        )

    def examples_of_task(
        self, workspace_id: str, collection: str, task: str, where: ScanFilter
    ) -> list[Example]:
        """Every scan of a collection that carries a label for ``task``.

        Raises:
            UnknownItem: no such collection.
            EncoderMismatch: the collection was made by another encoder.
        """
        self._check_collection(workspace_id, collection)
        scans: list[Scan] = []
        after: str | None = None
        while True:
            page = self._catalog.list_scans(
                workspace_id, collection, where=where, limit=_PAGE, after=after
            )
            scans += [scan for scan in page.items if task in scan.labels]
            after = page.next_after
            if after is None:
                break
        labelled = [(scan, scan.labels[task]) for scan in scans]
        return self._examples(workspace_id, collection, labelled)

    def examples_of_scans(
        self, workspace_id: str, collection: str, labels: Sequence[tuple[str, str]]
    ) -> list[Example]:
        """The named scans with the given labels: (scan_id, label) each.

        Raises:
            UnknownItem: no such collection or scan.
            EncoderMismatch: the collection was made by another encoder.
        """
        self._check_collection(workspace_id, collection)
        labelled = [
            (self._catalog.get_scan(workspace_id, collection, scan_id), label)
            for scan_id, label in labels
        ]
        return self._examples(workspace_id, collection, labelled)

    def _check_collection(self, workspace_id: str, name: str) -> None:
        found = self._catalog.get_collection(workspace_id, name).encoder_id
        if found != self._encoder_id:
            raise EncoderMismatch(
                f"the collection was made by {found}, loaded is {self._encoder_id}"
            )

    def _examples(
        self, workspace_id: str, collection: str, labelled: Sequence[tuple[Scan, str]]
    ) -> list[Example]:
        if not labelled:
            return []
        embeddings_ND = self._catalog.embeddings(
            workspace_id, collection, [scan.scan_id for scan, _ in labelled]
        )
        return [
            Example(
                embedding_D,
                label,
                group_of(scan.subject_id, scan.study_id, scan.image.sha256),
                (collection, scan.scan_id),
            )
            for embedding_D, (scan, label) in zip(embeddings_ND, labelled, strict=True)
        ]

    def open(self, workspace_id: str, name: str) -> tuple[Classifier, LinearHead]:
        """Read a classifier for use.

        Raises:
            UnknownItem: no such classifier.
            EncoderMismatch: it was fitted on another encoder's embeddings.
        """
        classifier = self._catalog.get_classifier(workspace_id, name)
        if classifier.encoder_id != self._encoder_id:
            raise EncoderMismatch(
                f"the classifier was fitted for {classifier.encoder_id}, "
                f"loaded is {self._encoder_id}"
            )
        return classifier, from_npz(classifier.head_npz)


def group_of(subject_id: str | None, study_id: str | None, sha256: str) -> str:
    """What must not be split: the subject, else the study, else the image."""
    if subject_id is not None:
        return f"subject:{subject_id}"
    if study_id is not None:
        return f"study:{study_id}"
    return f"image:{sha256}"
