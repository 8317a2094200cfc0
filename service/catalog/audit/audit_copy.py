"""Copying chains from one store to another: into the archive, out of it, into a database."""

from service.catalog.audit.audit_records import AuditHead, AuditStore, empty_head
from service.errors import AuditDiffers

ENTRIES_AT_ONCE = 1000


def copy_chains(source: AuditStore, target: AuditStore) -> int:
    """Append to each chain of the target what the source has more; return how many entries.

    Keys of digests that the source has no more are destroyed in the target as well.

    Raises:
        AuditDiffers: a chain of the target is not the beginning of that of the source.
        AuditFailure: one cannot be read or written.
    """
    reached = {head.chain: head for head in target.heads()}
    keys = source.digest_keys()
    beginnings = source.beginnings()
    copied = 0
    for head in source.heads():
        at = reached.get(head.chain, empty_head(head.chain))
        if at.seq == 0 and head.chain in beginnings:
            at = beginnings[head.chain]
            target.begin_after(at)
        if at != beginnings.get(head.chain):
            _require_beginning(source, at)
        key = {head.chain: keys[head.chain]} if head.chain in keys else {}
        after = at.seq
        while entries := source.read(head.chain, after=after, limit=ENTRIES_AT_ONCE):
            target.copy_in(entries, key)
            after = entries[-1].seq
            copied += len(entries)
        if key:
            target.copy_in((), key)
    for chain in target.digest_keys().keys() - keys.keys():
        target.destroy_digest_key(chain)
    return copied


def _require_beginning(source: AuditStore, head: AuditHead) -> None:
    """Raises AuditDiffers: the source has another entry, or none, where the target ends."""
    if head.seq == 0:
        return
    here = source.read(head.chain, after=head.seq - 1, limit=1)
    if not here or (here[0].seq, here[0].sha256) != (head.seq, head.sha256):
        raise AuditDiffers(
            f"the copy of an audit chain differs from the chain at or before its entry {head.seq}"
        )
