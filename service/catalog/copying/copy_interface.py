"""The part of the catalog that puts scans of a collection into another one.

A copy is a scan of its own with the same id, owner, labels, attributes, pictures, vectors and age.
It is found and erased under its subject as every other scan is.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from service.catalog.records import NewScan, StoredScan
from service.errors import ServiceError

# Decides on one scan before it is stored: the scan to store, or why it is refused.
Accept: TypeAlias = Callable[[NewScan], NewScan | ServiceError]


class CopyCatalog(Protocol):
    """Copies between the collections of one workspace."""

    def copy_scans(
        self,
        workspace_id: str,
        source: str,
        target: str,
        scan_ids: Sequence[str],
        *,
        encoder_id: str,
        accept: Accept,
    ) -> list[StoredScan | ServiceError]:
        """Store scans of ``source`` in ``target`` too, in one transaction; item i answers scan i.

        Answers are those of ``add_scans``, and UnknownItem for a scan that ``source`` does not
        have. An erasure comes before the copy or after it, and in both cases nothing is left.

        Args:
            accept: called in the transaction, once for each scan that was found.

        Raises:
            UnknownItem: no such collections.
            InputError: both are the same collection.
            EncoderMismatch: one of them is bound to another encoder.
            QuotaExceeded: the workspace may not store more.
        """
