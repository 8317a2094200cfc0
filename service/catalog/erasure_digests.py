"""Which scans, subjects and studies erasures are of, found by their digests."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from service.catalog.erasure_ledger import (
    Erasure,
    ErasureKind,
    collection_digest,
    digest_of_kind,
    new_erasure,
    scan_digest,
)
from service.catalog.ids import subject_digest, timestamp
from service.catalog.plain_text import name_of
from service.catalog.records import NewScan
from service.errors import Erased, ServiceError


def erasure_of(column: str, workspace_id: str, value: str) -> Erasure:
    """The record of an erasure that happens now, of the column ``subject_id`` or ``study_id``."""
    if column == "subject_id":
        return new_erasure("subject", workspace_id, subject_digest(workspace_id, value))
    return new_erasure("study", workspace_id, digest_of_kind("study", workspace_id, value))


def was_erased(times: Mapping[tuple[str, str], str], workspace_id: str, scan: NewScan) -> bool:
    """Whether the subject or study of a scan was erased after the scan was first stored.

    Args:
        times: (kind, digest) -> time of the last erasure.
    """
    digests: list[tuple[str, str]] = []
    if scan.subject_id is not None:
        digests.append(("subject", subject_digest(workspace_id, name_of(scan.subject_id))))
    if scan.study_id is not None:
        study_id = name_of(scan.study_id)
        digests.append(("study", digest_of_kind("study", workspace_id, study_id)))
    made_at = scan.created_at
    return made_at is not None and any(made_at <= times.get(digest, "") for digest in digests)


def unless_erased(
    scans: Sequence[NewScan],
    times: Mapping[tuple[str, str], str],
    workspace_id: str,
    named: Callable[[NewScan], NewScan],
) -> list[NewScan | ServiceError]:
    """Each scan, or an Erased in its place.

    Args:
        times: as ``was_erased``.
        named: gives a scan the pseudonyms of the workspace. An erasure names those, and an old
            export may still have the ids as they were given.
    """
    gone = Erased("the subject or study of the scan was erased after the scan was first stored")
    return [
        gone
        if was_erased(times, workspace_id, scan) or was_erased(times, workspace_id, named(scan))
        else scan
        for scan in scans
    ]


class ErasuresSince:
    """Erasures that a catalog does not know, by what they are of.

    Args:
        by_time: whether an erasure leaves what was made later.
        tolerance: by which clocks may differ that measured these times.
    """

    def __init__(
        self, erasures: Sequence[Erasure], *, by_time: bool, tolerance: timedelta = timedelta(0)
    ) -> None:
        self.erasures = erasures
        self.of_scans = any(e.kind in ("scan", "row", "subject", "study") for e in erasures)
        self._times: dict[tuple[str, str, str], str] | None = {} if by_time else None
        self._known: set[tuple[str, str, str]] = set()
        for erasure in erasures:
            key = (erasure.kind, erasure.workspace_id, erasure.digest)
            self._known.add(key)
            if self._times is not None:
                until = erasure.erased_at
                if tolerance:
                    until = timestamp(datetime.fromisoformat(until) + tolerance)
                self._times[key] = max(until, self._times.get(key, ""))

    def has(self, kind: ErasureKind, workspace_id: str, digest: str, made_at: str = "") -> bool:
        """Whether this was erased; by time: and was not made afterwards."""
        key = (kind, workspace_id, digest)
        return key in self._known and (self._times is None or made_at <= self._times[key])

    def has_collection(
        self, kind: ErasureKind, row: Mapping[str, Any], *, made_at: str = ""
    ) -> bool:
        """Whether a row of ``collections`` was erased, or lost its kept images (by the kind).

        Args:
            made_at: as for ``has``; it matters only where an earlier program noted the erasure.
        """
        owner, number = row["workspace_id"], row["collection_id"]
        return self.has(
            kind, owner, collection_digest(owner, number, row["created_at"])
        ) or self.has(kind, owner, digest_of_kind(kind, owner, number), made_at)

    def has_scan(self, row: Mapping[str, Any], made_at: str) -> bool:
        """Whether a row of ``scans`` was erased, alone or with its subject or study."""
        owner, row_id = row["workspace_id"], row["row_id"]
        return (
            self.has("scan", owner, scan_digest(owner, row_id, row["sha256"]))
            or self.has("row", owner, str(row_id))
            or self.has_owner(row, made_at)
        )

    def has_owner(self, row: Mapping[str, Any], made_at: str) -> bool:
        """Whether the subject or study of a row was erased."""
        owner = row["workspace_id"]
        return any(
            self.has("subject", owner, subject_digest(owner, text), made_at)
            for text in _forms(row["subject_id"])
        ) or any(
            self.has("study", owner, digest_of_kind("study", owner, text), made_at)
            for text in _forms(row["study_id"])
        )


def _forms(name: str | None) -> Iterable[str]:
    """The forms of a name of which digests were made: schema 1 made them of ids as sent."""
    return () if name is None else {name, name_of(name)}
