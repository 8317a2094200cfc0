"""Answers of health and of the encoder."""

from typing import Literal

from pydantic import Field

from service.api.shapes.base import ENCODER, Answer, EncodedAnswer, JsonObject


class Live(Answer):
    """The process responds."""

    status: Literal["live"]
    version: str = Field(description="Version of the program.", examples=["0.1.0"])


class QueueAnswer(Answer):
    """How busy a queue is."""

    waiting: int = Field(description="Items that wait.", examples=[0])
    running: int = Field(description="Items that are being worked on.", examples=[1])
    oldest_s: float = Field(
        description="Age of the item that has waited longest, seconds; 0 when none waits.",
        examples=[0.0],
    )


class Ready(Answer):
    """The service accepts requests; the queues tell how soon it answers them."""

    status: Literal["ready"]
    encoder_id: str = Field(examples=[ENCODER])
    last_pass_s: float | None = Field(
        description="Time since the encoder's last pass that succeeded, seconds.", examples=[0.4]
    )
    queues: dict[str, QueueAnswer] = Field(
        description="`stills` and `clips`: files that are decoded; `encoder`: frames; `fits`; "
        "`operations`."
    )


class EncoderAnswer(EncodedAnswer):
    """The loaded bundle."""

    manifest: JsonObject | None
    model_card: str = Field(description="Markdown.")
