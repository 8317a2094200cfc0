"""The interface of the catalog, with one implementation per engine.

Every write is on disk when its method returns. Methods that take a workspace see nothing of other
workspaces. All methods block, so call them from worker threads; all are thread safe. They raise
CatalogFailure when the engine fails or the catalog is closed, and InputError for text that is not
valid Unicode. UnknownItem means that the workspace has no such item.

Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.catalog.access_records import AnswerClaim, KeyRecord, SavedAnswer, Workspace
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
    """Workspaces, their keys, and the answers saved under an Idempotency-Key."""

    def ensure_workspace(self, name: str) -> Workspace:
        """The workspace of this name, created if necessary."""

    def list_workspaces(self) -> tuple[Workspace, ...]:
        """All workspaces, oldest first."""

    def create_key(self, workspace_id: str, name: str, secret_sha256: str) -> KeyRecord:
        """Store the hash of a new key.

        Raises:
            UnknownItem: no such workspace.
            Conflict: a key with this hash exists, in any workspace.
        """

    def find_key(self, secret_sha256: str) -> KeyRecord | None:
        """The key with this hash, if it exists and is not revoked."""

    def list_keys(self, workspace_id: str) -> tuple[KeyRecord, ...]:
        """All keys, revoked ones included, oldest first."""

    def revoke_key(self, workspace_id: str, key_id: str) -> KeyRecord:
        """Revoke a key for ever; a second call keeps the first time. Raises UnknownItem."""

    def find_answer(self, workspace_id: str, key: str) -> SavedAnswer | None:
        """The answer saved under this Idempotency-Key, unless it has expired."""

    def forgettings(self, workspace_id: str) -> int:
        """How often something of a workspace was deleted, replaced or erased.

        Each time its saved answers are dropped, and whatever a process keeps in memory of its
        scans and examples must be read again.
        """

    def claim_answer(
        self, workspace_id: str, key: str, request_sha256: str, *, owner: str, lease_s: float
    ) -> AnswerClaim:
        """Become the one request that works under an Idempotency-Key, or renew that.

        The claim ends with ``save_answer`` or ``release_answer``. One that was not renewed for
        ``lease_s`` seconds can be taken over.

        Args:
            request_sha256: digest of the request.
            owner: names this request among those of all processes.

        Raises:
            UnknownItem: no such workspace.
        """

    def release_answer(self, workspace_id: str, key: str, owner: str) -> None:
        """Give up a claim without an answer; nothing happens if it is another's by now."""

    def save_answer(
        self,
        workspace_id: str,
        key: str,
        answer: SavedAnswer,
        *,
        keep_s: float,
        forgettings: int | None = None,
        owner: str | None = None,
    ) -> None:
        """Keep the first answer under a key for ``keep_s`` seconds; drop expired ones.

        Args:
            forgettings: their number when the request began. If it has grown, the answer is not
                kept, because it may repeat what was deleted meanwhile.
            owner: whose claim ends. If it was taken over, the answer is not kept.

        Raises:
            UnknownItem: no such workspace.
        """


class ClassifierCatalog(Protocol):
    """Classifiers, their versions, and what each version was fitted from."""

    def create_classifier(self, workspace_id: str, name: str, version: NewVersion) -> Classifier:
        """Store a classifier with its version 1 and publish it.

        Of example scans that were deleted meanwhile only the name is stored.

        Raises:
            UnknownItem: no such workspace.
            NameTaken: the workspace has a classifier of this name.
            InputError: report or settings are not finite JSON values.
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
            UnknownItem: no such classifier, or it does not have an ``example_id``.
            PreconditionFailed: ``if_revision`` is not the current revision.
            InputError: report or settings are not finite JSON values.
        """

    def publish_version(
        self, workspace_id: str, name: str, number: int, *, if_revision: int | None = None
    ) -> Classifier:
        """Publish a newer or older version. Raises UnknownItem, PreconditionFailed."""

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
        """In the order of fitting, starting after the position ``after``; ``limit`` -1 = all.

        Empty if there is no such version.
        """

    def version_embeddings(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> npt.NDArray[np.float32]:
        """embeddings_ND of the examples with ``is_kept``, in the order of fitting."""

    def list_classifiers(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Classifier]:
        """Sorted by name in code point order, starting after the name ``after``."""

    def delete_classifier(
        self, workspace_id: str, name: str, *, if_revision: int | None = None
    ) -> None:
        """Delete it with all versions. Raises UnknownItem, PreconditionFailed."""


class OperationCatalog(Protocol):
    """Long work, which is stored and outlives the process."""

    def create_operation(
        self, workspace_id: str, kind: str, request: Mapping[str, Any]
    ) -> Operation:
        """Store a waiting operation; drop those that ended over 30 days ago.

        Raises:
            UnknownItem: no such workspace.
            InputError: the request is not a JSON object of finite values.
        """

    def get_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Raises UnknownItem."""

    def list_operations(
        self, workspace_id: str, *, limit: int, before: int | None = None
    ) -> Page[Operation]:
        """Newest first, starting below the number ``before`` from an earlier page."""

    def unfinished_operations(self) -> tuple[Operation, ...]:
        """The unfinished operations of all workspaces, oldest first."""

    def begin_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Mark it as running and count an attempt. Raises UnknownItem."""

    def report_operation(
        self, workspace_id: str, operation_id: str, *, done: int, total: int
    ) -> Operation:
        """Store the progress; ``cancel_asked`` of the answer says to stop. Raises UnknownItem."""

    def end_operation(
        self,
        workspace_id: str,
        operation_id: str,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> Operation:
        """Store the outcome, unless the operation has ended already. Raises UnknownItem."""

    def cancel_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """End a waiting operation now, a running one at its next report. Raises UnknownItem."""


class ReembeddingCatalog(Protocol):
    """Moving collections to another encoder."""

    def begin_reembedding(
        self, workspace_id: str, collection: str, *, encoder_id: str, dim: int
    ) -> Reembedding:
        """Start or continue a re-embedding by this encoder.

        Raises:
            UnknownItem: no such collection.
            Conflict: it is of this encoder already, or another re-embedding is not confirmed yet.
            ImagesNotKept: some scans have no kept image; the message says how many.
        """

    def get_reembedding(self, workspace_id: str, collection: str) -> Reembedding:
        """Raises UnknownItem: no such collection, or it is not being re-embedded."""

    def images_to_embed(
        self, workspace_id: str, collection: str, *, limit: int
    ) -> tuple[tuple[int, bytes], ...]:
        """(row_id, PNG) of up to ``limit`` scans without a second vector, oldest first."""

    def stage_vectors(
        self,
        workspace_id: str,
        collection: str,
        row_ids: Sequence[int],
        embeddings_ND: npt.NDArray[np.float32],
    ) -> None:
        """Store second vectors; rows that were deleted meanwhile are skipped.

        Raises:
            UnknownItem: no such collection, or it is not being re-embedded.
            InputError: not finite float32 with the width of the other encoder.
        """

    def switch_reembedding(self, workspace_id: str, collection: str) -> Reembedding:
        """Exchange the vectors, forward or back; the collection then has the other encoder.

        Forward is possible once every scan has a second vector; back until it is confirmed.

        Raises:
            UnknownItem: no such collection, or it is not being re-embedded.
            Conflict: scans have no second vector, such as those added after the switch.
        """

    def end_reembedding(self, workspace_id: str, collection: str) -> None:
        """Drop the staged vectors: confirm a switch, or give up before it. Raises UnknownItem."""


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
    """The whole interface."""

    def close(self) -> None:
        """Wait for running calls and release the file; later calls raise CatalogFailure."""

    def check(self) -> None:
        """Raise CatalogFailure unless the catalog can be read and written now."""
