"""Answers of health and of the encoder."""

from typing import Literal

from pydantic import Field

from service.api.shapes.base import ENCODER, Answer, JsonObject


class Live(Answer):
    """The process answers."""

    status: Literal["live"]
    version: str = Field(description="Of the program.", examples=["0.1.0"])


class Ready(Answer):
    """The service takes work."""

    status: Literal["ready"]
    encoder_id: str = Field(examples=[ENCODER])


class EncoderAnswer(Answer):
    """The loaded bundle."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    manifest: JsonObject | None
    model_card: str = Field(description="Markdown.")
