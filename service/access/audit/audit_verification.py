"""Verifying the chains of an audit log: whether entries were changed, removed or cut off."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, TypeAlias

from service.catalog.audit.audit_records import (
    AuditFilter,
    AuditHead,
    AuditStore,
    ChainedEntry,
    empty_head,
    link,
)

ENTRIES_AT_ONCE = 1000
RESTORED = "audit.restored"
MOVED = "audit.moved"
MAX_TOLD = 1000  # newest entries of MOVED that are looked at
Archived: TypeAlias = Callable[[str], Iterator[ChainedEntry]]
MAX_FINDINGS = 100  # of one chain
FindingKind: TypeAlias = Literal["changed", "missing", "cut", "head"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written.

    Attributes:
        kind: ``changed``: the entry does not give its digest; ``missing``: entries before this one
            are gone; ``cut``: entries from this one on are gone; ``head``: the chain agrees with
            itself, and differs from a head that was noted elsewhere.
        seq: number of the entry; of a head: the one that was noted.
        agrees_until: number of the last entry that a noted head confirms before it.
    """

    kind: FindingKind
    seq: int
    agrees_until: int = 0


@dataclass(slots=True)
class Verification:
    """What was found in one chain.

    Attributes:
        entries: how many were read.
        heads: how many noted heads were compared.
        confirmed: number of the last entry that a noted head confirms; later ones could be cut off
            unnoticed.
        restored: (first missing entry, last one) that restores have lost, by their own entries.
        moved: number of the last entry that was moved into a file and was not read.
        last: number of the last entry that was read.
        is_whole: whether the end of the chain was reached.
    """

    chain: str
    entries: int = 0
    heads: int = 0
    confirmed: int = 0
    restored: list[tuple[int, int]] = field(default_factory=list)
    moved: int = 0
    last: int = 0
    is_whole: bool = True
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def verify(
    store: AuditStore, noted: Iterable[AuditHead], archived: Archived | None = None
) -> list[Verification]:
    """Verify all chains against themselves and against noted heads; also chains that are gone.

    Args:
        archived: the entries of a chain that were moved into files, oldest first.
    """
    heads_of: defaultdict[str, list[AuditHead]] = defaultdict(list)
    for head in noted:
        heads_of[head.chain].append(head)
    chains = sorted({head.chain for head in store.heads()} | heads_of.keys())
    return [verify_chain(store, chain, heads_of[chain], archived=archived) for chain in chains]


def differing(store: AuditStore, noted: Iterable[AuditHead]) -> list[str]:
    """The chains that do not hold the head that was noted last, by reading one entry of each."""
    newest = {head.chain: head for head in noted}
    chains: list[str] = []
    for chain, head in sorted(newest.items()):
        found = store.read(chain, after=head.seq - 1, limit=1) if head.seq else ()
        if head.seq and [(entry.seq, entry.sha256) for entry in found] != [(head.seq, head.sha256)]:
            chains.append(chain)
    return chains


def verify_chain(
    store: AuditStore,
    chain: str,
    noted: Sequence[AuditHead],
    *,
    archived: Archived | None = None,
    after: int = 0,
    limit: int | None = None,
) -> Verification:
    """Verify one chain, or a part of it.

    Args:
        noted: heads that were written elsewhere.
        archived: as in ``verify``; without it the chain begins where the store's entries do.
        after: number of the entry behind which the part begins; its digest is believed.
        limit: entries of the part; None = all.
    """
    kept = store.head(chain)  # beside the entries
    moved = None if archived is not None else store.beginning(chain)
    start = _start(store, moved or empty_head(chain), after)
    result = Verification(chain, moved=0 if moved is None else moved.seq, last=start.seq)
    if start.seq < after:
        _add(result, Finding("cut", after))
        return result
    if moved is not None and not _says_so(store, moved):
        _add(result, Finding("missing", moved.seq + 1))
    asked = {head.seq for head in noted}
    digests: dict[int, str] = {start.seq: start.sha256}
    restores: list[_Restore] = []
    expected, previous = start.seq + 1, bytes.fromhex(start.sha256)
    for entry in islice(_entries(store, chain, archived, start.seq), limit):
        result.entries += 1
        if entry.seq != expected:
            _add(result, Finding("missing", entry.seq))
        elif link(previous, entry.text).hex() != entry.sha256 or not _is_in_place(entry):
            _add(result, Finding("changed", entry.seq))
        if entry.seq in asked or entry.seq == kept.seq:
            digests[entry.seq] = entry.sha256
        if RESTORED in entry.text:
            restores += _restores(entry)
        expected, previous = entry.seq + 1, bytes.fromhex(entry.sha256)
    result.last = expected - 1
    result.is_whole = limit is None or result.entries < limit or result.last >= kept.seq
    if result.is_whole:
        _compare_end(store, result, kept, digests)
    result.restored = [(restore.first, restore.last) for restore in restores]
    # That of the entry before belongs to the part before; that of a moved one is known here only.
    first = max(start.seq, after + 1 if after else 0)
    reached = [h for h in noted if first <= h.seq and (result.is_whole or h.seq <= result.last)]
    _compare(result, reached, digests, restores)
    return result


def _start(store: AuditStore, beginning: AuditHead, after: int) -> AuditHead:
    """What the first entry of the part must continue; before ``after`` if there is no such one."""
    if after <= beginning.seq:
        return beginning
    found = store.read(beginning.chain, after=after - 1, limit=1)
    if not found or found[0].seq != after:
        return beginning
    return AuditHead(beginning.chain, after, found[0].sha256, "")


def _says_so(store: AuditStore, moved: AuditHead) -> bool:
    """Whether an entry of the chain tells that its beginning was moved out, as it was."""
    told = store.find(moved.chain, AuditFilter(action=MOVED), limit=MAX_TOLD)
    return any(
        entry.fields.get("facts") == {"last": moved.seq}
        and entry.fields.get("names") == {"sha256": [moved.sha256]}
        for entry in told
    )


def _compare_end(
    store: AuditStore, result: Verification, kept: AuditHead, digests: dict[int, str]
) -> None:
    """Find a tail that was cut off. Entries may have come since the kept head was read."""
    if result.last < kept.seq or digests.get(kept.seq, kept.sha256) != kept.sha256:
        _add(result, Finding("cut", min(result.last + 1, kept.seq)))
    elif result.last > kept.seq and store.head(result.chain).seq < result.last:
        _add(result, Finding("cut", result.last + 1))


@dataclass(frozen=True, slots=True)
class _Restore:
    """An entry that says which entries a restore has lost."""

    first: int
    last: int
    at: str


def _entries(
    store: AuditStore, chain: str, archived: Archived | None, after: int
) -> Iterator[ChainedEntry]:
    """Entries above a number: those in files, and then those of the store."""
    if archived is not None:
        for entry in archived(chain):
            yield entry
            after = entry.seq
    while entries := store.read(chain, after=after, limit=ENTRIES_AT_ONCE):
        yield from entries
        after = entries[-1].seq


def _is_in_place(entry: ChainedEntry) -> bool:
    """Whether the text says the chain and the number of its row."""
    try:
        fields = entry.fields
    except ValueError:
        return False
    return (fields.get("chain"), fields.get("seq")) == (entry.chain, entry.seq)


def _restores(entry: ChainedEntry) -> list[_Restore]:
    try:
        fields = json.loads(entry.text)
        if fields["action"] != RESTORED:
            return []
        return [_Restore(entry.seq, fields["facts"]["reached"], fields["at"])]
    except (KeyError, TypeError, ValueError):
        return []


def _compare(
    result: Verification,
    noted: Sequence[AuditHead],
    digests: dict[int, str],
    restores: Sequence[_Restore],
) -> None:
    """Compare noted heads, by number, with the digests of these entries."""
    for head in sorted(noted, key=lambda head: (head.seq, head.at)):
        result.heads += 1
        if digests.get(head.seq) == head.sha256:
            result.confirmed = head.seq
        elif not any(r.first <= head.seq <= r.last and head.at <= r.at for r in restores):
            kind: FindingKind = "head" if head.seq in digests else "cut"
            _add(result, Finding(kind, head.seq, result.confirmed))


def _add(result: Verification, finding: Finding) -> None:
    if len(result.findings) < MAX_FINDINGS:
        result.findings.append(finding)
