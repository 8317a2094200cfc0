"""Bodies and answers of embeddings that are not stored."""

import base64
from typing import Literal, TypeAlias

from pydantic import Field

from service.api.shapes.base import (
    ENCODER,
    FRAMES_HELP,
    REGION_HELP,
    REGION_NUMBER,
    Answer,
    Base64Image,
    Body,
    FrameChoice,
    ImageSeen,
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
    """How embeddings are written; query parameters, or the ``options`` of a form."""

    encoding_format: Encoding = "float"
    dtype: NumberFormat = "float32"
    frames: FrameChoice | None = Field(None, description=FRAMES_HELP)
    region: RegionChoice | None = Field(None, description=REGION_HELP)
    pool: Pooling = Field(
        "mean", description="none adds the embedding of each used frame of a clip."
    )

    def write(self, embedding_D: Floats) -> list[float] | str:
        """Numbers, or base64 of little-endian values."""
        values = quantise(embedding_D, self.dtype)
        if self.encoding_format == "base64":
            return base64.b64encode(values.tobytes()).decode("ascii")
        numbers: list[float] = values.tolist()
        return numbers


class EmbeddingsBody(Body):
    """Images as JSON; what is named here counts more than the query parameters."""

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

    @classmethod
    def of(
        cls, result: EmbeddedImage | ServiceError, options: EmbeddingOptions, request_id: str
    ) -> "EmbeddingItem":
        """From what became of one image."""
        if isinstance(result, ServiceError):
            return cls(problem=Problem.of(result, request_id))
        item = cls(
            embedding=options.write(result.embedding_D), image=ImageSeen.of(image_of(result))
        )
        if options.pool == "none" and result.used:
            item.frames = [
                FrameEmbeddingAnswer(
                    index=frame.index,
                    region=frame.region,
                    time_s=frame.time_s,
                    embedding=options.write(frame.embedding_D),
                )
                for frame in result.used
            ]
        return item


class EmbeddingsAnswer(Answer):
    """One item per image, in order."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    dtype: NumberFormat
    encoding_format: Encoding
    items: list[EmbeddingItem]
