"""Health, metrics, the encoder, and embeddings without storing."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from service.api.answers import EmbeddingsAnswer, EncoderAnswer, Live, Ready, says
from service.api.dependencies import Service, WorkspaceId
from service.api.openapi import image_body
from service.api.problems import item_problem
from service.api.routing import StrictRoute
from service.api.schemas import EmbeddingOptions, EmbeddingsBody, JsonObject
from service.api.uploads import Upload, embed_each, instance_files, read_upload, validate
from service.api.wire import batch_status, embedding_json, seen_json
from service.embedding.pipeline import EmbeddedImage
from service.errors import EncoderFailure, InputError, ServiceError, Stopping
from service.observability import METRICS_CONTENT_TYPE

router = APIRouter(route_class=StrictRoute)
READY_TIMEOUT_S = 5.0


@router.get("/health/live", tags=["health"], response_model=None, responses=says(Live))
async def get_liveness(request: Request) -> JsonObject:
    """The process responds, and this is its version."""
    return {"status": "live", "version": request.app.version}


@router.get("/health/ready", tags=["health"], response_model=None, responses=says(Ready))
async def get_readiness(service: Service) -> JsonObject:
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
async def get_metrics(service: Service) -> Response:
    """Prometheus text."""
    return Response(service.metrics.render(), media_type=METRICS_CONTENT_TYPE)


@router.get("/v1/encoder", tags=["encoder"], response_model=None, responses=says(EncoderAnswer))
async def get_encoder(service: Service, workspace_id: WorkspaceId) -> JsonObject:
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
    openapi_extra=image_body(EmbeddingsBody, options=EmbeddingOptions),
    responses=says(EmbeddingsAnswer, 200, 207),
)
async def embed_images(
    request: Request,
    service: Service,
    workspace_id: WorkspaceId,
    options: Annotated[EmbeddingOptions, Query()],
) -> JSONResponse:
    """Embed images without storing anything; one result per image, 207 when some failed."""
    upload = await read_upload(request, max_items=service.settings.max_items)
    options = _merged(upload, options)
    files = await _files_of(upload, service.settings.max_items)
    results = await embed_each(
        service, files, alone=upload.alone, frames=options.frames, region=options.region
    )
    items = await asyncio.to_thread(
        lambda: [
            {"problem": item_problem(result, request)}
            if isinstance(result, ServiceError)
            else _embedding_item(result, options)
            for result in results
        ]
    )
    encoder = service.pipeline.encoder
    body = {
        "encoder_id": encoder.encoder_id,
        "dim": encoder.dim,
        "dtype": options.dtype,
        "encoding_format": options.encoding_format,
        "items": items,
    }
    return JSONResponse(body, batch_status(items))


def _embedding_item(image: EmbeddedImage, options: EmbeddingOptions) -> JsonObject:
    form = (options.encoding_format, options.dtype)
    item: JsonObject = {"embedding": embedding_json(image.embedding_D, *form)}
    if options.pool == "none" and image.used:
        item["frames"] = [
            {
                "index": frame.index,
                "region": frame.region,
                "time_s": frame.time_s,
                "embedding": embedding_json(frame.embedding_D, *form),
            }
            for frame in image.used
        ]
    return item | {"image": seen_json(image)}


def _merged(upload: Upload, options: EmbeddingOptions) -> EmbeddingOptions:
    """Options of the body count more than those of the query. Raises InvalidBody."""
    if upload.document is not None:
        body = validate(EmbeddingsBody, upload.document)
        named = body.model_dump(include=set(EmbeddingOptions.model_fields), exclude_none=True)
        return options.model_copy(update=named)
    if upload.options is None:
        return options
    sent = validate(EmbeddingOptions, upload.options)
    return options.model_copy(update=sent.model_dump(exclude_unset=True))


async def _files_of(upload: Upload, max_items: int) -> tuple[bytes | InputError, ...]:
    if upload.document is None:
        return upload.files
    body = validate(EmbeddingsBody, upload.document)
    return await asyncio.to_thread(instance_files, body, max_items=max_items)
