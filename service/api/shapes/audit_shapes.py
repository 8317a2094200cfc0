"""The shapes of the audit log."""

from typing import Any, Literal, Self

from pydantic import Field

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
