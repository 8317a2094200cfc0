"""The part of the catalog's interface for collections and their scans.

The rules in ``service.catalog.interface`` apply. Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.catalog.clock import Clock
from service.catalog.erasure_records import ErasedSubject, SweepLimits
from service.catalog.filter_records import Facets, ScanFilter
from service.catalog.records import (
    Collection,
    ExportRow,
    KeptFrames,
    LabelledScans,
    NewScan,
    Page,
    PolicyPatch,
    RenamedLabel,
    Scan,
    ScanPatch,
    StoredScan,
)
from service.catalog.subject_records import HeldSubject
from service.errors import ServiceError


class CollectionCatalog(Protocol):
    """Collections, and counts over their scans."""

    def create_collection(
        self,
        workspace_id: str,
        name: str,
        description: str = "",
        *,
        encoder_id: str,
        dim: int,
        keep_images: bool = False,
        retention_days: float | None = None,
        intake: Mapping[str, Any] | None = None,
    ) -> Collection:
        """Create an empty collection for vectors of ``dim`` numbers from one encoder.

        Raises:
            UnknownItem: no such workspace.
            NameTaken: the workspace has a collection of this name.
            InputError: ``dim`` or ``retention_days`` is not positive, or the name is not storable.
        """

    def get_collection(self, workspace_id: str, name: str) -> Collection:
        """Raises UnknownItem."""

    def list_collections(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Collection]:
        """Sorted by name in code point order, starting after the name ``after``."""

    def all_collections(self) -> tuple[tuple[str, Collection], ...]:
        """(workspace_id, collection) of every workspace, to rebuild indexes at start."""

    def patch_collection(
        self, workspace_id: str, name: str, patch: PolicyPatch, *, if_version: int | None = None
    ) -> Collection:
        """Apply the changes and raise ``version``; images that are no longer kept are overwritten.

        Raises:
            UnknownItem: no such collection.
            PreconditionFailed: ``if_version`` is not the current version.
            InputError: an age is not positive, or ``set_fields`` names an unknown field.
        """

    def delete_collection(
        self, workspace_id: str, name: str, *, if_version: int | None = None
    ) -> int:
        """Delete it; return the number of its scans. Raises UnknownItem, PreconditionFailed."""

    def facets(
        self,
        workspace_id: str,
        collection: str,
        *,
        where: ScanFilter,
        labels: Sequence[str] | None = None,
        attributes: Sequence[str] = (),
        limit: int = 20,
    ) -> Facets:
        """Count the scans, subjects and studies that pass, and their labels and attributes.

        Args:
            labels: tasks whose classes are counted; None = the 64 commonest tasks.
            limit: number of values per task or attribute, commonest first.

        Raises:
            UnknownItem: no such collection.
            InputError: the filter is not valid.
        """


class ScanCatalog(Protocol):
    """Single scans and pages of scans."""

    def add_scans(
        self,
        workspace_id: str,
        collection: str,
        scans: Sequence[NewScan],
        *,
        encoder_id: str,
        unless_erased: bool = False,
    ) -> list[StoredScan | ServiceError]:
        """Store scans in one transaction; item i answers scan i.

        A scan with the bytes (sha256) or pixels (content_sha256) of a stored one of the same
        subject is not stored again: the answer is the stored scan with ``created=False`` and what
        was ignored. Under another subject, and with a subject or without one, it is another scan,
        so that no image gets a patient that nobody gave it. The answer is a NameTaken if another
        scan has the ``scan_id``, and an InputError if the scan cannot be stored (embedding not
        finite float32 of the collection's width; ids, labels or attributes that ``plain_text``
        refuses, NaN, beyond 64 bits); the other scans are stored.

        Args:
            unless_erased: store no scan whose subject or study was erased after the scan was first
                stored (``created_at``); the answer is an Erased. An erasure comes before the
                transaction or after it, and in both cases nothing is left.

        Raises:
            UnknownItem: no such collection.
            EncoderMismatch: the collection is bound to another encoder.
        """

    def patch_scan(
        self,
        workspace_id: str,
        collection: str,
        scan_id: str,
        patch: ScanPatch,
        *,
        if_version: int | None = None,
    ) -> Scan:
        """Apply the changes and raise ``version``, even if nothing differs.

        Raises:
            UnknownItem: no such collection or scan.
            PreconditionFailed: ``if_version`` is not the current version.
            Conflict: the new subject has the image already, as another scan.
            InputError: a value cannot be stored, or ``set_fields`` names an unknown field.
        """

    def rename_label(
        self,
        workspace_id: str,
        collection: str,
        task: str,
        old: str,
        new: str,
        *,
        merge: bool = False,
        dry_run: bool = False,
    ) -> RenamedLabel:
        """Give every scan that has one label of a task another, in one transaction.

        The ``version`` of each of these scans rises.

        Args:
            merge: whether scans may have the new label already.
            dry_run: count, and change nothing.

        Raises:
            UnknownItem: no such collection, or no scan has the label.
            NameTaken: scans have the new label, without ``merge``.
            InputError: the new label cannot be stored.
        """

    def get_scan(self, workspace_id: str, collection: str, scan_id: str) -> Scan:
        """Raises UnknownItem: no such collection or scan."""

    def get_scans_by_row(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> dict[int, Scan]:
        """The scans of those rows that still exist, by row id; empty if the collection is gone."""

    def find_known(
        self, workspace_id: str, collection: str, sha256s: Sequence[str]
    ) -> tuple[Scan, ...]:
        """The scans of those files, one per subject, in the order of storing.

        Raises:
            UnknownItem: no such collection.
        """

    def list_scans(
        self,
        workspace_id: str,
        collection: str,
        *,
        where: ScanFilter,
        limit: int,
        after: str | None = None,
    ) -> Page[Scan]:
        """In the order of storing, starting after the decimal row id ``after``.

        Raises:
            UnknownItem: no such collection.
            InvalidCursor: ``after`` is not a decimal row id.
        """

    def subject(
        self, workspace_id: str, subject_id: str, *, limit: int, after: str | None = None
    ) -> tuple[HeldSubject, Page[Scan]]:
        """What the workspace holds of a patient as of one moment, and a page of the scans.

        Raises:
            UnknownItem: neither a scan, an uploaded example nor an outcome.
            InvalidCursor: ``after`` is not a decimal row id.
        """

    def row_ids_where(
        self, workspace_id: str, collection: str, where: ScanFilter
    ) -> npt.NDArray[np.int64]:
        """Row ids of all scans that pass, ascending, int64 (N,). Raises UnknownItem."""

    def thumbnail(self, workspace_id: str, collection: str, scan_id: str) -> bytes:
        """The JPEG bytes. Raises UnknownItem, NoThumbnail."""

    def kept_image(self, workspace_id: str, collection: str, scan_id: str) -> bytes | None:
        """The embedded pixels as PNG; None where they were not kept. Raises UnknownItem."""

    def export_rows(
        self, workspace_id: str, collection: str, *, after: int = 0, limit: int = 200
    ) -> tuple[ExportRow, ...]:
        """Scans after the row number ``after``, oldest first, as of one moment.

        Raises:
            UnknownItem: no such collection.
            CatalogFailure: a vector or thumbnail is missing or damaged.
        """


class ArrayCatalog(Protocol):
    """Vectors and labels of many scans at once, as arrays and columns."""

    def content_hashes(
        self, workspace_id: str, collection: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """(row_ids_N, hashes_N) of the whole collection, ascending. Raises UnknownItem.

        A hash is 64 bits of the file's sha256; a row id with the same hash is the same scan.
        """

    def row_vectors(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """(row_ids_N, embeddings_ND) of those rows that exist, ascending.

        Raises:
            UnknownItem: no such collection.
            CatalogFailure: a vector is missing or not of the collection's width.
        """

    def embeddings(
        self, workspace_id: str, collection: str, scan_ids: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """embeddings_ND in the order of ``scan_ids``, which may repeat.

        Raises:
            UnknownItem: no such collection, or any scan is missing.
            CatalogFailure: a vector is missing or not of the collection's width.
        """

    def labelled(
        self,
        workspace_id: str,
        collection: str,
        *,
        where: ScanFilter,
        most: int,
        vectors: bool = True,
    ) -> LabelledScans:
        """All scans that pass, in the order of storing, as columns.

        Complete ``Scan`` objects would take several times as long.

        Args:
            vectors: False = ``embeddings_ND`` has no rows.

        Raises:
            UnknownItem: no such collection.
            TooManyItems: more than ``most`` scans pass.
            CatalogFailure: a vector is missing or not of the collection's width.
        """

    def kept_frames(
        self, workspace_id: str, collection: str, row_ids: Sequence[int] | None = None
    ) -> KeptFrames:
        """The kept frames of all cines, or of some scans, by ascending frame.

        Raises:
            UnknownItem: no such collection.
            CatalogFailure: a vector is not of the collection's width.
        """

    def frames_stamp(self, workspace_id: str, collection: str) -> str:
        """A text without meaning of its own: equal stamps mean the same frames.

        It changes with every frame that is added or deleted, whichever process did it.

        Raises:
            UnknownItem: no such collection.
        """


class ErasureCatalog(Protocol):
    """Permanent deletion."""

    def erase_scan(
        self, workspace_id: str, collection: str, scan_id: str, *, if_version: int | None = None
    ) -> tuple[Scan, ErasedSubject]:
        """Delete a scan; return it and the receipt. Raises UnknownItem, PreconditionFailed."""

    def erase_study(
        self, workspace_id: str, study_id: str, *, also: Sequence[str] = ()
    ) -> ErasedSubject:
        """As ``erase_subject``, for every scan and uploaded example of a study."""

    def erase_subject(
        self, workspace_id: str, subject_id: str, *, also: Sequence[str] = ()
    ) -> ErasedSubject:
        """Delete every scan of the subject in every collection, and overwrite their bytes.

        Classifiers stay; the receipt names those that learnt from the subject, sorted. Examples
        that were uploaded to them lose their content, and their out-of-fold scores. All saved
        answers of the workspace are deleted as well, because their bodies may name the subject.
        The other deletions of this class do the same.

        Args:
            also: further ids of the subject, of which nothing need be stored now: copies from
                before it was renamed lose it as well.

        Raises:
            UnknownItem: the workspace has no scan and no uploaded example of this subject.
        """

    def expire(
        self, *, limits: SweepLimits, clock: Clock | None = None
    ) -> tuple[tuple[str, ErasedSubject], ...]:
        """Delete up to 500 scans per collection that are older than its retention.

        A collection of which too many are due, on a clock that is not proven, loses none; its
        ``retention_held`` says how many are due.

        Returns:
            (workspace_id, receipt) of each collection that lost scans; call it again until it is
            empty.
        """

    def expire_collection(
        self, workspace_id: str, collection: str, *, clock: Clock | None = None
    ) -> ErasedSubject | None:
        """As a confirmed ``expire`` of one collection; call it again until it is None.

        Raises:
            UnknownItem: no such collection.
        """

    def settle_erasures(self) -> bool:
        """Write every erasure to the folder of the backups that is not there yet.

        Returns:
            Whether all are there, or there is no such folder.
        """

    @property
    def erasures_owed(self) -> int:
        """Number of erasures that could not be written to the folder of the backups yet."""

    def finish_erasures(self) -> int:
        """Remove from the files what deleted rows left there, where an erasure cannot wait for it.

        Returns:
            Number of erasures of which rows are left; call it again later.
        """

    @property
    def erasures_unvacuumed(self) -> int:
        """The last answer of ``finish_erasures``."""
