"""Predictions of a classifier for uploads and stored scans."""

import asyncio
import math
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from service.api.answering import Asked, Frame, Seen, answer_cine, answer_items
from service.api.answers import says
from service.api.classifier_answers import PredictionsAnswer
from service.api.classifier_schemas import PredictScansBody
from service.api.heatmaps import HeatmapKind, HeatmapWish
from service.api.label_predictions import LabelPredictions, labels_answer
from service.api.openapi import image_body
from service.api.schemas import REGION_SAYS, InstancesBody, JsonObject, RegionChoice
from service.api.state import Service, Services, WorkspaceId, embed_each, item_problem
from service.api.uploads import Upload, instance_files, read_upload, validate
from service.api.wire import batch_status, seen_json
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.loaded_labels import OpenedLabels
from service.embedding.pipeline import EmbeddedImage
from service.errors import InputError, ServiceError, TooManyItems

EitherPredictions: TypeAlias = PredictionsAnswer | LabelPredictions

router = APIRouter(prefix="/v1", tags=["classifiers"])
Version = Annotated[int | None, Query(ge=1, description="Instead of the published one.")]
Coverage = Annotated[
    float, Query(ge=0.5, le=0.999, description="Of the prediction sets: how often they are right.")
]
Nearest = Annotated[int, Query(ge=0, le=20, description="Labelled examples to show as evidence.")]
Heatmap = Annotated[
    HeatmapKind,
    Query(description="Where in each uploaded frame the answer comes from: arrays, or a PNG."),
]
HeatmapLabel = Annotated[
    str | None,
    Query(max_length=200, description="Class or label of the PNG; the most probable if null."),
]
ThresholdsGiven = Annotated[
    list[str] | None,
    Query(
        alias="threshold",
        max_length=200,
        description="label:probability, repeatable; each counts more than the version's own.",
    ),
]
AsCine = Annotated[
    bool, Query(description="The images or scans are frames of one cine, in order: one answer too.")
]


@router.post(
    "/classifiers/{name}/predict",
    openapi_extra=image_body(InstancesBody, PredictScansBody),
    responses=says(EitherPredictions, 200, 207),
)
async def predict(
    name: str,
    request: Request,
    service: Service,
    workspace_id: WorkspaceId,
    version: Version = None,
    coverage: Coverage = 0.9,
    nearest: Nearest = 3,
    heatmap: Heatmap = "none",
    heatmap_label: HeatmapLabel = None,
    threshold: ThresholdsGiven = None,
    cine: AsCine = False,
    region: Annotated[RegionChoice | None, Query(description=REGION_SAYS)] = None,
) -> JSONResponse:
    """Class, prediction set, doubts and evidence for uploads or stored scans; 207 if some failed.

    Probabilities are calibrated on held-out scores when there are enough, and the answer says
    whether. ``abstained`` tells that, and why, the label should not be used. A multi-label
    classifier answers label by label.
    """
    asked = Asked(
        coverage,
        nearest,
        HeatmapWish(heatmap, heatmap_label),
        _thresholds(threshold or []),
        service.pipeline.encoder.ultrasound,
    )
    with_map = heatmap != "none"
    upload = await read_upload(request, max_items=service.settings.max_items)
    loaded = await asyncio.to_thread(service.classifiers.open_either, workspace_id, name, version)
    if upload.document is not None and "instances" not in upload.document:
        if with_map:
            raise InputError("a heat map needs the image: stored scans keep none, so upload it")
        seen = await _of_scans(service, workspace_id, upload.document)
    else:
        files = _files_of(upload, service.settings.max_items)
        embedded = await embed_each(
            service, files, alone=upload.alone, region=region, with_map=with_map
        )
        seen = [_seen(request, item) for item in embedded]
    if isinstance(loaded, OpenedLabels):
        return await asyncio.to_thread(labels_answer, loaded, seen, asked, cine=cine)
    body = _about(loaded) | {"dim": service.pipeline.encoder.dim, "cine": None}
    body |= await asyncio.to_thread(answer_items, loaded, seen, asked)
    if cine:
        body["cine"] = await asyncio.to_thread(answer_cine, loaded, seen, asked)
    return JSONResponse(body, batch_status(body["items"]))


def _thresholds(pairs: list[str]) -> dict[str, float]:
    """From label:probability; a label may hold colons. Raises InputError."""
    found: dict[str, float] = {}
    for pair in pairs:
        label, colon, text = pair.rpartition(":")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (label and colon and math.isfinite(value)):
            raise InputError("expected threshold=label:probability")
        if label in found:
            raise InputError("expected one threshold per class")
        found[label] = value
    return found


def _files_of(upload: Upload, max_items: int) -> tuple[bytes | InputError, ...]:
    if upload.document is None:
        return upload.files
    return instance_files(validate(InstancesBody, upload.document), max_items=max_items)


async def _of_scans(service: Services, workspace_id: str, document: Any) -> list[Seen]:
    body = validate(PredictScansBody, document)
    if len(body.scan_ids) > service.settings.max_items:
        raise TooManyItems(f"expected at most {service.settings.max_items} scans")
    vectors_ND = await asyncio.to_thread(
        service.gallery.vectors_of, workspace_id, body.collection, body.scan_ids
    )
    pairs = zip(body.scan_ids, vectors_ND, strict=True)
    return [Seen({"scan_id": scan_id}, embedding_D) for scan_id, embedding_D in pairs]


def _seen(request: Request, found: EmbeddedImage | ServiceError) -> Seen:
    if isinstance(found, ServiceError):
        return Seen({"problem": item_problem(found, request)})
    frames = tuple(Frame(f.index, f.embedding_D, f.copies, f.region) for f in found.used)
    return Seen({"image": seen_json(found)}, found.embedding_D, found.mapped, frames)


def _about(loaded: LoadedClassifier) -> JsonObject:
    report = loaded.version.report
    calibration = loaded.trust.calibration
    return {
        "classifier": loaded.classifier.name,
        "classifier_id": loaded.classifier.classifier_id,
        "version": loaded.version.number,
        "encoder_id": loaded.version.encoder_id,
        "calibrated": calibration.calibrated,
        "not_calibrated_because": calibration.not_calibrated_because,
        "balanced_accuracy": report.get("balanced_accuracy"),
        "interval_95": report.get("interval_95"),
        "warnings": report.get("warnings", []),
    }
