"""The shapes of the audit log."""

from typing import Any, Literal, Self

from pydantic import Field

from service.access.audit.audit_verification import Verification
from service.api.shapes.base import TIME, Answer, PageAnswer


class AuditAuthorAnswer(Answer):
    """Who acted."""

    kind: Literal["key", "token", "nobody", "unknown", "service", "command"]
    id: str = Field(description="Of the key, the subject of the token, or the user of a command.")
    roles: list[str] | None = Field(None, description="When it acted.")


class AuditEntryAnswer(Answer):
    """One entry. Without ``sha256``, its canonical JSON (RFC 8785) is what is hashed."""

    chain: str = Field(description="Id of the workspace.")
    seq: int = Field(description="Number in the chain, from 1.")
    at: str = Field(examples=[TIME])
    action: str = Field(examples=["predict_items"])
    who: AuditAuthorAnswer
    outcome: Literal["begun", "ok", "refused", "failed"]
    names: dict[str, list[str]] | None = Field(
        None, description="What it concerned, by kind; d_... is a keyed digest."
    )
    counts: dict[str, int] | None = Field(None, description="How many, where names are left out.")
    status: int | None = Field(None, description="Of the HTTP answer.")
    code: str | None = Field(None, description="Of the problem.")
    request: str | None = Field(None, description="The request id.")
    times: int | None = Field(None, description="How many further equal refusals are summed up.")
    facts: dict[str, int] | None = None
    sha256: str = Field(description="Of the digest before this entry and of the entry.")

    @classmethod
    def of(cls, fields: dict[str, Any], sha256: str) -> Self:
        """The answer for the fields of an entry."""
        return cls.model_validate(fields | {"sha256": sha256})


class AuditPage(PageAnswer):
    """Entries of the workspace, newest first."""

    items: list[AuditEntryAnswer]


class AuditFindingAnswer(Answer):
    """Something that is not as it was written."""

    kind: Literal["changed", "missing", "cut", "head"] = Field(
        description="changed: the entry does not give its digest; missing: entries before this one "
        "are gone; cut: this one and what followed are gone; head: it differs from a noted head."
    )
    seq: int = Field(description="Number of the entry.")
    agrees_until: int = Field(description="Last entry before it that a noted head confirms.")


class AuditVerificationAnswer(PageAnswer):
    """What a part of the chain says of itself; ``next_cursor`` is null at its end."""

    chain: str = Field(description="Id of the workspace.")
    sound: bool = Field(description="Whether nothing was found in this part.")
    entries: int = Field(description="How many were read.")
    last: int = Field(description="Number of the last entry that was read.")
    confirmed: int = Field(description="Last entry of this part that a noted head confirms.")
    heads: int = Field(description="How many noted heads were compared.")
    moved: int = Field(description="Last entry that was moved into a file, and was not read.")
    restored: list[tuple[int, int]] = Field(
        description="First and last entry that restores have lost, as entries say."
    )
    findings: list[AuditFindingAnswer] = Field(description="At most 100.")

    @classmethod
    def of(cls, found: Verification, next_cursor: str | None) -> Self:
        """The answer for a verified part."""
        return cls(
            next_cursor=next_cursor,
            chain=found.chain,
            sound=found.is_sound,
            entries=found.entries,
            last=found.last,
            confirmed=found.confirmed,
            heads=found.heads,
            moved=found.moved,
            restored=found.restored,
            findings=[
                AuditFindingAnswer(kind=f.kind, seq=f.seq, agrees_until=f.agrees_until)
                for f in found.findings
            ],
        )
