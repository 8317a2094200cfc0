"""How good classifiers are, which labels to look at, thresholds, confusion, forecast."""

import asyncio
from dataclasses import asdict
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from service.api.dependencies import IdempotencyKey, IfMatch, Service, WhoAsks, WorkspaceId
from service.api.idempotency import idempotent, request_fingerprint
from service.api.labelled_examples import embed_labelled, read_labelled
from service.api.openapi import labelled_body
from service.api.routes.version_routes import version_created
from service.api.routing import StrictRoute
from service.api.shapes.base import Identifier, responses_of, version_of
from service.api.shapes.evaluation_shapes import (
    AgreementAnswer,
    AgreementBody,
    ComparedVersion,
    ComparisonAnswer,
    ConfusionAnswer,
    ConfusionCellAnswer,
    Disagreement,
    EvaluationAnswer,
    EvaluationBody,
    ForecastAnswer,
    LabelForecast,
    LabelMetricsAnswer,
    ReviewAnswer,
    ReviewItemAnswer,
    ThresholdsAnswer,
    ThresholdsBody,
)
from service.api.shapes.report_shapes import Interval, OperatingPointAnswer, VersionReport
from service.api.shapes.version_shapes import (
    VersionAnswer,
    thumbnail_path,
)
from service.api.version_names import PATTERN, VersionInPath, VersionInQuery, VersionName
from service.classifiers.requests import ReviewKind, ReviewRequest
from service.classifiers.thresholds import Target, ThresholdRequest
from service.errors import InputError

router = APIRouter(route_class=StrictRoute, prefix="/v1", tags=["classifiers"])
Share = Annotated[float | None, Query(gt=0, le=1)]


@router.post("/classifiers/{name}/evaluate", openapi_extra=labelled_body(EvaluationBody))
async def evaluate_classifier(
    request: Request, service: Service, workspace_id: WorkspaceId, found: VersionInQuery
) -> EvaluationAnswer:
    """Evaluate a version on labelled images or scans that it was not fitted from.

    Examples of the same image, subject or study as one it was fitted from are refused unless
    ``allow_known``; the answer then says how many there were.
    """
    classifier, version = found
    body, files = await read_labelled(request, service, EvaluationBody)
    uploads = await embed_labelled(service, body, files)
    evaluate = partial(
        service.registry.evaluate,
        workspace_id,
        classifier.name,
        version.number,
        body.stored,
        uploads,
        allow_known=body.allow_known,
    )
    evaluation = await service.fits.run(evaluate)
    report = VersionReport.of(version.report)
    return EvaluationAnswer(
        classifier=classifier.name,
        version=version.number,
        encoder_id=version.encoder_id,
        calibrated=report is not None and report.is_calibrated,
        examples=evaluation.examples,
        known_examples=evaluation.known,
        balanced_accuracy=evaluation.balanced_accuracy,
        items=[LabelMetricsAnswer.of(head) for head in evaluation.labels],
    )


@router.get("/classifiers/{name}/versions/{version}/compare", responses={409: {}})
async def compare_versions(
    found: VersionInPath,
    service: Service,
    workspace_id: WorkspaceId,
    other: Annotated[str, Query(alias="with", pattern=PATTERN, description="The other version.")],
) -> ComparisonAnswer:
    """Two versions evaluated on the examples that both have, by their out-of-fold guesses."""
    classifier, first = found
    name = classifier.name
    _, second = await asyncio.to_thread(service.registry.find, workspace_id, name, other)
    compare = partial(service.evaluator.compare, workspace_id, name, first.number, second.number)
    comparison = await service.fits.run(compare)
    return ComparisonAnswer(
        classifier=name,
        shared_examples=comparison.shared,
        first=ComparedVersion.of(first.number, comparison.first),
        second=ComparedVersion.of(second.number, comparison.second),
    )


@router.get("/classifiers/{name}/review", responses={409: {}})
async def review_labels(
    service: Service,
    workspace_id: WorkspaceId,
    found: VersionInQuery,
    kind: ReviewKind,
    collection: Annotated[
        str | None, Query(max_length=64, description="Of kind `next`, which needs it.")
    ] = None,
    task: Annotated[
        list[Identifier] | None,
        Query(max_length=64, description="Of kind `next`: scans that lack any of these labels."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> ReviewAnswer:
    """Labels that a person should look at: `next` to give, `suspect`, or in `conflict`.

    ``next``: scans without a label for a task that would teach the classifier most, one per
    patient. ``suspect``: examples whose labels a head that had not seen their group doubts.
    ``conflict``: pairs of examples that look alike and carry different labels. Of a multi-label
    classifier ``label`` names the label in question.
    """
    name, version = found[0].name, found[1]
    request = ReviewRequest(name, version.number, kind, limit, collection, tuple(task or ()))
    review = await service.fits.run(partial(service.review.review, workspace_id, request))
    dim = service.pipeline.encoder.dim
    return ReviewAnswer(
        classifier=name,
        version=version.number,
        kind=kind,
        total=review.total,
        items=[ReviewItemAnswer.of(item, version.kind, dim=dim) for item in review.items],
    )


@router.get("/classifiers/{name}/versions/{version}/thresholds", responses={409: {}})
async def get_thresholds(
    found: VersionInPath,
    service: Service,
    workspace_id: WorkspaceId,
    sensitivity: Share = None,
    specificity: Share = None,
    threshold: Annotated[float | None, Query(ge=0, le=1)] = None,
    label: Annotated[list[str] | None, Query(max_length=1000)] = None,
) -> ThresholdsAnswer:
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
    classifier, version = found
    targets = [ThresholdRequest(name, *given[0]) for name in label or version.classes]
    choose = partial(
        service.thresholds.choose, workspace_id, classifier.name, version.number, targets
    )
    points = await service.fits.run(choose)
    items = [OperatingPointAnswer.model_validate(point.to_json()) for point in points]
    return ThresholdsAnswer(classifier=classifier.name, version=version.number, items=items)


@router.post(
    "/classifiers/{name}/versions/{version}/thresholds",
    status_code=201,
    responses=responses_of(VersionAnswer, 201) | {409: {}},
)
async def set_thresholds(
    name: str,
    version: VersionName,
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
            service.registry.set_thresholds,
            caller.workspace_id,
            name,
            version,
            [target.request for target in body.thresholds],
            caller.author,
            publish=body.publish,
            if_revision=revision,
        )
        return version_created(*await service.fits.run(store))

    content = request_fingerprint("thresholds", name, version, str(revision), body)
    return await idempotent(service, caller.workspace_id, key, content, act)


@router.get("/classifiers/{name}/versions/{version}/confusion", responses={409: {}})
async def get_confusion(
    found: VersionInPath,
    service: Service,
    workspace_id: WorkspaceId,
    label: Annotated[str | None, Query(description="Multi-label: of this label alone.")] = None,
    actual: Annotated[str | None, Query(description="True class: its cells alone.")] = None,
    predicted: Annotated[str | None, Query(description="Given class: its cells alone.")] = None,
    limit: Annotated[int, Query(ge=0, le=1000, description="Examples named per cell.")] = 50,
) -> ConfusionAnswer:
    """Which examples were given which class by heads that had not seen their groups.

    Of a multi-label classifier the cells of each label, whose classes are absent and present.
    """
    name, number = found[0].name, found[1].number
    work = partial(service.evaluator.confusion, workspace_id, name, number)
    confusion = await service.fits.run(work)
    items = [
        ConfusionCellAnswer.of(cell, limit)
        for cell in confusion.cells
        if label in (None, cell.label)
        and actual in (None, cell.actual)
        and predicted in (None, cell.predicted)
    ]
    return ConfusionAnswer(
        classifier=name,
        version=number,
        classes=list(confusion.classes),
        scored=confusion.scored,
        items=items,
    )


@router.get("/classifiers/{name}/versions/{version}/forecast", responses={409: {}})
async def get_forecast(
    found: VersionInPath, service: Service, workspace_id: WorkspaceId
) -> ForecastAnswer:
    """What 10 more patients of every class would give, and of which class alone the most.

    Of a multi-label classifier for each label, whose classes are absent and present.
    """
    name, number = found[0].name, found[1].number
    work = partial(service.evaluator.forecasts, workspace_id, name, number)
    forecasts = await service.fits.run(work)
    items = [
        LabelForecast.model_validate({**asdict(forecast), "label": label})
        for label, forecast in forecasts.items()
    ]
    return ForecastAnswer(classifier=name, version=number, items=items)


@router.post("/collections/{collection}/agreement")
async def measure_agreement(
    collection: str, body: AgreementBody, service: Service, workspace_id: WorkspaceId
) -> AgreementAnswer:
    """Agreement of two readers, whose labels are two tasks of a collection: kappa with interval."""
    work = partial(
        service.evaluator.agreement, workspace_id, collection, body.task, body.other_task
    )
    agreement, scans = await service.fits.run(work)
    items = [
        Disagreement(
            scan_id=scans[row].scan_id,
            label=scans[row].labels[body.task],
            other_label=scans[row].labels[body.other_task],
            thumbnail=thumbnail_path((collection, scans[row].scan_id)),
        )
        for row in agreement.disagreed_rows
    ]
    kappa = agreement.kappa and Interval.model_validate(agreement.kappa, from_attributes=True)
    return AgreementAnswer(kappa=kappa, agreed=agreement.agreed, scans=len(scans), items=items)
