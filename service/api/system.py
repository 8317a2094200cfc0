"""Health, metrics, the encoder, and embeddings without storing."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from service.api.answers import EmbeddingsAnswer, EncoderAnswer, Live, Ready, says
from service.api.openapi import image_body
from service.api.schemas import EmbeddingOptions, EmbeddingsBody, JsonObject
from service.api.state import Service, WorkspaceId, embed_each, item_problem
from service.api.uploads import Upload, instance_files, read_upload, validate
from service.api.wire import batch_status, embedding_json, seen_json
from service.embedding.pipeline import EmbeddedImage
from service.errors import EncoderFailure, InputError, ServiceError, Stopping
from service.observability import METRICS_CONTENT_TYPE

router = APIRouter()
READY_TIMEOUT_S = 5.0


@router.get("/health/live", tags=["health"], response_model=None, responses=says(Live))
async def live() -> JsonObject:
    """The process answers."""
    return {"status": "live"}


@router.get("/health/ready", tags=["health"], response_model=None, responses=says(Ready))
async def ready(service: Service) -> JsonObject:
    """The encoder's worker embeds and the catalog reads and writes; else 503."""
    if service.stopping:
        raise Stopping("the service is shutting down")
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await service.pipeline.check()
    except TimeoutError as error:
        raise EncoderFailure(f"the encoder did not answer within {READY_TIMEOUT_S} s") from error
    await asyncio.to_thread(service.catalog.check)
    return {"status": "ready", "encoder_id": service.pipeline.encoder.encoder_id}


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
async def metrics(service: Service) -> Response:
    """Prometheus text."""
    return Response(service.metrics.render(), media_type=METRICS_CONTENT_TYPE)


@router.get("/v1/encoder", tags=["encoder"], response_model=None, responses=says(EncoderAnswer))
async def encoder(service: Service, workspace_id: WorkspaceId) -> JsonObject:
    """Manifest and model card of the loaded bundle."""
    loaded = service.pipeline.encoder
    manifest = loaded.manifest
    return {
        "encoder_id": loaded.encoder_id,
        "dim": loaded.dim,
        "manifest": None if manifest is None else manifest.to_json(),
        "model_card": loaded.card,
    }


@router.post(
    "/v1/embeddings",
    tags=["encoder"],
    openapi_extra=image_body(EmbeddingsBody),
    responses=says(EmbeddingsAnswer, 200, 207),
)
async def embeddings(
    request: Request,
    service: Service,
    workspace_id: WorkspaceId,
    options: Annotated[EmbeddingOptions, Query()],
) -> JSONResponse:
    """Embed images without storing anything; per-item results, 207 when some failed."""
    upload = await read_upload(request, max_items=service.settings.max_items)
    files, options = _files_and_options(upload, service.settings.max_items, options)
    results = await embed_each(
        service, files, alone=upload.alone, frames=options.frames, region=options.region
    )
    model = service.pipeline.encoder
    items: list[JsonObject] = []
    for found in results:
        if isinstance(found, ServiceError):
            items.append({"problem": item_problem(found, request)})
            continue
        items.append(_embedded(found, options))
    body = {
        "encoder_id": model.encoder_id,
        "dim": model.dim,
        "dtype": options.dtype,
        "encoding_format": options.encoding_format,
        "items": items,
    }
    return JSONResponse(body, batch_status(items))


def _embedded(found: EmbeddedImage, options: EmbeddingOptions) -> JsonObject:
    form = (options.encoding_format, options.dtype)
    item: JsonObject = {"embedding": embedding_json(found.embedding_D, *form)}
    if options.pool == "none" and found.used:
        item["frames"] = [
            {
                "index": frame.index,
                "region": frame.region,
                "time_s": frame.time_s,
                "embedding": embedding_json(frame.embedding_D, *form),
            }
            for frame in found.used
        ]
    return item | {"image": seen_json(found)}


def _files_and_options(
    upload: Upload, max_items: int, options: EmbeddingOptions
) -> tuple[tuple[bytes | InputError, ...], EmbeddingOptions]:
    if upload.document is not None:
        body = validate(EmbeddingsBody, upload.document)
        named = body.model_dump(include=set(EmbeddingOptions.model_fields), exclude_none=True)
        return instance_files(body, max_items=max_items), options.model_copy(update=named)
    if upload.fields:
        return upload.files, validate(EmbeddingOptions, options.model_dump() | upload.fields)
    return upload.files, options
