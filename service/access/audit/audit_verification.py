"""Verifying the chains of an audit log: whether entries were changed, removed or cut off."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from service.catalog.audit.audit_records import (
    GENESIS,
    AuditHead,
    AuditStore,
    ChainedEntry,
    link,
)

ENTRIES_AT_ONCE = 1000
RESTORED = "audit.restored"
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
    """

    chain: str
    entries: int = 0
    heads: int = 0
    confirmed: int = 0
    restored: list[tuple[int, int]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def verify(store: AuditStore, noted: Iterable[AuditHead]) -> list[Verification]:
    """Verify all chains against themselves and against noted heads; also chains that are gone."""
    heads_of: defaultdict[str, list[AuditHead]] = defaultdict(list)
    for head in noted:
        heads_of[head.chain].append(head)
    kept = {head.chain: head for head in store.heads()}
    chains = sorted(kept.keys() | heads_of.keys())
    return [verify_chain(store, chain, kept.get(chain), heads_of[chain]) for chain in chains]


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
    store: AuditStore, chain: str, kept: AuditHead | None, noted: Sequence[AuditHead]
) -> Verification:
    """Verify one chain.

    Args:
        kept: the head that the store keeps beside the entries.
        noted: heads that were written elsewhere.
    """
    result = Verification(chain)
    asked = {head.seq for head in noted}
    digests: dict[int, str] = {0: GENESIS.hex()}
    restores: list[_Restore] = []
    expected, previous = 1, GENESIS
    for entry in _entries(store, chain):
        result.entries += 1
        if entry.seq != expected:
            _add(result, Finding("missing", entry.seq))
        elif link(previous, entry.text).hex() != entry.sha256 or not _is_in_place(entry):
            _add(result, Finding("changed", entry.seq))
        if entry.seq in asked:
            digests[entry.seq] = entry.sha256
        if RESTORED in entry.text:
            restores += _restores(entry)
        expected, previous = entry.seq + 1, bytes.fromhex(entry.sha256)
    last = (expected - 1, previous.hex())
    if kept is not None and (kept.seq, kept.sha256) != last:
        _add(result, Finding("cut", expected))
    result.restored = [(restore.first, restore.last) for restore in restores]
    _compare(result, noted, digests, restores)
    return result


@dataclass(frozen=True, slots=True)
class _Restore:
    """An entry that says which entries a restore has lost."""

    first: int
    last: int
    at: str


def _entries(store: AuditStore, chain: str) -> Iterator[ChainedEntry]:
    after = 0
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
