"""Health, metrics and the encoder."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from service.access.scopes import METRICS_READ
from service.api.dependencies import Service, WorkspaceId
from service.api.permissions import OPEN, needs
from service.api.routing import StrictRoute, authenticated
from service.api.shapes.system_shapes import EncoderAnswer, Live, QueueAnswer, Ready
from service.errors import Stopping, UnknownItem
from service.observability import METRICS_CONTENT_TYPE

router = APIRouter(route_class=StrictRoute)


@router.get("/health/live", tags=["health"], dependencies=[OPEN])
async def get_liveness(request: Request) -> Live:
    """The process responds, and this is its version."""
    return Live(status="live", version=request.app.version)


@router.get("/health/ready", tags=["health"], dependencies=[OPEN])
async def get_readiness(service: Service) -> Ready:
    """The encoder works and the catalog reads and writes, with the state of each queue; else 503.

    The encoder is judged by its last pass. Only one that has been idle for seconds gets a frame,
    one for all who ask.
    """
    if service.stopping:
        raise Stopping("the service is shutting down")
    await service.pipeline.check()
    loop, checks = asyncio.get_running_loop(), [service.check_catalog]
    if service.audit is not None:
        checks.append(service.audit.check)
    for check in checks:
        await loop.run_in_executor(service.health, check)
    age_s = service.pipeline.last_pass_s
    states = await loop.run_in_executor(service.health, lambda: service.queues)
    queues = {
        name: QueueAnswer(
            waiting=state.waiting, running=state.running, oldest_s=round(state.oldest_s, 3)
        )
        for name, state in states.items()
    }
    return Ready(
        status="ready",
        encoder_id=service.pipeline.encoder.encoder_id,
        last_pass_s=None if age_s is None else round(age_s, 3),
        queues=queues,
    )


@router.get(
    "/metrics",
    tags=["health"],
    response_class=PlainTextResponse,
    responses={401: {}, 403: {}, 404: {}},
    dependencies=[OPEN],
)
async def get_metrics(service: Service, request: Request) -> Response:
    """Prometheus text; 404 where the settings give it a port of its own.

    With SONOPROBE_METRICS_NEED_KEY it asks for a key with the scope ``metrics.read``.
    """
    if service.settings.metrics_port:
        raise UnknownItem("metrics have a port of their own here")
    if service.settings.metrics_need_key:
        caller = await authenticated(request)
        caller.require(METRICS_READ)
    # In a thread: some figures are read from the catalog.
    loop = asyncio.get_running_loop()
    text = await loop.run_in_executor(service.health, service.metrics.render)
    return Response(text, media_type=METRICS_CONTENT_TYPE)


@router.get(
    "/v1/encoder", tags=["encoder"], dependencies=[needs("encoder.read", limited="nothing")]
)
async def get_encoder(service: Service, workspace_id: WorkspaceId) -> EncoderAnswer:
    """Manifest and model card of the loaded bundle."""
    encoder = service.pipeline.encoder
    manifest = encoder.manifest and encoder.manifest.to_json()
    return EncoderAnswer.of_record(encoder, manifest=manifest, model_card=encoder.card)
