"""Predictions of a classifier for uploads and stored scans."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.access.audit.touched import touched, touched_patients, will_answer
from service.api.batches import refuse_if_all_failed
from service.api.dependencies import KnownCaller, Service, Services, WorkspaceId
from service.api.openapi import image_body
from service.api.permissions import READ_SCANS, needs
from service.api.problems import request_id_of
from service.api.routing import StrictRoute
from service.api.shapes.base import REGION_HELP, ImageAnswer, Problem, RegionChoice, responses_of
from service.api.shapes.classifier_shapes import Accuracy
from service.api.shapes.prediction_shapes import (
    ItemFacts,
    PredictImagesBody,
    PredictionsAnswer,
    PredictScansBody,
)
from service.api.uploads import Upload, embed_each, image_files, read_upload, validate
from service.api.version_names import VersionInQuery
from service.classifiers.prediction import (
    Acquisition,
    HeatmapKind,
    LoadedClassifier,
    PredictionQuery,
    PredictionRequest,
    QueryFrame,
    predict,
)
from service.embedding.pipeline import EmbeddedImage, EmbedOptions
from service.errors import InputError, ServiceError, TooManyItems, WrongAccuracy
from service.gallery.acceptance import image_of
from service.gallery.gallery_records import Scan

NOT_KEPT = "the embedded pixels of the scan are not kept as one picture: upload the file"
router = APIRouter(route_class=StrictRoute, prefix="/v1", tags=["classifiers"])
Coverage = Annotated[
    float, Query(ge=0.5, le=0.999, description="How often prediction sets contain the truth.")
]
Nearest = Annotated[int, Query(ge=0, le=20, description="Labelled examples to show as evidence.")]
Heatmap = Annotated[
    HeatmapKind,
    Query(description="Where in each frame the answer comes from, as arrays or as a PNG."),
]
HeatmapLabel = Annotated[
    str | None,
    Query(max_length=200, description="Class or label of the PNG; null: the most probable one."),
]
ThresholdPairs = Annotated[
    list[str] | None,
    Query(
        alias="threshold",
        max_length=200,
        description="label:probability, repeatable; each overrides that of the version.",
    ),
]
WantedAccuracy = Annotated[
    Accuracy | None,
    Query(
        description="high: seven views of each item, only for a version that was fitted with "
        "views; null: as the version was fitted."
    ),
]
AsCine = Annotated[
    bool, Query(description="Also predict the images or scans as frames of one cine, in order.")
]


@router.post(
    "/classifiers/{name}/predict",
    openapi_extra=image_body(PredictImagesBody, PredictScansBody),
    responses=responses_of(PredictionsAnswer, 200, 207) | {409: {}},
    dependencies=[needs("predict")],
)
async def predict_items(
    request: Request,
    service: Service,
    caller: KnownCaller,
    workspace_id: WorkspaceId,
    target: VersionInQuery,
    coverage: Coverage = 0.9,
    nearest: Nearest = 3,
    heatmap: Heatmap = "none",
    heatmap_label: HeatmapLabel = None,
    threshold: ThresholdPairs = None,
    cine: AsCine = False,
    accuracy: WantedAccuracy = None,
    region: Annotated[RegionChoice | None, Query(description=REGION_HELP)] = None,
) -> Response:
    """Predict class or labels, prediction set and evidence for each item; 207 if some failed.

    Probabilities are calibrated on out-of-fold scores if there are enough; ``calibrated`` says
    whether. When the classifier abstains, ``decision`` is abstained, and ``label`` and ``called``
    are null.
    """
    prediction_request = PredictionRequest(
        coverage,
        nearest,
        heatmap,
        heatmap_label,
        _thresholds(threshold or []),
        service.pipeline.encoder.ultrasound,
        cine,
    )
    upload = await read_upload(request, max_items=service.settings.max_items)
    name, number = target[0].name, target[1].number
    loaded = await asyncio.to_thread(service.classifiers.open, workspace_id, name, number)
    _require_accuracy(loaded, accuracy)
    wanted = EmbedOptions(with_map=heatmap != "none", with_views=loaded.asks_views)
    if upload.document is not None and "images" not in upload.document:
        caller.require(READ_SCANS)
        items, facts = await _of_scans(service, workspace_id, upload, wanted)
    else:
        files = await asyncio.to_thread(_files_of, upload, service.settings.max_items)
        options = wanted.choosing(None, region)
        embedded = await embed_each(service, files, options)
        if not cine:  # predict refuses a cine without a readable frame
            refuse_if_all_failed(embedded)
        items = [_item(image) for image in embedded]
        facts = [_facts(request, image) for image in embedded]
    status = 207 if any(item is None for item in items) else 200
    if not (threshold or heatmap_label or cine):  # these may still be refused
        will_answer(status)
    return await asyncio.to_thread(
        _answer, service, workspace_id, loaded, items, facts, prediction_request, status
    )


def _answer(
    service: Services,
    workspace_id: str,
    loaded: LoadedClassifier,
    items: Sequence[PredictionQuery | None],
    facts: Sequence[ItemFacts],
    prediction_request: PredictionRequest,
    status: int,
) -> Response:
    predicted = predict(loaded, items, prediction_request)
    service.monitor.record(workspace_id, loaded, predicted.answers)
    answer = PredictionsAnswer.of(loaded, predicted, facts, prediction_request.coverage)
    return Response(
        answer.model_dump_json(exclude_unset=True), status, media_type="application/json"
    )


def _require_accuracy(loaded: LoadedClassifier, accuracy: Accuracy | None) -> None:
    """Raises WrongAccuracy: the calibration of the version belongs to another kind of query."""
    fitted_for = "high" if loaded.asks_views else "standard"
    if accuracy not in (None, fitted_for):
        raise WrongAccuracy(
            f"expected accuracy {fitted_for}, for which the version was fitted; "
            "fit a version with views true or false for the other"
        )


def _thresholds(pairs: list[str]) -> dict[str, float]:
    """Parse label:probability; a label may contain colons. Raises InputError."""
    thresholds: dict[str, float] = {}
    for pair in pairs:
        label, colon, text = pair.rpartition(":")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (label and colon and math.isfinite(value)):
            raise InputError("expected threshold=label:probability")
        if label in thresholds:
            raise InputError("expected one threshold per class")
        thresholds[label] = value
    return thresholds


def _files_of(upload: Upload, max_items: int) -> tuple[bytes | InputError, ...]:
    if upload.document is None:
        return upload.files
    body = validate(PredictImagesBody, upload.document)
    return image_files(body.images, max_items=max_items)


async def _of_scans(
    service: Services, workspace_id: str, upload: Upload, wanted: EmbedOptions
) -> tuple[list[PredictionQuery | None], list[ItemFacts]]:
    body = await upload.validated(PredictScansBody, upload.document)
    touched("collection", [body.collection])
    touched("scan", body.scan_ids)
    if len(body.scan_ids) > service.settings.max_items:
        raise TooManyItems(f"expected at most {service.settings.max_items} scans")
    vectors_ND = await asyncio.to_thread(
        service.gallery.vectors_of, workspace_id, body.collection, body.scan_ids
    )
    scans = [
        await asyncio.to_thread(service.gallery.get_scan, workspace_id, body.collection, scan_id)
        for scan_id in body.scan_ids
    ]
    touched_patients(scans)
    kept: list[EmbeddedImage | None] = [None] * len(scans)
    if wanted.with_map or wanted.with_views:
        kept = [await _embedded_kept(service, workspace_id, scan, wanted) for scan in scans]
    facts: list[ItemFacts] = [{"scan_id": scan_id, "image": None} for scan_id in body.scan_ids]
    queries: list[PredictionQuery | None] = [
        PredictionQuery(
            embedding_D,
            mapped=None if image is None else image.mapped,
            unmapped_because=NOT_KEPT,
            findings=frozenset(found["reason"] for found in scan.image.analysis.get("quality", ())),
            acquisition=_acquisition_of(scan),
            views_D=None if image is None else image.views_D,
        )
        for embedding_D, scan, image in zip(vectors_ND, scans, kept, strict=True)
    ]
    return queries, facts


def _acquisition_of(scan: Scan) -> Acquisition:
    device = scan.image.analysis.get("device") or {}
    machine = f"{device.get('manufacturer', '')} {device.get('model', '')}".strip()
    return Acquisition(machine, scan.image.width_px, scan.image.height_px)


async def _embedded_kept(
    service: Services, workspace_id: str, scan: Scan, wanted: EmbedOptions
) -> EmbeddedImage | None:
    """The embedded pixels of a stored scan again, where they are kept as one picture."""
    png = await asyncio.to_thread(
        service.gallery.kept_image, workspace_id, scan.collection, scan.scan_id
    )
    regions = scan.image.analysis.get("regions", ())
    if png is None or len(regions) != 1:
        return None
    options = replace(wanted, region_mode="none")  # the pixels are the region
    (embedded,) = await service.pipeline.embed_all([png], options)
    if isinstance(embedded, ServiceError):
        raise embedded
    if embedded.mapped is None:
        return embedded
    x0, y0, x1, y1 = regions[0]["box"]
    size = (scan.image.width_px, scan.image.height_px)
    mapped = replace(embedded.mapped, region_box=(x0, y0, x1, y1), frame_px=size)
    return replace(embedded, mapped=mapped)


def _item(image: EmbeddedImage | ServiceError) -> PredictionQuery | None:
    if isinstance(image, ServiceError):
        return None
    frames = tuple(
        QueryFrame(f.index, f.embedding_D, f.copies, f.region, f.view_mean) for f in image.used
    )
    findings = frozenset(finding.reason for finding in image.analysis.findings)
    device = image.info.device
    machine = f"{device.manufacturer} {device.model}".strip()
    acquisition = Acquisition(machine, image.width_px, image.height_px)
    return PredictionQuery(
        image.embedding_D,
        frames,
        image.mapped,
        findings=findings,
        acquisition=acquisition,
        views_D=image.views_D,
    )


def _facts(request: Request, image: EmbeddedImage | ServiceError) -> ItemFacts:
    if isinstance(image, ServiceError):
        return Problem.of(image, request_id_of(request))
    return {"scan_id": None, "image": ImageAnswer.of(image_of(image))}
