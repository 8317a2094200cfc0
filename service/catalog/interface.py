"""The durable truth, as one interface with one implementation per engine.

Every write is on disk when its method returns. Every method takes the workspace first and sees
nothing of others. Methods block; call them from worker threads; all are thread safe.

Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.catalog.lifecycle_interface import Carrying, LifeOfData, LongWork, Moving
from service.catalog.records import (
    Classifier,
    ClassifierVersion,
    ClipFrame,
    Collection,
    ErasedSubject,
    KeptFrames,
    KeyRecord,
    LabelledScans,
    NewScan,
    NewVersion,
    Page,
    SavedAnswer,
    Scan,
    ScanFilter,
    ScanPatch,
    StoredScan,
    VersionExample,
    Workspace,
)
from service.errors import ServiceError


class Catalog(LifeOfData, Carrying, LongWork, Moving, Protocol):
    """Workspaces, keys, collections, scans with vectors, classifiers, remembered answers."""

    def close(self) -> None:
        """Finish writes and release the files; later calls raise CatalogFailure."""

    def check(self) -> None:
        """Raise CatalogFailure unless the catalog can be read and written now."""

    # workspaces and keys ------------------------------------------------------------------

    def ensure_workspace(self, name: str) -> Workspace:
        """Return the workspace of this name, creating it if there is none."""

    def list_workspaces(self) -> tuple[Workspace, ...]:
        """All workspaces, oldest first."""

    def create_key(self, workspace_id: str, name: str, secret_sha256: str) -> KeyRecord:
        """Store the hash of a new key. Raises UnknownItem: no such workspace."""

    def find_key(self, secret_sha256: str) -> KeyRecord | None:
        """Return the key with this hash if it exists and is not revoked."""

    def list_keys(self, workspace_id: str) -> tuple[KeyRecord, ...]:
        """All keys, revoked ones included, oldest first."""

    def revoke_key(self, workspace_id: str, key_id: str) -> KeyRecord:
        """Revoke at once and for ever. Raises UnknownItem."""

    # collections --------------------------------------------------------------------------

    def create_collection(
        self,
        workspace_id: str,
        name: str,
        *,
        encoder_id: str,
        dim: int,
        description: str = "",
        keep_images: bool = False,
        retention_days: float | None = None,
        intake: Mapping[str, Any] | None = None,
    ) -> Collection:
        """Raises NameTaken: the workspace has a collection of this name."""

    def get_collection(self, workspace_id: str, name: str) -> Collection:
        """Raises UnknownItem."""

    def list_collections(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Collection]:
        """Sorted by name, starting after the name ``after``."""

    def delete_collection(
        self, workspace_id: str, name: str, *, if_version: int | None = None
    ) -> int:
        """Delete it with all its scans; return how many. Raises UnknownItem, PreconditionFailed."""

    def all_collections(self) -> tuple[tuple[str, Collection], ...]:
        """(workspace_id, collection) of every workspace, to rebuild indexes at start."""

    # scans --------------------------------------------------------------------------------

    def add_scans(
        self, workspace_id: str, collection: str, scans: Sequence[NewScan], *, encoder_id: str
    ) -> list[StoredScan | ServiceError]:
        """Store scans in one transaction; item i answers scan i.

        The same bytes (sha256) or the same pixels (content_sha256) twice in one collection are
        one scan: the stored one is returned unchanged with ``created=False``. A ``scan_id`` that
        another image of the collection has is a NameTaken in its place; the other items are
        stored.

        Raises:
            UnknownItem: no such collection.
            EncoderMismatch: the collection is bound to another encoder.
        """

    def get_scan(self, workspace_id: str, collection: str, scan_id: str) -> Scan:
        """Raises UnknownItem: no such collection or scan."""

    def get_scans_by_row(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> dict[int, Scan]:
        """Those of the rows that still exist, by row id."""

    def clip_frames(
        self, workspace_id: str, collection: str, scan_id: str
    ) -> tuple[ClipFrame, ...]:
        """The kept frames of a cine, in the order of its file; none of a still.

        Raises UnknownItem.
        """

    def kept_frames(
        self, workspace_id: str, collection: str, row_ids: Sequence[int] | None = None
    ) -> KeptFrames:
        """The kept frames of all cines, or of those scans. Raises UnknownItem: no collection."""

    def frames_stamp(self, workspace_id: str, collection: str) -> tuple[int, int]:
        """Equal stamps: the collection keeps the same frames. Raises UnknownItem."""

    def find_known(
        self, workspace_id: str, collection: str, sha256s: Sequence[str]
    ) -> dict[str, str]:
        """{sha256: scan_id} of the files that the collection holds already."""

    def list_scans(
        self,
        workspace_id: str,
        collection: str,
        *,
        where: ScanFilter,
        limit: int,
        after: str | None = None,
    ) -> Page[Scan]:
        """In the order of storing (``after`` is the decimal row id). Raises UnknownItem."""

    def row_ids_where(
        self, workspace_id: str, collection: str, where: ScanFilter
    ) -> npt.NDArray[np.int64]:
        """Row ids of all scans that pass, ascending, int64 (N,). Raises UnknownItem."""

    def patch_scan(
        self,
        workspace_id: str,
        collection: str,
        scan_id: str,
        patch: ScanPatch,
        *,
        if_version: int | None = None,
    ) -> Scan:
        """Apply and bump ``version``. Raises UnknownItem, PreconditionFailed."""

    def delete_scan(
        self, workspace_id: str, collection: str, scan_id: str, *, if_version: int | None = None
    ) -> Scan:
        """Delete; return what it was. Raises UnknownItem, PreconditionFailed."""

    def erase_subject(self, workspace_id: str, subject_id: str) -> ErasedSubject:
        """Remove every scan and uploaded example of the subject. Raises UnknownItem: none."""

    def thumbnail(self, workspace_id: str, collection: str, scan_id: str) -> bytes:
        """The JPEG bytes. Raises UnknownItem."""

    def vectors(
        self, workspace_id: str, collection: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """(row_ids_N, embeddings_ND) of the whole collection, ascending. Raises UnknownItem."""

    def row_marks(
        self, workspace_id: str, collection: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """(row_ids_N, marks_N) of the whole collection, ascending. Raises UnknownItem.

        A mark is 64 bits of the file's sha256: two rows of one id and one mark are one scan.
        """

    def row_vectors(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """(row_ids_N, embeddings_ND) of those of the rows that exist, ascending."""

    def embeddings(
        self, workspace_id: str, collection: str, scan_ids: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """embeddings_ND in the order of ``scan_ids``. Raises UnknownItem: any is missing."""

    def labelled(
        self, workspace_id: str, collection: str, *, where: ScanFilter, most: int
    ) -> LabelledScans:
        """All scans that pass, in the order of storing. Raises UnknownItem, TooManyItems."""

    # classifiers --------------------------------------------------------------------------

    def create_classifier(self, workspace_id: str, name: str, version: NewVersion) -> Classifier:
        """Store it with version 1, published. Raises NameTaken."""

    def add_version(
        self,
        workspace_id: str,
        name: str,
        version: NewVersion,
        *,
        publish: bool = False,
        if_revision: int | None = None,
    ) -> tuple[Classifier, ClassifierVersion]:
        """Store the next version. Raises UnknownItem, PreconditionFailed."""

    def publish_version(
        self, workspace_id: str, name: str, number: int, *, if_revision: int | None = None
    ) -> Classifier:
        """Let this version predict, forward or back. Raises UnknownItem, PreconditionFailed."""

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
        """What a version was fitted from, in the order of fitting; -1 = from the first, all."""

    def version_embeddings(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> npt.NDArray[np.float32]:
        """embeddings_ND of those examples whose ``is_kept``, in the same order."""

    def list_classifiers(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Classifier]:
        """Sorted by name, starting after the name ``after``."""

    def delete_classifier(
        self, workspace_id: str, name: str, *, if_revision: int | None = None
    ) -> None:
        """Delete it with all versions. Raises UnknownItem, PreconditionFailed."""

    # idempotency --------------------------------------------------------------------------

    def find_answer(self, workspace_id: str, key: str) -> SavedAnswer | None:
        """The answer saved under this Idempotency-Key, unless it has expired."""

    def save_answer(
        self, workspace_id: str, key: str, answer: SavedAnswer, *, keep_s: float
    ) -> None:
        """Keep the first answer under this key for ``keep_s`` seconds; drops expired ones."""
