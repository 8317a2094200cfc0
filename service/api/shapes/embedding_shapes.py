"""Bodies and answers of embeddings that are not stored."""

import base64
from typing import Literal, Self, TypeAlias

from pydantic import Field

from service.api.shapes.base import (
    FRAMES_HELP,
    REGION_HELP,
    REGION_NUMBER,
    Answer,
    Base64Image,
    Body,
    EncodedAnswer,
    FrameChoice,
    ImageAnswer,
    Problem,
    RegionChoice,
    example_of,
)
from service.arrays import Floats
from service.embedding.embedded_image import EmbeddedImage
from service.embedding.quantisation import NumberFormat, quantise
from service.errors import ServiceError
from service.gallery.acceptance import image_of

Encoding: TypeAlias = Literal["float", "base64"]
Pooling: TypeAlias = Literal["mean", "none"]


class EmbeddingOptions(Body):
    """How to embed and to write numbers: query parameters, or the ``options`` of a form."""

    encoding_format: Encoding = "float"
    dtype: NumberFormat = "float32"
    frames: FrameChoice | None = Field(None, description=FRAMES_HELP)
    region: RegionChoice | None = Field(None, description=REGION_HELP)
    pool: Pooling = Field(
        "mean", description="none also returns the embedding of each used frame of a clip."
    )

    def write(self, embedding_D: Floats) -> list[float] | str:
        """Numbers, or base64 of little-endian values."""
        values = quantise(embedding_D, self.dtype)
        if self.encoding_format == "base64":
            return base64.b64encode(values.tobytes()).decode("ascii")
        numbers: list[float] = values.tolist()
        return numbers


class EmbeddingsBody(Body):
    """Images as JSON; fields override the query parameters."""

    model_config = example_of(
        {"images": ["iVBORw0KGgo..."], "encoding_format": "base64", "dtype": "int8"}
    )

    images: list[Base64Image] = Field(min_length=1)
    encoding_format: Encoding | None = None
    dtype: NumberFormat | None = None
    frames: FrameChoice | None = None
    region: RegionChoice | None = None
    pool: Pooling | None = None


class FrameEmbeddingAnswer(Answer):
    """A used frame of a clip, or a region of a frame; only with `pool=none`."""

    index: int = Field(ge=0, description="Number of the frame in the file.")
    region: int = Field(ge=0, description=REGION_NUMBER)
    time_s: float | None = Field(description="Time since the first frame of the file.")
    embedding: list[float] | str


class EmbeddingItem(Answer):
    """``embedding`` and ``image``, or ``problem``."""

    embedding: list[float] | str | None = Field(
        None, description="Numbers, or base64 of little-endian values; int8 is value x 127."
    )
    frames: list[FrameEmbeddingAnswer] | None = None
    image: ImageAnswer | None = None
    problem: Problem | None = None

    @classmethod
    def of(
        cls, result: EmbeddedImage | ServiceError, options: EmbeddingOptions, request_id: str
    ) -> Self:
        """The answer for one image."""
        if isinstance(result, ServiceError):
            return cls(problem=Problem.of(result, request_id))
        item = cls(
            embedding=options.write(result.embedding_D), image=ImageAnswer.of(image_of(result))
        )
        if options.pool == "none" and result.used:
            item.frames = [
                FrameEmbeddingAnswer.of_record(frame, embedding=options.write(frame.embedding_D))
                for frame in result.used
            ]
        return item


class EmbeddingsAnswer(EncodedAnswer):
    """One item per image, in order."""

    dtype: NumberFormat
    encoding_format: Encoding
    items: list[EmbeddingItem]
