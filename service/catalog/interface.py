"""The durable truth, as one interface with one implementation per engine.

Every write is on disk when its method returns. Every method takes the workspace first and sees
nothing of others. Methods block; call them from worker threads; all are thread safe. When the
engine fails or the catalog is closed they raise CatalogFailure; for text that is not valid
Unicode, InputError.

Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.catalog.access_records import KeyRecord, SavedAnswer, Workspace
from service.catalog.operation_records import Operation, Reembedding, State
from service.catalog.records import (
    Classifier,
    ClassifierVersion,
    NewVersion,
    Page,
    VersionExample,
)
from service.catalog.scan_interface import (
    ArrayCatalog,
    CollectionCatalog,
    ErasureCatalog,
    ScanCatalog,
)


class WorkspaceCatalog(Protocol):
    """Workspaces, their keys, and the answers remembered under an Idempotency-Key."""

    def ensure_workspace(self, name: str) -> Workspace:
        """Return the workspace of this name, creating it if there is none."""

    def list_workspaces(self) -> tuple[Workspace, ...]:
        """All workspaces, oldest first."""

    def create_key(self, workspace_id: str, name: str, secret_sha256: str) -> KeyRecord:
        """Store the hash of a new key.

        Raises:
            UnknownItem: no such workspace.
            Conflict: a key with this hash exists, here or in another workspace.
        """

    def find_key(self, secret_sha256: str) -> KeyRecord | None:
        """Return the key with this hash if it exists and is not revoked."""

    def list_keys(self, workspace_id: str) -> tuple[KeyRecord, ...]:
        """All keys, revoked ones included, oldest first."""

    def revoke_key(self, workspace_id: str, key_id: str) -> KeyRecord:
        """Revoke at once and for ever; the first time stays. Raises UnknownItem."""

    def find_answer(self, workspace_id: str, key: str) -> SavedAnswer | None:
        """The answer saved under this Idempotency-Key, unless it has expired."""

    def save_answer(
        self, workspace_id: str, key: str, answer: SavedAnswer, *, keep_s: float
    ) -> None:
        """Keep the first answer under this key for ``keep_s`` seconds; drops expired ones.

        Raises:
            UnknownItem: no such workspace.
        """


class ClassifierCatalog(Protocol):
    """Classifiers, their versions, and what each version was fitted from."""

    def create_classifier(self, workspace_id: str, name: str, version: NewVersion) -> Classifier:
        """Store a classifier with its version 1, which is published at once.

        Scans that are gone by now are remembered by name only.

        Raises:
            UnknownItem: no such workspace.
            NameTaken: the workspace has a classifier of this name.
            InputError: report or settings hold NaN or what JSON cannot hold.
        """

    def add_version(
        self,
        workspace_id: str,
        name: str,
        version: NewVersion,
        *,
        publish: bool = False,
        if_revision: int | None = None,
    ) -> tuple[Classifier, ClassifierVersion]:
        """Store the next version; the published one stays unless ``publish``.

        Raises:
            UnknownItem: no such classifier, or an ``example_id`` that it does not have.
            PreconditionFailed: ``if_revision`` is not the current one.
            InputError: report or settings hold NaN or what JSON cannot hold.
        """

    def publish_version(
        self, workspace_id: str, name: str, number: int, *, if_revision: int | None = None
    ) -> Classifier:
        """Let this version predict from now on, forward or back.

        Raises:
            UnknownItem: no such classifier or version.
            PreconditionFailed: ``if_revision`` is not the current one.
        """

    def get_classifier(self, workspace_id: str, name: str) -> Classifier:
        """Raises UnknownItem."""

    def get_version(self, workspace_id: str, name: str, number: int) -> ClassifierVersion:
        """Raises UnknownItem: no such classifier or version."""

    def list_versions(
        self, workspace_id: str, name: str, *, limit: int, before: int | None = None
    ) -> Page[ClassifierVersion]:
        """Newest first, starting below the number ``before``. Raises UnknownItem."""

    def version_examples(
        self, workspace_id: str, name: str, number: int, *, after: int = -1, limit: int = -1
    ) -> tuple[VersionExample, ...]:
        """In the order of fitting, those behind position ``after``, at most ``limit`` (-1 = all).

        Empty as well when there is no such version.
        """

    def version_embeddings(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> npt.NDArray[np.float32]:
        """embeddings_ND of the examples whose ``is_kept``, in the order of fitting.

        Raises:
            CatalogFailure: a vector is not of this width.
        """

    def list_classifiers(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Classifier]:
        """Sorted by name in code point order, starting after the name ``after``."""

    def delete_classifier(
        self, workspace_id: str, name: str, *, if_revision: int | None = None
    ) -> None:
        """Delete it with all versions. Raises UnknownItem, PreconditionFailed."""


class OperationCatalog(Protocol):
    """Long work, which outlives the process."""

    def create_operation(
        self, workspace_id: str, kind: str, request: Mapping[str, Any]
    ) -> Operation:
        """A waiting operation; those that ended over 30 days ago are dropped.

        Raises:
            UnknownItem: no such workspace.
            InputError: the request holds what JSON cannot hold.
        """

    def get_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Raises UnknownItem."""

    def list_operations(
        self, workspace_id: str, *, limit: int, before: int | None = None
    ) -> Page[Operation]:
        """Newest first, starting below the number ``before`` of an earlier page."""

    def unfinished_operations(self) -> tuple[Operation, ...]:
        """Those of every workspace that have not ended, oldest first."""

    def begin_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Note that it runs, and one attempt more. Raises UnknownItem."""

    def report_operation(
        self, workspace_id: str, operation_id: str, *, done: int, total: int
    ) -> Operation:
        """Note how far it is; the answer tells whether it is to stop. Raises UnknownItem."""

    def end_operation(
        self,
        workspace_id: str,
        operation_id: str,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> Operation:
        """Note how it ended; one that has ended already stays as it is. Raises UnknownItem."""

    def cancel_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Ask it to stop: a waiting one ends at once, a running one at its next report.

        Raises:
            UnknownItem: no such operation in this workspace.
        """


class ReembeddingCatalog(Protocol):
    """Collections on their way to another encoder."""

    def begin_reembedding(
        self, workspace_id: str, collection: str, *, encoder_id: str, dim: int
    ) -> Reembedding:
        """Start, or go on with, a re-embedding by this encoder.

        Raises:
            UnknownItem: no such collection.
            Conflict: it is of this encoder already, or another re-embedding is not confirmed yet.
            ImagesNotKept: of some scans no image was kept; it says of how many.
        """

    def get_reembedding(self, workspace_id: str, collection: str) -> Reembedding:
        """Raises UnknownItem: no such collection, or it is not being re-embedded."""

    def images_to_embed(
        self, workspace_id: str, collection: str, *, limit: int
    ) -> tuple[tuple[int, bytes], ...]:
        """(row_id, PNG) of scans that lack the second vector, at most ``limit``, oldest first."""

    def stage_vectors(
        self,
        workspace_id: str,
        collection: str,
        row_ids: Sequence[int],
        embeddings_ND: npt.NDArray[np.float32],
    ) -> None:
        """Store second vectors; rows that are gone by now are passed over.

        Raises:
            UnknownItem: no such collection, or it is not being re-embedded.
            InputError: not finite float32 of the other encoder's width.
        """

    def switch_reembedding(self, workspace_id: str, collection: str) -> Reembedding:
        """Exchange the vectors, forth or back; the collection is of the other encoder at once.

        Forth once every scan has its second vector; back after that, until it is confirmed.

        Raises:
            UnknownItem: no such collection, or it is not being re-embedded.
            Conflict: scans lack the other vector, such as those added after the switch.
        """

    def end_reembedding(self, workspace_id: str, collection: str) -> None:
        """Drop the staged vectors: confirms after the switch, gives up before it.

        Raises:
            UnknownItem: no such collection, or it is not being re-embedded.
        """


class Catalog(
    WorkspaceCatalog,
    CollectionCatalog,
    ScanCatalog,
    ArrayCatalog,
    ErasureCatalog,
    ClassifierCatalog,
    OperationCatalog,
    ReembeddingCatalog,
    Protocol,
):
    """All of it."""

    def close(self) -> None:
        """Wait for calls that run and release the file; later calls raise CatalogFailure."""

    def check(self) -> None:
        """Raise CatalogFailure unless the catalog can be read and written now."""
