"""Scans of a collection that become scans of another one too, without their files.

What a collection accepts holds for copies as for uploads.
"""

from collections.abc import Sequence
from functools import partial

from service.catalog.interface import Catalog
from service.catalog.records import StoredScan
from service.errors import ServiceError, TooManyItems
from service.gallery.acceptance import AcceptancePolicy
from service.gallery.gallery_records import Collection

MAX_COPIED = 200  # of one transaction, as in an import


def copied(
    catalog: Catalog,
    workspace_id: str,
    source: Collection,
    target: Collection,
    scan_ids: Sequence[str],
) -> list[StoredScan | ServiceError]:
    """Copy scans; item i answers scan i, as ``Catalog.copy_scans`` and its errors.

    Raises:
        TooManyItems: more than ``MAX_COPIED`` scans.
    """
    if len(scan_ids) > MAX_COPIED:
        raise TooManyItems(f"expected at most {MAX_COPIED} scans, got {len(scan_ids)}")
    policy = AcceptancePolicy.from_json(target.intake)
    copy = partial(catalog.copy_scans, workspace_id, source.name, target.name, scan_ids)
    return copy(encoder_id=target.encoder_id, accept=policy.accepted)
