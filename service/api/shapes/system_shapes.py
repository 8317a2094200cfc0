"""Answers of health and of the encoder."""

from typing import Literal

from pydantic import Field

from service.api.shapes.base import ENCODER, Answer, EncodedAnswer, JsonObject


class Live(Answer):
    """The process responds."""

    status: Literal["live"]
    version: str = Field(description="Version of the program.", examples=["0.1.0"])


class Ready(Answer):
    """The service accepts requests."""

    status: Literal["ready"]
    encoder_id: str = Field(examples=[ENCODER])


class EncoderAnswer(EncodedAnswer):
    """The loaded bundle."""

    manifest: JsonObject | None
    model_card: str = Field(description="Markdown.")
