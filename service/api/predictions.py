"""Predictions of a classifier for uploads and stored scans."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from service.api.answers import says
from service.api.classifier_answers import PredictionsAnswer
from service.api.classifier_schemas import PredictScansBody
from service.api.openapi import image_body
from service.api.schemas import InstancesBody, JsonObject
from service.api.state import Running, Service, WorkspaceId, embed_each, item_problem
from service.api.uploads import Upload, instance_files, read_upload, validate
from service.api.wire import Floats, batch_status, seen_json
from service.errors import InputError, ServiceError, TooManyItems
from service.fewshot.head import LinearHead
from service.heads.classifiers import Opened
from service.pipeline import Embedded

router = APIRouter(prefix="/v1", tags=["classifiers"])
Version = Annotated[int | None, Query(ge=1, description="Instead of the published one.")]


@router.post(
    "/classifiers/{name}/predict",
    openapi_extra=image_body(InstancesBody, PredictScansBody),
    responses=says(PredictionsAnswer, 200, 207),
)
async def predict(
    name: str,
    request: Request,
    service: Service,
    workspace_id: WorkspaceId,
    version: Version = None,
) -> JSONResponse:
    """Probabilities of each class for uploads or stored scans; 207 when some items failed.

    They are not calibrated yet and the answer says so; the classifier's own cross-validated
    accuracy and its interval stand beside them.
    """
    upload = await read_upload(request, max_items=service.settings.max_items)
    opened = await asyncio.to_thread(service.heads.open, workspace_id, name, version)
    head = opened.head
    if upload.document is not None and "instances" not in upload.document:
        items = await _predict_scans(service, workspace_id, head, upload.document)
    else:
        files = _files_of(upload, service.settings.max_items)
        embedded = await embed_each(service, files, alone=upload.alone)
        items = [_item(request, head, found) for found in embedded]
    body = _about(opened) | {"dim": service.pipeline.encoder.dim, "items": items}
    return JSONResponse(body, batch_status(items))


def _files_of(upload: Upload, max_items: int) -> tuple[bytes | InputError, ...]:
    if upload.document is None:
        return upload.files
    return instance_files(validate(InstancesBody, upload.document), max_items=max_items)


async def _predict_scans(
    service: Running, workspace_id: str, head: LinearHead, document: Any
) -> list[JsonObject]:
    body = validate(PredictScansBody, document)
    if len(body.scan_ids) > service.settings.max_items:
        raise TooManyItems(f"expected at most {service.settings.max_items} scans")
    vectors_ND = await asyncio.to_thread(
        service.galleries.vectors_of, workspace_id, body.collection, body.scan_ids
    )
    return [
        {"scan_id": scan_id} | _judged(head, embedding_D)
        for scan_id, embedding_D in zip(body.scan_ids, vectors_ND, strict=True)
    ]


def _item(request: Request, head: LinearHead, found: Embedded | ServiceError) -> JsonObject:
    if isinstance(found, ServiceError):
        return {"problem": item_problem(found, request)}
    return {"image": seen_json(found)} | _judged(head, found.embedding_D)


def _judged(head: LinearHead, embedding_D: Floats) -> JsonObject:
    probabilities_C = head.probabilities(embedding_D[None])[0]
    by_class = {c: float(p) for c, p in zip(head.classes, probabilities_C, strict=True)}
    return {"label": max(by_class, key=by_class.__getitem__), "probabilities": by_class}


def _about(opened: Opened) -> JsonObject:
    report = opened.version.report
    return {
        "classifier": opened.classifier.name,
        "classifier_id": opened.classifier.classifier_id,
        "version": opened.version.number,
        "encoder_id": opened.version.encoder_id,
        "calibrated": False,
        "balanced_accuracy": report.get("balanced_accuracy"),
        "interval_95": report.get("interval_95"),
        "warnings": report.get("warnings", []),
    }
