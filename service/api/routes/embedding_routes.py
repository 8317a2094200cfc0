"""Embeddings of images that are not stored."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from service.api.batches import batch_status, refuse_if_all_failed
from service.api.dependencies import Service
from service.api.openapi import image_body
from service.api.permissions import needs
from service.api.problems import request_id_of
from service.api.routing import StrictRoute
from service.api.shapes.base import responses_of
from service.api.shapes.embedding_shapes import (
    EmbeddingItem,
    EmbeddingOptions,
    EmbeddingsAnswer,
    EmbeddingsBody,
)
from service.api.uploads import Upload, embed_each, image_files, read_upload, validate
from service.embedding.pipeline import EmbedOptions
from service.errors import InputError

router = APIRouter(route_class=StrictRoute)


@router.post(
    "/v1/embeddings",
    tags=["encoder"],
    openapi_extra=image_body(EmbeddingsBody, options=EmbeddingOptions),
    responses=responses_of(EmbeddingsAnswer, 200, 207),
    dependencies=[needs("embed", limited="nothing")],
)
async def embed_images(
    request: Request, service: Service, options: Annotated[EmbeddingOptions, Query()]
) -> Response:
    """Embed images without storing anything; one result per image, 207 when some failed."""
    upload = await read_upload(request, max_items=service.settings.max_items)
    files: Sequence[bytes | InputError] = upload.files
    if not upload.is_raw:
        files, options = await asyncio.to_thread(
            _files_and_options, upload, options, service.settings.max_items
        )
    embed_options = EmbedOptions().choosing(options.frames, options.region)
    results = await embed_each(service, files, embed_options)
    refuse_if_all_failed(results)
    encoder, request_id = service.pipeline.encoder, request_id_of(request)

    def render() -> Response:
        answer = EmbeddingsAnswer.of_record(
            encoder,
            dtype=options.dtype,
            encoding_format=options.encoding_format,
            items=[EmbeddingItem.of(result, options, request_id) for result in results],
        )
        return Response(answer.to_bytes(), batch_status(results), media_type="application/json")

    # The way to a thread and back costs more than the numbers of one embedding.
    is_short = len(results) == 1 and options.pool == "mean"
    return render() if is_short else await asyncio.to_thread(render)


def _files_and_options(
    upload: Upload, options: EmbeddingOptions, max_items: int
) -> tuple[Sequence[bytes | InputError], EmbeddingOptions]:
    """Options of the body override those of the query. Raises RequestValidationError."""
    if upload.document is not None:
        body = validate(EmbeddingsBody, upload.document)
        update = body.model_dump(include=set(EmbeddingOptions.model_fields), exclude_none=True)
        return image_files(body.images, max_items=max_items), options.model_copy(update=update)
    if upload.options is None:
        return upload.files, options
    part = validate(EmbeddingOptions, upload.options)
    return upload.files, options.model_copy(update=part.model_dump(exclude_unset=True))
