"""The copy of the audit log beside the backups, and what a restore says in the log."""

import logging
from contextlib import closing
from pathlib import Path

from service.access.audit.audit_entries import AuditEvent, Who, keyed_digest
from service.access.audit.audit_heads import HeadsFile
from service.access.audit.audit_verification import RESTORED
from service.catalog.audit.audit_copy import copy_chains
from service.catalog.audit.audit_place import archive_in
from service.catalog.audit.audit_records import AuditHead, AuditStore, Draft, empty_head
from service.catalog.audit.sqlite_audit import AUDIT_FILE
from service.catalog.ids import now
from service.errors import AuditDiffers, AuditFailure

log = logging.getLogger(__name__)


def archive(store: AuditStore, folder: Path) -> int:
    """Append to the copy in a folder of backups what it lacks; return how many entries.

    A copy that is not the beginning of the log is put aside, because it may be the true one.

    Raises:
        AuditFailure: the folder cannot be written.
    """
    try:
        with closing(archive_in(folder)) as copy:
            try:
                return copy_chains(store, copy)
            except AuditDiffers:  # a command may copy at the same time: then it has grown
                return copy_chains(store, copy)
    except AuditDiffers as error:
        aside = folder / f"{AUDIT_FILE}.differs-{now().replace(':', '')}"
        try:
            (folder / AUDIT_FILE).rename(aside)
        except OSError:
            raise AuditFailure("the folder of backups cannot be written") from error
        log.error("audit log differs from its copy beside the backups", extra={"file": aside.name})
        with closing(archive_in(folder)) as copy:
            return copy_chains(store, copy)


def bring_back(store: AuditStore, folder: Path, heads: HeadsFile, who: Who) -> int:
    """After a restore: take a lost log from beside the backups, and say what is missing.

    Returns:
        The number of entries that are lost, by the heads that were noted.
    """
    if not store.heads() and (folder / AUDIT_FILE).is_file():
        with closing(archive_in(folder)) as copy:
            copy_chains(copy, store)
    return mark_restored(store, heads, who)


def mark_restored(store: AuditStore, heads: HeadsFile, who: Who) -> int:
    """Write into each chain that is behind its noted heads up to which entry it had been.

    Returns:
        The number of entries that are lost.
    """
    reached = {head.chain: head for head in store.heads()}
    furthest: dict[str, AuditHead] = {}
    for head in heads.read():
        if head.seq >= furthest.get(head.chain, head).seq:
            furthest[head.chain] = head
    lost = 0
    for chain, head in sorted(furthest.items()):
        end = reached.get(chain, empty_head(chain))
        if head.seq > end.seq:
            lost += head.seq - end.seq
            facts = {"reached": head.seq}
            write_now(store, AuditEvent(chain, RESTORED, who, "ok", facts=facts))
    return lost


def write_now(store: AuditStore, event: AuditEvent) -> None:
    """Write one entry, without an ``AuditLog``. Raises AuditFailure."""
    store.append([drafted(store, event)])


def drafted(store: AuditStore, event: AuditEvent) -> Draft:
    """The entry of an event, with digests under the key of its chain. Raises AuditFailure."""
    return event.draft(lambda kind, name: keyed_digest(store.digest_key(event.chain), kind, name))
