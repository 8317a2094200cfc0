"""Whether the examples of a new version are still those that the fit has read."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from service.errors import Erased

ScanName: TypeAlias = tuple[str, str] | None  # (collection, scan_id); None = an upload
# (collection, scan_id) -> (row_id, sha256) of the scans that exist.
ScanRows: TypeAlias = Mapping[ScanName, tuple[int, str]]


def kept_rows(
    scans: Sequence[ScanName], sha256s: Sequence[str | None], rows: ScanRows
) -> list[int | None]:
    """The row id of each scan; None for an upload, and for a scan that is gone.

    A scan of another file has taken the id of one that was deleted.
    """
    found: list[int | None] = []
    for scan, sha256 in zip(scans, sha256s, strict=True):
        row_id, stored = rows.get(scan, (None, None))
        found.append(row_id if sha256 is None or sha256 == stored else None)
    return found


def lost_scans(scans: Sequence[ScanName], row_ids: Sequence[int | None]) -> int:
    """How many of the scans are gone."""
    pairs = zip(scans, row_ids, strict=True)
    return sum(scan is not None and row_id is None for scan, row_id in pairs)


def require_kept(lost: int, gone: int) -> None:
    """Raises Erased: of the examples of a version more are lost than were gone when it was made."""
    if lost > gone:
        raise Erased(
            f"{lost - gone} examples were erased or deleted while the version was made: try again"
        )
