"""Predictions of a classifier for uploads and stored scans."""

import asyncio
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from service.api.answers import says
from service.api.classifier_answers import PredictionsAnswer
from service.api.classifier_schemas import PredictScansBody
from service.api.openapi import image_body
from service.api.schemas import REGION_SAYS, InstancesBody, JsonObject, RegionChoice
from service.api.state import Running, Service, WorkspaceId, embed_each, item_problem
from service.api.uploads import Upload, instance_files, read_upload, validate
from service.api.wire import Floats, batch_status, seen_json
from service.errors import InputError, ServiceError, TooManyItems
from service.fewshot.trust import Answer
from service.heads.opened import Neighbour, Opened
from service.pipeline import Embedded

_Found: TypeAlias = tuple[JsonObject, Floats | None]  # what is said of an item, its embedding

router = APIRouter(prefix="/v1", tags=["classifiers"])
Version = Annotated[int | None, Query(ge=1, description="Instead of the published one.")]
Coverage = Annotated[
    float, Query(ge=0.5, le=0.999, description="Of the prediction sets: how often they are right.")
]
Nearest = Annotated[int, Query(ge=0, le=20, description="Labelled examples to show as evidence.")]


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
    coverage: Coverage = 0.9,
    nearest: Nearest = 3,
    region: Annotated[RegionChoice | None, Query(description=REGION_SAYS)] = None,
) -> JSONResponse:
    """Class, prediction set, doubts and evidence for uploads or stored scans; 207 if some failed.

    Probabilities are calibrated on held-out scores when there are enough, and the answer says
    whether. ``abstained`` tells that, and why, the label should not be used.
    """
    upload = await read_upload(request, max_items=service.settings.max_items)
    opened = await asyncio.to_thread(service.heads.open, workspace_id, name, version)
    if upload.document is not None and "instances" not in upload.document:
        found = await _of_scans(service, workspace_id, upload.document)
    else:
        files = _files_of(upload, service.settings.max_items)
        embedded = await embed_each(service, files, alone=upload.alone, region=region)
        found = [_seen(request, item) for item in embedded]
    said, items = await asyncio.to_thread(_judged, opened, found, coverage, nearest)
    body = _about(opened) | {"prediction_sets": said, "dim": service.pipeline.encoder.dim}
    return JSONResponse(body | {"items": items}, batch_status(items))


def _files_of(upload: Upload, max_items: int) -> tuple[bytes | InputError, ...]:
    if upload.document is None:
        return upload.files
    return instance_files(validate(InstancesBody, upload.document), max_items=max_items)


async def _of_scans(service: Running, workspace_id: str, document: Any) -> list[_Found]:
    body = validate(PredictScansBody, document)
    if len(body.scan_ids) > service.settings.max_items:
        raise TooManyItems(f"expected at most {service.settings.max_items} scans")
    vectors_ND = await asyncio.to_thread(
        service.galleries.vectors_of, workspace_id, body.collection, body.scan_ids
    )
    pairs = zip(body.scan_ids, vectors_ND, strict=True)
    return [({"scan_id": scan_id}, embedding_D) for scan_id, embedding_D in pairs]


def _seen(request: Request, found: Embedded | ServiceError) -> _Found:
    if isinstance(found, ServiceError):
        return {"problem": item_problem(found, request)}, None
    return {"image": seen_json(found)}, found.embedding_D


def _judged(
    opened: Opened, found: list[_Found], coverage: float, nearest: int
) -> tuple[JsonObject, list[JsonObject]]:
    """What is said of the sets, and every item with its answer; failed items stay as they are."""
    rows = [embedding_D for _, embedding_D in found if embedding_D is not None]
    stacked_QD = np.stack(rows) if rows else np.eye(1, opened.head.weights_CD.shape[1])
    answers, sets = opened.answers(stacked_QD.astype(np.float32), coverage)
    said = {
        "coverage": sets.coverage,
        "per_class": sets.per_class,
        "not_enough_because": sets.not_enough_because,
        "missing": sets.missing,
    }
    items: list[JsonObject] = []
    row = 0
    for about, embedding_D in found:
        if embedding_D is None:
            items.append(about)
            continue
        evidence = [_evidence(item) for item in opened.support.nearest(embedding_D, nearest)]
        members = None if sets.members_NC is None else sets.members_NC[row].tolist()
        items.append(about | _answer_json(opened, answers[row], members) | {"nearest": evidence})
        row += 1
    return said, items


def _answer_json(opened: Opened, answer: Answer, members: list[bool] | None) -> JsonObject:
    abstained = None
    if answer.abstained_because is not None:
        between = None if answer.between is None else list(answer.between)
        abstained = {"because": answer.abstained_because, "between": between}
    named = None
    if members is not None:
        named = [name for name, inside in zip(opened.head.classes, members, strict=True) if inside]
    return {
        "label": answer.predicted,
        "probabilities": answer.probabilities,
        "abstained": abstained,
        "prediction_set": named,
        "distance": answer.distance if opened.knows_distances else None,
        "distance_percentile": answer.distance_percentile,
    }


def _evidence(neighbour: Neighbour) -> JsonObject:
    example = neighbour.example
    collection, scan_id = example.scan or (None, None)
    thumbnail = None
    if collection is not None and scan_id is not None:
        thumbnail = f"/v1/collections/{quote(collection)}/scans/{quote(scan_id, safe='')}/thumbnail"
    return {
        "example_id": example.example_id,
        "label": example.label,
        "similarity": neighbour.similarity,
        "collection": collection,
        "scan_id": scan_id,
        "thumbnail": thumbnail,
    }


def _about(opened: Opened) -> JsonObject:
    report = opened.version.report
    calibration = opened.trust.calibration
    return {
        "classifier": opened.classifier.name,
        "classifier_id": opened.classifier.classifier_id,
        "version": opened.version.number,
        "encoder_id": opened.version.encoder_id,
        "calibrated": calibration.calibrated,
        "not_calibrated_because": calibration.not_calibrated_because,
        "balanced_accuracy": report.get("balanced_accuracy"),
        "interval_95": report.get("interval_95"),
        "warnings": report.get("warnings", []),
    }
