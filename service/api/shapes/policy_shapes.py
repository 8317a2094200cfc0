"""How much a key and a workspace use."""

from pydantic import Field

from service.api.shapes.base import Answer

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
