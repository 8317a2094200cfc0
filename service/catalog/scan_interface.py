"""The part of the catalog's interface that holds collections and their scans.

The rules of ``interface`` hold here as well. Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.catalog.records import (
    Collection,
    ErasedSubject,
    ExportRow,
    Facets,
    KeptFrames,
    LabelledScans,
    NewScan,
    Page,
    PolicyPatch,
    Scan,
    ScanFilter,
    ScanPatch,
    StoredScan,
)
from service.errors import ServiceError


class CollectionCatalog(Protocol):
    """Collections, and counts over their scans."""

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
        """An empty collection for vectors of ``dim`` numbers from one encoder.

        Raises:
            UnknownItem: no such workspace.
            NameTaken: the workspace has a collection of this name.
            InputError: ``dim`` or ``retention_days`` is not positive, or the name holds NUL or
                no valid Unicode.
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
        """Apply and bump ``version``; images that are no longer to be kept are overwritten.

        Raises:
            UnknownItem: no such collection.
            PreconditionFailed: ``if_version`` is not the current one.
            InputError: an age that is not positive, or ``set_fields`` names an unknown field.
        """

    def delete_collection(
        self, workspace_id: str, name: str, *, if_version: int | None = None
    ) -> int:
        """Delete it with all its scans; return how many. Raises UnknownItem, PreconditionFailed."""

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
        """How many scans, subjects and studies pass, and their commonest labels and attributes.

        Args:
            labels: tasks to count the classes of; None = the commonest ones, at most 64.
            limit: most values per task or attribute, commonest first.

        Raises:
            UnknownItem: no such collection.
            TooManyItems, InputError: of the filter.
        """


class ScanCatalog(Protocol):
    """Scans, one or a page at a time."""

    def add_scans(
        self, workspace_id: str, collection: str, scans: Sequence[NewScan], *, encoder_id: str
    ) -> list[StoredScan | ServiceError]:
        """Store scans in one transaction; item i answers scan i.

        The same bytes (sha256) or the same pixels (content_sha256) twice in one collection, or in
        one call, are one scan: the stored one is returned unchanged with ``created=False``. The
        answer is a NameTaken for a ``scan_id`` that another image has, and an InputError for a
        scan that cannot be stored (embedding not finite float32 of the collection's width; ids,
        labels or attributes of another type, with NUL, NaN or beyond 64 bits); the other items
        are stored.

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
        """Apply and bump ``version``, also when nothing differs.

        Raises:
            UnknownItem: no such collection or scan.
            PreconditionFailed: ``if_version`` is not the current one.
            InputError: a value cannot be stored, or ``set_fields`` names an unknown field.
        """

    def get_scan(self, workspace_id: str, collection: str, scan_id: str) -> Scan:
        """Raises UnknownItem: no such collection or scan."""

    def get_scans_by_row(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> dict[int, Scan]:
        """Those of the rows that still exist, by row id; none when the collection is gone."""

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
        """In the order of storing, starting after the decimal row id ``after``.

        Raises:
            UnknownItem: no such collection.
            InvalidCursor: ``after`` is not a decimal row id.
        """

    def row_ids_where(
        self, workspace_id: str, collection: str, where: ScanFilter
    ) -> npt.NDArray[np.int64]:
        """Row ids of all scans that pass, ascending, int64 (N,). Raises UnknownItem."""

    def thumbnail(self, workspace_id: str, collection: str, scan_id: str) -> bytes:
        """The JPEG bytes. Raises UnknownItem."""

    def export_rows(
        self, workspace_id: str, collection: str, *, after: int = 0, limit: int = 200
    ) -> tuple[ExportRow, ...]:
        """Scans behind the row number ``after``, oldest first; each is of one moment.

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

        A hash is 64 bits of the file's sha256: two rows of one id and one hash are one scan.
        """

    def row_vectors(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """(row_ids_N, embeddings_ND) of those of the rows that exist, ascending.

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
        self, workspace_id: str, collection: str, *, where: ScanFilter, most: int
    ) -> LabelledScans:
        """All scans that pass, in the order of storing, as columns.

        An object per scan, with all that a catalog knows of it, takes several times as long.

        Raises:
            UnknownItem: no such collection.
            TooManyItems: more than ``most`` scans pass.
            CatalogFailure: a vector is missing or not of the collection's width.
        """

    def kept_frames(
        self, workspace_id: str, collection: str, row_ids: Sequence[int] | None = None
    ) -> KeptFrames:
        """The kept frames of all cines, or of those scans, by ascending frame.

        Raises:
            UnknownItem: no such collection.
            CatalogFailure: a vector is not of the collection's width.
        """

    def frames_stamp(self, workspace_id: str, collection: str) -> tuple[int, int]:
        """(number of frames, newest frame id): equal stamps mean the same frames.

        Raises:
            UnknownItem: no such collection.
        """


class ErasureCatalog(Protocol):
    """Deleting for good."""

    def erase_scan(
        self, workspace_id: str, collection: str, scan_id: str, *, if_version: int | None = None
    ) -> tuple[Scan, ErasedSubject]:
        """Delete; return what it was, with the receipt. Raises UnknownItem, PreconditionFailed."""

    def erase_study(self, workspace_id: str, study_id: str) -> ErasedSubject:
        """Remove every scan and uploaded example of the study, in every collection.

        Otherwise as ``erase_subject``.

        Raises:
            UnknownItem: no scan and no uploaded example of the workspace is of this study.
        """

    def erase_subject(self, workspace_id: str, subject_id: str) -> ErasedSubject:
        """Remove every scan of the subject in every collection, and overwrite their bytes.

        Classifiers stay; those that learnt from the subject are named, sorted. Of an example
        that was uploaded to one, only the fact remains that it was there. All saved answers of
        the workspace go as well, because their bodies may name the subject.

        Raises:
            UnknownItem: no scan and no uploaded example of the workspace is of this subject.
        """

    def expire(self, *, moment: datetime | None = None) -> tuple[tuple[str, ErasedSubject], ...]:
        """Delete up to 500 scans of every collection whose age its retention ends.

        Args:
            moment: taken as the present; None = now.

        Returns:
            (workspace_id, receipt) of each collection that lost scans; call again until empty.
        """
