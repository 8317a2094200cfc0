"""Classifiers in use: the monitor of a version, and what predictions turned out to be."""

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from service.api.dependencies import Service, WorkspaceId
from service.api.idempotency import Idempotent
from service.api.permissions import needs
from service.api.routing import StrictRoute
from service.api.shapes.base import responses_of
from service.api.shapes.monitor_shapes import MonitorAnswer, OutcomesBody, OutcomesStored
from service.api.version_names import VersionInQuery

router = APIRouter(route_class=StrictRoute, prefix="/v1/classifiers/{name}", tags=["classifiers"])


@router.get("/monitor", dependencies=[needs("classifier.read")])
async def get_monitor(
    target: VersionInQuery, service: Service, workspace_id: WorkspaceId
) -> MonitorAnswer:
    """What a version answers in use, against its labelled examples, and how often it was right.

    `reference` is null for an imported classifier, whose examples did not come with it.
    """
    classifier, version = target
    report = await asyncio.to_thread(service.monitor.report, workspace_id, classifier, version)
    return MonitorAnswer.of(report, classifier.name, version.number)


@router.post(
    "/outcomes", responses=responses_of(OutcomesStored), dependencies=[needs("outcome.write")]
)
async def put_outcomes(
    name: str,
    body: OutcomesBody,
    service: Service,
    workspace_id: WorkspaceId,
    idempotent: Idempotent,
) -> Response:
    """Tell what predictions turned out to be.

    Each outcome carries the answer that was given, because predictions are not stored. A second
    outcome of a prediction replaces the first, so a repeated request changes nothing.
    """
    reported = [outcome.reported for outcome in body.outcomes]

    async def act() -> JSONResponse:
        put = service.monitor.put_outcomes
        recorded, replaced = await asyncio.to_thread(put, workspace_id, name, reported)
        answer = OutcomesStored(recorded=recorded, replaced=replaced)
        return JSONResponse(answer.to_json())

    return await idempotent.run(act, "outcomes", name, body)
