"""Classifiers that are carried away and brought in."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from service.api.answers import says
from service.api.classifier_answers import ClassifierAnswer
from service.api.classifier_schemas import ImportBody
from service.api.predictions import Version
from service.api.state import (
    IdempotencyKey,
    Service,
    WhoAsks,
    WorkspaceId,
    created,
    idempotent,
    request_fingerprint,
)
from service.api.wire import classifier_json
from service.classifiers.portable_versions import as_document, as_onnx

router = APIRouter(prefix="/v1", tags=["classifiers"])
ONNX_TYPE = "application/octet-stream"


@router.get(
    "/classifiers/{name}/export",
    response_class=Response,
    responses={
        200: {
            "content": {
                "application/json": {"schema": {"type": "object"}},
                ONNX_TYPE: {"schema": {"type": "string", "format": "binary"}},
            }
        }
    },
)
async def export(
    name: str,
    service: Service,
    workspace_id: WorkspaceId,
    format: Literal["json", "onnx"] = "json",
    version: Version = None,
) -> Response:
    """A version as JSON that ``import`` takes, or as ONNX: embedding to probabilities.

    The JSON carries embeddings of examples (at most 2000), by which distances are measured; the
    ONNX does not. Both carry the card: report, classes, encoder_id.
    """
    loaded = await asyncio.to_thread(service.classifiers.open_either, workspace_id, name, version)
    if format == "onnx":
        data = await service.fits.run(lambda: as_onnx(loaded))
        named = f'attachment; filename="{loaded.classifier.name}.onnx"'
        return Response(data, media_type=ONNX_TYPE, headers={"Content-Disposition": named})
    return JSONResponse(await service.fits.run(lambda: as_document(loaded)))


@router.post("/classifiers/import", status_code=201, responses=says(ClassifierAnswer, 201))
async def import_classifier(
    body: ImportBody, service: Service, caller: WhoAsks, key: IdempotencyKey = None
) -> Response:
    """Take in a classifier that ``export`` gave as JSON; refuses another encoder or damage."""

    async def act() -> JSONResponse:
        made = await asyncio.to_thread(
            service.classifiers.take_in,
            caller.workspace_id,
            body.name,
            body.classifier,
            caller.author,
        )
        return created(classifier_json(made), f"/v1/classifiers/{made.name}")

    content = request_fingerprint("import", body.model_dump_json())
    return await idempotent(service, caller.workspace_id, key, content, act)
