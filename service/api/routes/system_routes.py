"""Health, metrics and the encoder."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from service.api.dependencies import Service, WorkspaceId
from service.api.routing import StrictRoute
from service.api.shapes.base import responses_of
from service.api.shapes.system_shapes import EncoderAnswer, Live, Ready
from service.errors import EncoderFailure, Stopping
from service.observability import METRICS_CONTENT_TYPE

router = APIRouter(route_class=StrictRoute)
READY_TIMEOUT_S = 5.0


@router.get("/health/live", tags=["health"], response_model=None, responses=responses_of(Live))
async def get_liveness(request: Request) -> JSONResponse:
    """The process responds, and this is its version."""
    return JSONResponse(Live(status="live", version=request.app.version).to_json())


@router.get("/health/ready", tags=["health"], response_model=None, responses=responses_of(Ready))
async def get_readiness(service: Service) -> JSONResponse:
    """The encoder's worker embeds and the catalog reads and writes; else 503."""
    if service.stopping:
        raise Stopping("the service is shutting down")
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await service.pipeline.check()
    except TimeoutError as error:
        raise EncoderFailure(f"the encoder did not answer within {READY_TIMEOUT_S} s") from error
    await asyncio.to_thread(service.check_catalog)
    ready = Ready(status="ready", encoder_id=service.pipeline.encoder.encoder_id)
    return JSONResponse(ready.to_json())


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
async def get_metrics(service: Service) -> Response:
    """Prometheus text."""
    return Response(service.metrics.render(), media_type=METRICS_CONTENT_TYPE)


@router.get(
    "/v1/encoder", tags=["encoder"], response_model=None, responses=responses_of(EncoderAnswer)
)
async def get_encoder(service: Service, workspace_id: WorkspaceId) -> JSONResponse:
    """Manifest and model card of the loaded bundle."""
    loaded = service.pipeline.encoder
    manifest = loaded.manifest
    answer = EncoderAnswer(
        encoder_id=loaded.encoder_id,
        dim=loaded.dim,
        manifest=None if manifest is None else manifest.to_json(),
        model_card=loaded.card,
    )
    return JSONResponse(answer.to_json())
