"""The shapes of API keys."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AwareDatetime, Field, StringConstraints

from service.access.key_registry import KeyGrant, KeyRecord
from service.access.keys import grant_until
from service.api.shapes.base import TIME, Answer, Body, PageAnswer, example_of

RoleName: TypeAlias = Literal["reader", "annotator", "curator", "operator", "auditor", "admin"]
ScopeName = Annotated[str, StringConstraints(max_length=64)]
KeyName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
MAX_OVERLAP_S = 30 * 86_400.0


class NewKeyBody(Body):
    """A key to create: roles, scopes, or both."""

    model_config = example_of({"name": "bedside 3", "scopes": ["predict"]})

    name: KeyName = Field(description="Who will use the key.")
    roles: list[RoleName] = Field(default_factory=list, max_length=6)
    scopes: list[ScopeName] = Field(
        default_factory=list, max_length=64, description="Beside those of the roles."
    )
    expires_at: AwareDatetime | None = Field(None, description="Null: never.")

    def grant(self) -> KeyGrant:
        """What the key allows."""
        return grant_until(self.roles, self.scopes, self.expires_at)


class KeyRotationBody(Body):
    """How long both keys are valid."""

    model_config = example_of({"overlap_s": 3600})

    overlap_s: float = Field(86_400.0, ge=0, le=MAX_OVERLAP_S)


class KeyAnswer(Answer):
    """An API key, without its secret."""

    key_id: str
    name: str
    roles: list[str]
    scopes: list[str] = Field(description="Beside those of the roles.")
    created_at: str = Field(examples=[TIME])
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None = Field(description="Up to a minute old.")
    replaced_by: str | None = Field(description="Id of the key that a rotation made.")

    @classmethod
    def of(cls, key: KeyRecord) -> Self:
        """The answer for a key."""
        grant = key.grant
        return cls.of_record(
            key,
            roles=list(grant.roles),
            scopes=list(grant.scopes),
            expires_at=grant.expires_at,
        )


class KeyCreated(Answer):
    """A new key and its secret, which no other answer shows."""

    key: KeyAnswer
    secret: str = Field(examples=["sp_..."])


class KeyPage(PageAnswer):
    """Keys of the workspace, oldest first."""

    items: list[KeyAnswer]
