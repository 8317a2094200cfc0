"""Answers of health, encoder and embeddings; names that other modules still import."""

from typing import Literal

from pydantic import Field

from service.api.shapes.base import ENCODER as ENCODER
from service.api.shapes.base import REGION_NUMBER, JsonObject
from service.api.shapes.base import TIME as TIME
from service.api.shapes.base import Answer as Answer
from service.api.shapes.base import Deleted as Deleted
from service.api.shapes.base import ImageSeen as ImageSeen
from service.api.shapes.base import Problem as Problem
from service.api.shapes.base import responses_of as says
from service.api.shapes.scan_shapes import ScanAnswer as ScanAnswer

__all__ = ["says"]


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


class FrameEmbeddingAnswer(Answer):
    """One used frame of a clip, or one region of a frame, with `pool=none`."""

    index: int = Field(ge=0, description="In the file.")
    region: int = Field(ge=0, description=REGION_NUMBER)
    time_s: float | None = Field(description="Since the first frame of the file.")
    embedding: list[float] | str


class EmbeddingItem(Answer):
    """``embedding`` and ``image``, or ``problem``."""

    embedding: list[float] | str | None = Field(
        None, description="Numbers, or base64 of little-endian values; int8 is value x 127."
    )
    frames: list[FrameEmbeddingAnswer] | None = None
    image: ImageSeen | None = None
    problem: Problem | None = None


class EmbeddingsAnswer(Answer):
    """One item per image, in order."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    dtype: Literal["float32", "float16", "int8"]
    encoding_format: Literal["float", "base64"]
    items: list[EmbeddingItem]
