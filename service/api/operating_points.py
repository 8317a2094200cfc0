"""Thresholds with the operating points they give, confusion with its examples, forecast."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from service.api.answering import thumbnail_of
from service.api.answers import says
from service.api.classifier_answers import VersionAnswer
from service.api.operating_answers import (
    ConfusionAnswer,
    ForecastAnswer,
    OperatingPointsAnswer,
    ThresholdsBody,
    ThresholdWish,
)
from service.api.predictions import Version
from service.api.schemas import JsonObject
from service.api.state import (
    IdempotencyKey,
    IfMatch,
    Service,
    WhoAsks,
    WorkspaceId,
    idempotent,
    request_fingerprint,
)
from service.api.versions import version_created
from service.api.wire import reference_json, version_of
from service.classifiers.thresholds import Target, ThresholdRequest
from service.errors import InputError

router = APIRouter(prefix="/v1", tags=["classifiers"])
Share = Annotated[float | None, Query(gt=0, le=1)]


@router.post("/classifiers/{name}/thresholds", status_code=201, responses=says(VersionAnswer, 201))
async def set_thresholds(
    name: str,
    body: ThresholdsBody,
    service: Service,
    caller: WhoAsks,
    if_match: IfMatch = None,
    key: IdempotencyKey = None,
) -> Response:
    """Give a version's head other thresholds: a new version of the same head and examples.

    Predictions then say per class whether its probability reaches the threshold. The settings of
    the version hold each threshold with the operating point it gives.
    """
    revision = version_of(if_match)

    async def act() -> JSONResponse:
        store = partial(
            service.thresholds.store,
            caller.workspace_id,
            name,
            [_wanted(one) for one in body.thresholds],
            caller.author,
            base=body.base_version,
            publish=body.publish,
            if_revision=revision,
        )
        classifier, version = await service.fits.run(store)
        return version_created(classifier, version)

    content = request_fingerprint("thresholds", name, str(revision), body.model_dump_json())
    return await idempotent(service, caller.workspace_id, key, content, act)


def _wanted(sent: ThresholdWish) -> ThresholdRequest:
    if sent.sensitivity is not None:
        return ThresholdRequest(sent.label, "sensitivity", sent.sensitivity)
    if sent.specificity is not None:
        return ThresholdRequest(sent.label, "specificity", sent.specificity)
    return ThresholdRequest(sent.label, "threshold", sent.threshold or 0.0)


@router.get(
    "/classifiers/{name}/operating-points",
    response_model=None,
    responses=says(OperatingPointsAnswer),
)
async def list_operating_points(
    name: str,
    service: Service,
    workspace_id: WorkspaceId,
    sensitivity: Share = None,
    specificity: Share = None,
    threshold: Annotated[float | None, Query(ge=0, le=1)] = None,
    label: Annotated[list[str] | None, Query(max_length=1000)] = None,
    version: Version = None,
) -> JsonObject:
    """Which threshold gives a wanted sensitivity or specificity, or what a threshold gives.

    Exactly one of the three; for the classes or labels in ``label`` (repeatable), or for all.
    Nothing is stored.
    """
    asked: dict[Target, float | None] = {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "threshold": threshold,
    }
    given = [(target, value) for target, value in asked.items() if value is not None]
    if len(given) != 1:
        raise InputError("expected one of sensitivity, specificity and threshold")
    _, found = await service.fits.run(
        partial(service.classifiers.find, workspace_id, name, version)
    )
    labels: Sequence[str] = label or found.classes
    ((target, value),) = given
    wishes = [ThresholdRequest(one, target, value) for one in labels]
    number = found.number
    choose = partial(service.thresholds.choose, workspace_id, name, number, wishes)
    points = [one.to_json() for one in await service.fits.run(choose)]
    return {"classifier": name, "version": number, "points": points}


@router.get(
    "/classifiers/{name}/versions/{version}/confusion",
    response_model=None,
    responses=says(ConfusionAnswer),
)
async def get_confusion(
    name: str,
    version: int,
    service: Service,
    workspace_id: WorkspaceId,
    label: Annotated[str | None, Query(description="True class: its cells alone.")] = None,
    predicted: Annotated[str | None, Query(description="Given class: its cells alone.")] = None,
    concerns: Annotated[str | None, Query(description="Multi-label: of this label alone.")] = None,
    most: Annotated[int, Query(ge=0, le=1000, description="Examples named per cell.")] = 50,
) -> JsonObject:
    """Which examples were given which class by heads that had not seen their groups.

    Of a multi-label classifier the cells of each label, whose classes are absent and present.
    """
    work = partial(service.evaluator.confusion, workspace_id, name, version)
    found = await service.fits.run(work)
    cells = [
        {
            "concerns": cell.concerns,
            "label": cell.label,
            "predicted": cell.predicted,
            "count": len(cell.examples),
            "examples": [
                reference_json(example) | {"thumbnail": thumbnail_of(example.scan)}
                for example in cell.examples[:most]
            ],
        }
        for cell in found.cells
        if label in (None, cell.label)
        and predicted in (None, cell.predicted)
        and concerns in (None, cell.concerns)
    ]
    about = {"classifier": name, "version": version, "classes": list(found.classes)}
    return about | {"judged": found.judged, "cells": cells}


@router.get(
    "/classifiers/{name}/versions/{version}/forecast",
    response_model=None,
    responses=says(ForecastAnswer),
)
async def get_forecast(
    name: str, version: int, service: Service, workspace_id: WorkspaceId
) -> JsonObject:
    """What 10 more patients of every class would give, and of which class alone the most.

    Of a multi-label classifier ``per_label``, whose classes are absent and present.
    """
    found = await service.fits.run(partial(service.evaluator.forecast, workspace_id, name, version))
    said = {concerns: one.to_json() for concerns, one in found.items()}
    forecast = said.get(None, {"per_label": said})
    return {"classifier": name, "version": version, "forecast": forecast}
