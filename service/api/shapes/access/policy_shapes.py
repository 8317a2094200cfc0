"""The policy of a workspace, and how much it and its keys use."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints

from service.access.policy_store import WorkspacePolicy
from service.api.shapes.base import TIME, Answer, Body, JsonObject, etag, example_of

Limit = Annotated[float, Field(gt=0, le=1e15)]
KeyName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class RateLimits(Body):
    """Rates; null: not limited here."""

    requests_per_minute: Limit | None = None
    images_per_minute: Limit | None = Field(None, description="Each used frame is one.")
    decode_s_per_minute: Limit | None = Field(None, description="Seconds (wall) of decoding.")


class WorkspaceLimits(RateLimits):
    """Rates, and what may be stored; null: not limited here."""

    stored_bytes: Limit | None = Field(
        None, description="Of vectors, thumbnails and kept images of all scans."
    )
    scans: Limit | None = None
    collections: Limit | None = None
    classifiers: Limit | None = None


class KeyLimits(RateLimits):
    """Rates of a key, and what its requests may store; null: not limited here."""

    stored_bytes: Limit | None = Field(
        None, description="Of vectors, thumbnails and kept images of the scans that it stored."
    )
    scans: Limit | None = None
    collections: Limit | None = Field(None, description="That it created.")
    classifiers: Limit | None = Field(None, description="That it created.")


class PolicyRules(Body):
    """What no client can store in the workspace."""

    pseudonyms: bool = Field(
        False,
        description="Ids of subjects and studies become pseudonyms under the key of the workspace "
        "before anything is stored; pseudonyms under it stay.",
    )
    refuse_burned_in: Literal["low", "high"] | None = Field(
        None, description="The lowest burned-in risk that is refused."
    )
    refuse_whole_frames: bool = Field(
        False, description="Refuse files of which the whole frame is used, such as region=none."
    )
    refuse_kept_images: bool = Field(False, description="No collection keeps pixels.")
    refuse_not_ultrasound: bool = Field(
        False, description="Refuse files that fail the encoder's test for ultrasound."
    )


class PolicyBody(Body):
    """The whole policy of a workspace: what is left out does not hold."""

    model_config = example_of(
        {
            "intake": {"pseudonyms": True, "refuse_burned_in": "high"},
            "limits": {"requests_per_minute": 3000, "scans": 100000},
            "each_key": {"requests_per_minute": 600, "stored_bytes": 2e9},
        }
    )

    intake: PolicyRules = Field(default_factory=PolicyRules)
    limits: WorkspaceLimits = Field(default_factory=WorkspaceLimits)
    each_key: KeyLimits = Field(default_factory=KeyLimits, description="Of every key.")
    keys: dict[KeyName, KeyLimits] = Field(
        default_factory=dict, max_length=1000, description="Key id -> further limits of this key."
    )

    def document(self) -> JsonObject:
        """The policy as it is stored."""
        return self.model_dump(exclude_none=True)


class PolicyRulesAnswer(Answer):
    """What no client can store in the workspace."""

    pseudonyms: bool
    refuse_burned_in: Literal["low", "high"] | None
    refuse_whole_frames: bool
    refuse_kept_images: bool
    refuse_not_ultrasound: bool


class PolicyAnswer(Answer):
    """The policy of a workspace.

    ``limits``, ``each_key`` and ``keys`` are as its administrators set them; ``in_force`` is what
    holds, with the limits of the service and of its operator.
    """

    etag: str = Field(examples=['"3"'])
    updated_at: str | None = Field(examples=[TIME], description="Null: there is no policy.")
    intake: PolicyRulesAnswer
    pseudonym_key: str | None = Field(
        description="Name of the key of the pseudonyms, as they show it.", examples=["5dc624"]
    )
    limits: dict[str, float]
    each_key: dict[str, float]
    keys: dict[str, dict[str, float]]
    granted: dict[str, float] = Field(
        description="Limits of the workspace that the operator set in place of the settings'."
    )
    in_force: dict[str, float] = Field(description="Limits of the workspace that hold.")
    in_force_each_key: dict[str, float] = Field(description="Limits of each key that hold.")
    unfit: dict[str, int] | None = Field(
        None,
        description="After a change: stored scans that break a rule, by rule; they stay.",
        examples=[{"pseudonyms": 12}],
    )

    @classmethod
    def of(cls, policy: WorkspacePolicy, unfit: Mapping[str, int] | None = None) -> Self:
        """The answer for a policy."""
        stored = policy.stored
        document: Mapping[str, Any] = stored.document
        intake = document.get("intake", {})
        counted = {} if unfit is None else {"unfit": dict(unfit)}
        return cls(
            etag=etag(stored.version),
            updated_at=stored.updated_at or None,
            intake=PolicyRulesAnswer.model_validate(
                {
                    name: intake.get(name, field.default)
                    for name, field in PolicyRules.model_fields.items()
                }
            ),
            pseudonym_key=intake.get("pseudonym_key"),
            limits=document.get("limits", {}),
            each_key=document.get("each_key", {}),
            keys=document.get("keys", {}),
            granted=dict(stored.granted),
            in_force=dict(policy.limits),
            in_force_each_key=dict(policy.each_key),
            **counted,
        )


LIMIT_HELP = "Name of the limit, as in the problem of a request that it refuses."


class UsedLimitAnswer(Answer):
    """How much of a limit is used."""

    limit: str = Field(description=LIMIT_HELP, examples=["images_per_minute"])
    used: float | None = Field(
        description="Of the last minute for a rate, in the process that answers; null: it is not "
        "limited, so nobody counts.",
        examples=[12.0],
    )
    most: float | None = Field(description="Null: it is not limited.", examples=[600.0])
    reset_s: float | None = Field(
        description="Seconds until a rate is unused again; null for what is stored."
    )


class UsageAnswer(Answer):
    """How much of their limits the key of the request and its workspace use."""

    key_id: str | None = Field(description="Null: the request has no key.")
    key: list[UsedLimitAnswer]
    workspace: list[UsedLimitAnswer] | None = Field(
        description="Null: the key lacks the scope admin."
    )
