"""The shapes of API keys."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, StringConstraints

from service.access.key_registry import KeyGrant, KeyRecord, NameLimits
from service.access.keys import grant_until
from service.api.shapes.base import TIME, Answer, Body, PageAnswer, ZonedTime, example_of

RoleName: TypeAlias = Literal["reader", "annotator", "curator", "operator", "auditor", "admin"]
NamePattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\*?$")]
ScopeName = Annotated[str, StringConstraints(max_length=64)]
KeyName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
LIMITS_HELP = "Names that the key may name, or their beginning and `*`; null: all."
MAX_OVERLAP_S = 30 * 86_400.0


class NewKeyBody(Body):
    """A key to create: roles, scopes, or both."""

    model_config = example_of({"name": "bedside 3", "scopes": ["predict"]})

    name: KeyName = Field(description="Who will use the key.")
    roles: list[RoleName] = Field(default_factory=list, max_length=6)
    scopes: list[ScopeName] = Field(
        default_factory=list, max_length=64, description="Beside those of the roles."
    )
    expires_at: ZonedTime | None = Field(None, description="Null: never.")
    collections: list[NamePattern] | None = Field(None, max_length=200, description=LIMITS_HELP)
    classifiers: list[NamePattern] | None = Field(None, max_length=200, description=LIMITS_HELP)

    def grant(self) -> KeyGrant:
        """What the key allows."""
        collections = None if self.collections is None else tuple(self.collections)
        classifiers = None if self.classifiers is None else tuple(self.classifiers)
        limits = NameLimits(collections, classifiers)
        return grant_until(self.roles, self.scopes, self.expires_at, limits)


class KeyRotationBody(Body):
    """How long both keys are valid, and the new one after that."""

    model_config = example_of({"overlap_s": 3600})

    overlap_s: float = Field(86_400.0, ge=0, le=MAX_OVERLAP_S)
    expires_at: ZonedTime | None = Field(
        None, description="Of the successor; null: as the old key."
    )


class KeyAnswer(Answer):
    """An API key, without its secret."""

    key_id: str
    name: str
    roles: list[str]
    scopes: list[str] = Field(description="Beside those of the roles.")
    created_at: str = Field(examples=[TIME])
    expires_at: str | None
    collections: list[str] | None = Field(description=LIMITS_HELP)
    classifiers: list[str] | None = Field(description=LIMITS_HELP)
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
            collections=None if grant.collections is None else list(grant.collections),
            classifiers=None if grant.classifiers is None else list(grant.classifiers),
        )


class KeyCreated(Answer):
    """A new key and its secret, which no other answer shows."""

    key: KeyAnswer
    secret: str = Field(examples=["sp_..."])


class KeyPage(PageAnswer):
    """Keys of the workspace, oldest first."""

    items: list[KeyAnswer]
