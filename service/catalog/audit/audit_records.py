"""Entries of the audit log, and how they are chained.

An entry is the canonical JSON (RFC 8785) of its fields. Its digest is SHA-256 of the digest before
it and of that text, so an entry that is changed, moved or left out breaks the chain behind it. Each
workspace has a chain of its own, and the service has one for what concerns no workspace.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from service.catalog.ids import now

SERVICE_CHAIN = "service"  # what concerns no workspace
GENESIS = bytes(32)  # the digest before the first entry
MAX_TEXT = 200  # characters of one value
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
Fields: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has a place: ``fields`` are texts, whole numbers, lists and objects."""

    chain: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class ChainedEntry:
    """An entry in its place; ``text`` is what is hashed, ``sha256`` is hexadecimal."""

    chain: str
    seq: int
    text: str
    sha256: str

    @property
    def fields(self) -> dict[str, Any]:
        """What the text says. Raises ValueError: it is not a JSON object."""
        fields = json.loads(self.text)
        if not isinstance(fields, dict):
            raise ValueError("expected a JSON object")
        return fields


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of a chain at a moment; ``seq`` 0 = it has no entry."""

    chain: str
    seq: int
    sha256: str
    at: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are asked for; None = any.

    Attributes:
        author: id of a key, subject of a token, or user of a command.
        outcome: ``ok``, ``refused`` (4xx), ``failed`` (5xx) or ``open`` (begun).
        since, until: timestamps; the first is inclusive.
        named: texts of which the entry holds one as a whole value, such as an id or its digest.
    """

    action: str | None = None
    author: str | None = None
    outcome: str | None = None
    since: str | None = None
    until: str | None = None
    named: tuple[str, ...] = ()


class AuditStore(Protocol):
    """The chains of one catalog. Append-only, blocking, thread safe.

    What ``append`` and ``copy_in`` were given is on disk when they return. Any method raises
    AuditFailure where the store cannot be read or written; AuditFull where its disk is full.
    """

    def append(self, drafts: Sequence[Draft]) -> None:
        """Chain entries in this order, all or none."""

    def heads(self) -> tuple[AuditHead, ...]:
        """The ends of all chains, by name."""

    def head(self, chain: str) -> AuditHead:
        """The end of one chain."""

    def read(self, chain: str, *, after: int, limit: int) -> tuple[ChainedEntry, ...]:
        """Entries above the number ``after``, oldest first."""

    def find(
        self, chain: str, wanted: AuditFilter, *, limit: int, before: int | None = None
    ) -> tuple[ChainedEntry, ...]:
        """Entries that pass, newest first, below the number ``before``."""

    def digest_key(self, chain: str) -> bytes:
        """The key of the digests in a chain, 32 bytes; made at the first call."""

    def destroy_digest_key(self, chain: str) -> None:
        """Forget the key for ever: nobody can tell any more whose digests the entries hold."""

    def digest_keys(self) -> dict[str, bytes]:
        """The keys of all chains."""

    def copy_in(self, entries: Sequence[ChainedEntry], keys: Mapping[str, bytes]) -> None:
        """Append entries of one chain as they are, and take over keys of digests.

        Raises:
            AuditDiffers: they do not continue the chain.
        """

    def beginnings(self) -> dict[str, AuditHead]:
        """The last entry that was moved out of each chain; a whole chain has none."""

    def beginning(self, chain: str) -> AuditHead | None:
        """The last entry that was moved out of one chain; None = it is whole."""

    def begin_after(self, moved: AuditHead) -> None:
        """Let a chain without entries begin behind those that were moved out of another store."""

    def require_movable(self) -> None:
        """Raises NotSupported: the role of the database may not delete entries."""

    def move_out(self, moved: AuditHead, said: Draft) -> None:
        """Delete the entries up to one, and append the entry that says so: both or neither.

        Raises:
            AuditDiffers: that entry is another one.
        """

    def close(self) -> None:
        """Release the store."""


def canonical(fields: Fields) -> str:
    """Canonical JSON (RFC 8785) of ASCII names, ``settled`` texts and whole numbers below 2^53.

    For these the standard encoder writes what the RFC demands; a test compares both.
    """
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def chained(head: AuditHead, drafts: Sequence[Draft]) -> list[ChainedEntry]:
    """The entries of drafts behind a head of their chain, in order."""
    entries: list[ChainedEntry] = []
    seq, previous = head.seq, bytes.fromhex(head.sha256)
    for draft in drafts:
        seq += 1
        text = canonical({**draft.fields, "chain": draft.chain, "seq": seq})
        previous = link(previous, text)
        entries.append(ChainedEntry(draft.chain, seq, text, previous.hex()))
    return entries


def link(previous: bytes, text: str) -> bytes:
    """The digest of an entry: SHA-256 of the digest before it and of its text."""
    return hashlib.sha256(previous + text.encode()).digest()


def continues(head: AuditHead, entries: Sequence[ChainedEntry]) -> bool:
    """Whether entries follow a head without a gap, with their own digests."""
    seq, previous = head.seq, bytes.fromhex(head.sha256)
    for entry in entries:
        seq += 1
        previous = link(previous, entry.text)
        if (entry.chain, entry.seq, entry.sha256) != (head.chain, seq, previous.hex()):
            return False
    return True


def empty_head(chain: str) -> AuditHead:
    """The end of a chain without entries."""
    return AuditHead(chain, 0, GENESIS.hex(), now())


def by_chain(drafts: Sequence[Draft]) -> dict[str, list[Draft]]:
    """The drafts of each chain, in the order of the chains' names: locks are taken in it."""
    grouped: dict[str, list[Draft]] = {}
    for draft in drafts:
        grouped.setdefault(draft.chain, []).append(draft)
    return dict(sorted(grouped.items()))


def settled(text: str) -> str:
    """A text that canonical JSON and every engine can hold, cut to ``MAX_TEXT`` characters."""
    return _CONTROL.sub("?", text[:MAX_TEXT])


def as_value(text: str) -> str:
    """How a text stands in an entry as a whole value, with its quotes."""
    return json.dumps(settled(text), ensure_ascii=False)
