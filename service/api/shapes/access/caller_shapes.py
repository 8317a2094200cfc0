"""What a caller is told of itself."""

from typing import Literal, Self

from pydantic import Field

from service.access.audit.audit_entries import who_is
from service.access.keys import Caller
from service.api.shapes.access.key_shapes import LIMITS_HELP
from service.api.shapes.base import TIME, Answer


class CallerAnswer(Answer):
    """Who the caller is, and what the key or access token allows."""

    kind: Literal["key", "token", "nobody"] = Field(
        description="nobody: the service asks for no key, and everybody may do everything."
    )
    key_id: str | None = Field(description="Of a token: a digest of issuer and subject.")
    name: str | None = Field(description="Of the key; of a token, its subject and issuer.")
    workspace: str = Field(examples=["default"])
    roles: list[str]
    scopes: list[str] = Field(description="All that it may do, those of its roles included.")
    expires_at: str | None = Field(description="Null: never.", examples=[TIME])
    collections: list[str] | None = Field(description=LIMITS_HELP)
    classifiers: list[str] | None = Field(description=LIMITS_HELP)

    @classmethod
    def of(cls, caller: Caller, workspace: str) -> Self:
        """The answer for a caller of the workspace with this name."""
        author, limits = caller.author, caller.limits
        return cls.of_record(
            caller,
            kind=who_is(caller).kind,
            key_id=author.key_id,
            name=author.key_name,
            workspace=workspace,
            roles=list(caller.roles),
            scopes=sorted(caller.scopes),
            expires_at=caller.expires_at,
            collections=None if limits.collections is None else list(limits.collections),
            classifiers=None if limits.classifiers is None else list(limits.classifiers),
        )
