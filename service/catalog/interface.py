"""The interface of the catalog, with one implementation per engine.

Every write is on disk when its method returns. Methods that take a workspace see nothing of other
workspaces. All methods block, so call them from worker threads; all are thread safe. They raise
CatalogFailure when the engine fails or the catalog is closed, and InputError for text that is not
valid Unicode; an engine may refuse to look for text with a NUL too, which none stores. UnknownItem
means that the workspace has no such item.

Shape suffixes: N scans, D embedding width, V views of an example.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.copying.copy_interface import CopyCatalog
from service.catalog.given_ids.given_id_interface import GivenIdCatalog
from service.catalog.interfaces.scan_interface import (
    ArrayCatalog,
    CollectionCatalog,
    ErasureCatalog,
    ScanCatalog,
)
from service.catalog.interfaces.workspace_interface import WorkspaceCatalog
from service.catalog.layouts.layout_interface import LayoutCatalog
from service.catalog.lifecycle.lifecycle_interface import LifecycleCatalog
from service.catalog.monitoring.monitoring_interface import MonitoringCatalog
from service.catalog.operation_records import NAMELESS, NamedItems, Operation, Reembedding, State
from service.catalog.policies.policy_interface import PolicyCatalog
from service.catalog.records import Classifier, ClassifierVersion, NewVersion, Page, VersionExample
from service.catalog.signing.signing_interface import SigningCatalog
from service.catalog.streams.stream_interface import StreamCatalog

Admit: TypeAlias = Callable[[int, int], None]


class ClassifierCatalog(Protocol):
    """Classifiers, their versions, and what each version was fitted from."""

    def create_classifier(self, workspace_id: str, name: str, version: NewVersion) -> Classifier:
        """Store a classifier with its version 1 and publish it.

        Raises:
            UnknownItem: no such workspace.
            Erased: an example is a scan that is not there any more, or is of another file by now.
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
        gone: int = 0,
    ) -> tuple[Classifier, ClassifierVersion]:
        """Store the next version; the published one stays unless ``publish``.

        Args:
            gone: how many of the examples were gone already when they were read.

        Raises:
            UnknownItem: no such classifier, or it does not have an ``example_id``.
            Erased: more of them are gone, so the version has learnt from what was erased.
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
        """Labelled ones in the order of fitting, after the position ``after``; ``limit`` -1 = all.

        Empty if there is no such version.
        """

    def version_embeddings(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> npt.NDArray[np.float32]:
        """embeddings_ND of the examples with ``is_kept``, in the order of fitting."""

    def version_views(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> tuple[npt.NDArray[np.float32] | None, ...]:
        """For the same examples views_VD, the first as embedded; None where none are stored.

        Only uploads of fits with views have some. Those of a scan are made of its kept pixels.
        """

    def version_unlabelled(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> tuple[tuple[VersionExample, ...], npt.NDArray[np.float32]]:
        """The unlabelled scans that a version was fitted from, and embeddings_UD of the kept."""

    def list_classifiers(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Classifier]:
        """Sorted by name in code point order, starting after the name ``after``."""

    def delete_classifier(
        self, workspace_id: str, name: str, *, if_revision: int | None = None
    ) -> None:
        """Delete it with all versions. Raises UnknownItem, PreconditionFailed."""


class OperationCatalog(Protocol):
    """Long work, which is stored and outlives the process.

    Workers of any number of processes claim it. A claim is a lease: the worker renews it while it
    works, and an operation whose lease ran out is claimed by another worker. Writes of a worker
    that lost its lease raise LeaseLost and change nothing. A ``worker_id`` names one thread of one
    process, and no other one ever.
    """

    def create_operation(
        self,
        workspace_id: str,
        kind: str,
        request: Mapping[str, Any],
        *,
        names: NamedItems = NAMELESS,
        for_service: bool = False,
        admit: Admit | None = None,
    ) -> Operation:
        """Store a waiting operation; drop those that ended over 30 days ago.

        Args:
            names: the collections and classifiers of the request.
            for_service: it takes turns of the service and not of the workspace.
            admit: called in the transaction with the number of waiting operations of all, and of
                those whose turn this one takes; its exceptions refuse the operation.

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

    def waiting_operations(self) -> tuple[int, float]:
        """The number of waiting operations of all workspaces, and the age of the oldest, s."""

    def wait_for_work(self, timeout_s: float) -> None:
        """Return when an operation was stored or released, or when the time is over.

        Best effort: what happens between two calls may be missed, so look for work after each.
        """

    def claim_operation(
        self,
        worker_id: str,
        *,
        lease_s: float,
        kinds: Collection[str],
        busy: Collection[str] = (),
    ) -> Operation | None:
        """Mark an operation as running, count an attempt and hold it for ``lease_s`` seconds.

        It is the oldest one of whoever was served longest ago (``Operation.turn``), among those
        that wait and those whose worker lost its lease. None = there is none.

        Args:
            kinds: that the worker knows; others are left to other workers.
            busy: turns that are not served now.
        """

    def renew_operation(
        self, workspace_id: str, operation_id: str, worker_id: str, *, lease_s: float
    ) -> Operation:
        """Hold it ``lease_s`` seconds from now; ``cancel_asked`` of the answer says to stop.

        Raises:
            UnknownItem: no such operation.
            LeaseLost: it has ended, or another worker has it.
        """

    def report_operation(
        self, workspace_id: str, operation_id: str, worker_id: str, *, done: int, total: int
    ) -> Operation:
        """Store the progress; ``cancel_asked`` of the answer says to stop. As ``renew_operation``.

        The lease does not become longer.
        """

    def end_operation(
        self,
        workspace_id: str,
        operation_id: str,
        worker_id: str,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> Operation:
        """Store the outcome. Raises UnknownItem, LeaseLost: it has ended or was taken over."""

    def release_operation(self, workspace_id: str, operation_id: str, worker_id: str) -> Operation:
        """Give up a running operation, which can be claimed at once; it stays ``running``.

        This attempt is not counted, unless it was the first: ``attempts`` above 1 tells the work
        that it was begun before. Raises UnknownItem, LeaseLost.
        """

    def cancel_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """End a waiting operation now; ask the worker of a running one. Raises UnknownItem."""


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
    PolicyCatalog,
    GivenIdCatalog,
    LifecycleCatalog,
    CollectionCatalog,
    ScanCatalog,
    ArrayCatalog,
    ErasureCatalog,
    ClassifierCatalog,
    OperationCatalog,
    ReembeddingCatalog,
    MonitoringCatalog,
    SigningCatalog,
    LayoutCatalog,
    StreamCatalog,
    CopyCatalog,
    Protocol,
):
    """The whole interface."""

    @property
    def file(self) -> Path | None:
        """The one file that holds everything and can be backed up as a copy; None = no such file.

        Where there is none, operators back up the database with its own tools.
        """

    def once(self, name: str) -> AbstractContextManager[bool]:
        """Whether the block may do a work of this name, which nobody else does until its end.

        False = another thread or process does it now: leave it. A process that dies lets go.

        Raises:
            CatalogFailure: at the start of the block only.
        """

    def close(self) -> None:
        """Wait for running calls and release the file; later calls raise CatalogFailure."""

    def check(self) -> None:
        """Raise CatalogFailure unless the catalog can be read and written now."""
