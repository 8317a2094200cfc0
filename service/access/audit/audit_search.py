"""Looking for entries of the audit log."""

from dataclasses import replace
from datetime import datetime

from service.access.audit.audit_entries import StoredName, as_given, named
from service.access.audit.audit_log import AuditLog
from service.catalog.audit.audit_records import AuditFilter, ChainedEntry
from service.catalog.ids import timestamp


def filter_of(
    *,
    action: str | None = None,
    author: str | None = None,
    outcome: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> AuditFilter:
    """Which entries are asked for; the times have a time zone, the first is inclusive.

    Raises:
        InputError: a time is beyond the calendar in UTC.
    """
    times = [None if moment is None else timestamp(moment) for moment in (since, until)]
    return AuditFilter(action, author, outcome, times[0], times[1])


def search(
    audit: AuditLog,
    chain: str,
    wanted: AuditFilter,
    *,
    name: str | None,
    limit: int,
    before: int | None,
    stored: StoredName = as_given,
) -> tuple[tuple[ChainedEntry, ...], int | None]:
    """Entries that pass, newest first, and the number below which the next page begins. Blocks.

    Args:
        name: of what an entry concerns, as plain text or as its keyed digest.
        stored: gives the pseudonyms of the workspace.

    Raises:
        AuditFailure: the log cannot be read.
        PseudonymKeyMissing: entries of a patient of this name could be missed.
    """
    if name is not None:
        wanted = replace(wanted, named=named(audit.key_of(chain), name, stored))
    found = audit.store.find(chain, wanted, limit=limit + 1, before=before)
    page = found[:limit]
    return page, page[-1].seq if len(found) > limit else None
