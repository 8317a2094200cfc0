"""What an entry of the audit log says, and how its names are kept from saying more.

No entry holds a body, a label, a file name or a vector. Ids of patients, studies and scans that a
client chose stand in it as keyed digests, and so does any name of a request that was refused, which
may be anything that somebody typed.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from service.access.keys import Caller
from service.catalog.audit.audit_records import SERVICE_CHAIN as SERVICE_CHAIN
from service.catalog.audit.audit_records import Draft, settled
from service.catalog.ids import now
from service.catalog.plain_text import name_of
from service.errors import PseudonymKeyMissing

Outcome: TypeAlias = Literal["begun", "ok", "refused", "failed"]
Digest: TypeAlias = Callable[[str, str], str]  # kind, name -> keyed digest
# Kind, name -> what the workspace stores for it. Raises PseudonymKeyMissing.
StoredName: TypeAlias = Callable[[str, str], str]
SECRET_KINDS = frozenset({"subject", "study", "scan"})
NAMED_KINDS = ("subject", "study", "scan", "collection", "classifier", "workspace")
MAX_NAMES = 100  # of one kind in one entry; more are counted
# Ids that the service makes say nothing of anybody. Each form belongs to its kind: the number of a
# version looks like that of a patient.
_GENERATED = {
    "scan": re.compile("scn_[0-9a-f]{20}"),
    "key": re.compile("key_[0-9a-f]{20}"),
    "operation": re.compile("op_[0-9a-f]{20}"),
    "version": re.compile("[0-9]{1,9}"),
}
_DIGEST_DIGITS = 32  # 128 bits


def as_given(kind: str, name: str) -> str:
    """What a workspace stores for a name where it makes no pseudonyms."""
    return name


@dataclass(frozen=True, slots=True)
class Who:
    """Who acted: a ``key``, a ``token``, ``nobody`` (no key is asked for), an ``unknown`` one, the
    ``service`` itself, or a ``command``; ``id`` names it among its kind."""

    kind: str
    id: str = ""
    roles: tuple[str, ...] = ()


SERVICE = Who("service")
UNKNOWN = Who("unknown")


@dataclass(slots=True)
class AuditEvent:
    """Something that happened, before it is written.

    Attributes:
        chain: id of the workspace, or SERVICE_CHAIN.
        action: name of the operation, as in the OpenAPI document, or of the work.
        names: {kind: names} of what it concerned.
        are_known: whether the names are of things that exist, so that they may be written.
        status: of the HTTP answer; 0 = there is none.
        times: how often, for refusals that are summed up.
        facts: whole numbers, such as how many scans expired.
        stored: gives the pseudonyms of the workspace. Digests are of these, so that whatever
            concerned a patient has the same one, whichever id the request had.
    """

    chain: str
    action: str
    who: Who
    outcome: Outcome
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    are_known: bool = True
    status: int = 0
    code: str = ""
    request_id: str = ""
    times: int = 1
    facts: Mapping[str, int] = field(default_factory=dict)
    at: str = field(default_factory=now)
    stored: StoredName = as_given

    def draft(self, digest: Digest) -> Draft:
        """The entry; empty members are left out."""
        who: dict[str, Any] = {"kind": self.who.kind, "id": settled(self.who.id)}
        if self.who.roles:
            who["roles"] = [settled(role) for role in self.who.roles]
        fields: dict[str, Any] = {
            "at": self.at,
            "action": self.action,
            "who": who,
            "outcome": self.outcome,
        }
        names = {kind: self._written(kind, names, digest) for kind, names in self.names.items()}
        counts = {kind: len(n) for kind, n in self.names.items() if len(n) > MAX_NAMES}
        optional = {
            "names": names,
            "counts": counts,
            "status": self.status,
            "code": self.code,
            "request": self.request_id,
            "times": self.times if self.times > 1 else 0,
            "facts": dict(self.facts),
        }
        return Draft(
            self.chain, fields | {name: value for name, value in optional.items() if value}
        )

    def _written(self, kind: str, names: Iterable[str], digest: Digest) -> list[str]:
        is_plain = self.are_known and kind not in SECRET_KINDS
        generated = _GENERATED.get(kind)
        written = [
            settled(name)
            if is_plain or (generated is not None and generated.fullmatch(name))
            else digest(kind, self._stored(kind, name))
            for name in list(names)[:MAX_NAMES]
        ]
        return list(dict.fromkeys(written))

    def _stored(self, kind: str, name: str) -> str:
        try:
            return self.stored(kind, name)
        except PseudonymKeyMissing:  # the request fails for it, and has an entry all the same
            return name


def who_is(caller: Caller) -> Who:
    """The author of a request."""
    author_id = caller.author.key_id or ""
    if not author_id:
        return Who("nobody", roles=caller.roles)
    return Who("key" if author_id.startswith("key_") else "token", author_id, caller.roles)


def outcome_of(status: int) -> Outcome:
    """What an HTTP status means for the log."""
    if status < 400:
        return "ok"
    return "refused" if status < 500 else "failed"


def keyed_digest(key: bytes, kind: str, name: str) -> str:
    """HMAC-SHA256 of a name in the form in which the catalog keeps it."""
    message = f"{kind}\0{name_of(name)}".encode(errors="replace")
    return "d_" + hmac.new(key, message, hashlib.sha256).hexdigest()[:_DIGEST_DIGITS]


def named(key: bytes, name: str, stored: StoredName) -> tuple[str, ...]:
    """All forms in which an entry may hold a name: plain, and digests of what is stored for it.

    Digests of the name as it was given too: there may be entries from before a policy of
    pseudonyms. Raises PseudonymKeyMissing.
    """
    pairs = [(kind, form) for kind in NAMED_KINDS for form in (name, stored(kind, name))]
    return (name, *dict.fromkeys(keyed_digest(key, kind, form) for kind, form in pairs))
