"""Health, metrics and the encoder."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from service.api.dependencies import Service, WorkspaceId
from service.api.routing import StrictRoute
from service.api.shapes.system_shapes import EncoderAnswer, Live, Ready
from service.errors import EncoderFailure, Stopping
from service.observability import METRICS_CONTENT_TYPE

router = APIRouter(route_class=StrictRoute)
READY_TIMEOUT_S = 5.0


@router.get("/health/live", tags=["health"])
async def get_liveness(request: Request) -> Live:
    """The process responds, and this is its version."""
    return Live(status="live", version=request.app.version)


@router.get("/health/ready", tags=["health"])
async def get_readiness(service: Service) -> Ready:
    """The encoder's worker embeds and the catalog reads and writes; else 503."""
    if service.stopping:
        raise Stopping("the service is shutting down")
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await service.pipeline.check()
    except TimeoutError as error:
        raise EncoderFailure(f"the encoder did not answer within {READY_TIMEOUT_S} s") from error
    await asyncio.to_thread(service.check_catalog)
    return Ready(status="ready", encoder_id=service.pipeline.encoder.encoder_id)


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
async def get_metrics(service: Service) -> Response:
    """Prometheus text."""
    return Response(service.metrics.render(), media_type=METRICS_CONTENT_TYPE)


@router.get("/v1/encoder", tags=["encoder"])
async def get_encoder(service: Service, workspace_id: WorkspaceId) -> EncoderAnswer:
    """Manifest and model card of the loaded bundle."""
    encoder = service.pipeline.encoder
    manifest = encoder.manifest and encoder.manifest.to_json()
    return EncoderAnswer.of_record(encoder, manifest=manifest, model_card=encoder.card)
