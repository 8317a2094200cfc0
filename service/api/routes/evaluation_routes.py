"""Evaluation of classifiers, review of labels, thresholds, confusion and forecast."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from service.api.dependencies import KnownCaller, Service, WorkspaceId
from service.api.etags import IfMatch
from service.api.idempotency import Idempotent
from service.api.labelled_examples import embed_each_labelled, read_labelled
from service.api.openapi import labelled_body
from service.api.permissions import PUBLISH, READ_SCANS, needs
from service.api.routes.version_routes import version_created
from service.api.routing import StrictRoute
from service.api.shapes.base import (
    CollectionName,
    Identifier,
    Label,
    RefusedExampleAnswer,
    responses_of,
)
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
    ReviewAnswer,
    ReviewItemAnswer,
    ThresholdsAnswer,
    ThresholdsBody,
)
from service.api.shapes.report_shapes import Interval, OperatingPointAnswer, VersionReport
from service.api.shapes.scan_shapes import thumbnail_path
from service.api.shapes.version_shapes import VersionAnswer
from service.api.source_limits import require_sources
from service.api.version_names import PATTERN, VersionInPath, VersionInQuery, VersionName
from service.classifiers.fitting import asks_views
from service.classifiers.refusals import RefusedExample
from service.classifiers.requests import EvaluationRequest, ReviewKind, ReviewRequest
from service.classifiers.thresholds import Target, ThresholdRequest
from service.errors import InputError, ServiceError

router = APIRouter(route_class=StrictRoute, prefix="/v1", tags=["classifiers"], responses={409: {}})
Share = Annotated[float | None, Query(gt=0, le=1)]


@router.post(
    "/classifiers/{name}/evaluate",
    openapi_extra=labelled_body(EvaluationBody),
    dependencies=[needs("classifier.evaluate")],
)
async def evaluate_classifier(
    request: Request,
    service: Service,
    caller: KnownCaller,
    workspace_id: WorkspaceId,
    target: VersionInQuery,
) -> EvaluationAnswer:
    """Evaluate a version on labelled images or scans that it was not fitted from.

    Examples with the same image, subject or study as one it was fitted from, and near copies, are
    refused without ``allow_known``; so are unknown classes and unreadable images. The problem names
    them. With ``on_refused: leave_out`` the metrics are those of the other examples.
    """
    classifier, version = target
    body, files = await read_labelled(request, service, EvaluationBody)
    if body.takes_stored:  # the counts tell their labels
        caller.require(READ_SCANS)
    with_views = asks_views(version)
    embedded = await embed_each_labelled(service, body, files, with_views=with_views)
    failed = [(i, item) for i, item in enumerate(embedded) if isinstance(item, ServiceError)]
    _raise_failed(failed, leave_out=body.on_refused == "leave_out")
    evaluation_request = EvaluationRequest(
        classifier.name,
        version.number,
        body.stored,
        tuple(item for item in embedded if not isinstance(item, ServiceError)),
        tuple(RefusedExample("unreadable", file=i, code=error.code) for i, error in failed),
        body.allow_known,
        body.on_refused,
    )
    evaluate = partial(service.registry.evaluate, workspace_id, evaluation_request)
    evaluation = await service.fits.run(evaluate)
    report = VersionReport.of(version.report)
    return EvaluationAnswer.of_record(
        evaluation,
        classifier=classifier.name,
        version=version.number,
        encoder_id=version.encoder_id,
        calibrated=report is not None and report.is_calibrated,
        known_examples=evaluation.known,
        refused=[RefusedExampleAnswer(**example.to_json()) for example in evaluation.refused],
        items=evaluation.labels,
    )


def _raise_failed(failed: Sequence[tuple[int, ServiceError]], *, leave_out: bool) -> None:
    """Raises the first error, unless it is the fault of its image and images may be left out."""
    for file, error in failed:
        if not leave_out or not isinstance(error, InputError):
            others = f"; so do files {', '.join(str(i) for i, _ in failed[1:20])}"
            more = others if len(failed) > 1 else ""
            raise type(error)(f"file {file}: {error}{more}") from error


@router.get(
    "/classifiers/{name}/versions/{version}/compare", dependencies=[needs("classifier.read")]
)
async def compare_versions(
    target: VersionInPath,
    service: Service,
    workspace_id: WorkspaceId,
    other: Annotated[str, Query(alias="with", pattern=PATTERN, description="The other version.")],
) -> ComparisonAnswer:
    """Compare two versions on the examples that both have, by their out-of-fold scores.

    ``differences`` are paired: this version minus the one named by ``with``, on the same patients,
    with 95 % intervals. ``verdict`` says by balanced accuracy whether this version is better;
    with few patients nobody can tell.
    """
    classifier, first = target
    name = classifier.name
    _, second = await asyncio.to_thread(service.registry.find, workspace_id, name, other)
    compare = partial(service.registry.compare, workspace_id, name, first.number, second.number)
    comparison = await service.fits.run(compare)
    return ComparisonAnswer.of_record(
        comparison,
        classifier=name,
        shared_examples=comparison.shared,
        differences=list(comparison.differences),
        first=ComparedVersion.of(first.number, comparison.first),
        second=ComparedVersion.of(second.number, comparison.second),
    )


@router.get("/classifiers/{name}/review", dependencies=[needs("classifier.read", "scan.read")])
async def review_labels(
    service: Service,
    caller: KnownCaller,
    workspace_id: WorkspaceId,
    target: VersionInQuery,
    kind: ReviewKind,
    collection: Annotated[
        CollectionName | None,
        Query(description="For kind `next`; null: as the version was fitted."),
    ] = None,
    task: Annotated[
        list[Identifier] | None,
        Query(max_length=64, description="For kind `next`: scans that lack a label for a task."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> ReviewAnswer:
    """List labels to review: the `next` to give, `suspect` ones, or those in `conflict`.

    ``next``: unlabelled scans that would improve the classifier most, one per patient, without
    copies of what it has learnt. Without a classifier: `GET /v1/collections/{collection}/next`.
    ``suspect``: examples whose labels are doubted by a head that had not seen their group.
    ``conflict``: pairs of examples that look alike and have different labels. For a multi-label
    classifier, ``label`` names the label in question.
    """
    name, version = target[0].name, target[1]
    if kind == "next" and collection is None:
        number = str(version.number)
        await asyncio.to_thread(require_sources, service, caller, name, number)
    request = ReviewRequest(name, version.number, kind, limit, collection, tuple(task or ()))
    review = await service.fits.run(partial(service.review.review, workspace_id, request))
    dim = service.pipeline.encoder.dim
    return ReviewAnswer(
        classifier=name,
        version=version.number,
        kind=kind,
        total=review.total,
        left_out=review.left_out,
        items=[ReviewItemAnswer.of(item, version.kind, dim=dim) for item in review.items],
    )


@router.get(
    "/classifiers/{name}/versions/{version}/thresholds", dependencies=[needs("classifier.read")]
)
async def get_thresholds(
    target: VersionInPath,
    service: Service,
    workspace_id: WorkspaceId,
    sensitivity: Share = None,
    specificity: Share = None,
    threshold: Annotated[float | None, Query(ge=0, le=1)] = None,
    label: Annotated[list[Label] | None, Query(max_length=1000)] = None,
) -> ThresholdsAnswer:
    """Find the threshold for a sensitivity or specificity, or measure a given threshold.

    The request has exactly one of the three; ``label`` (repeatable) selects classes or labels, by
    default all. Nothing is stored.
    """
    targets: dict[Target, float | None] = {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "threshold": threshold,
    }
    values = [(name, value) for name, value in targets.items() if value is not None]
    if len(values) != 1:
        raise InputError("expected one of sensitivity, specificity and threshold")
    classifier, version = target
    requests = [ThresholdRequest(name, *values[0]) for name in label or version.classes]
    choose = partial(
        service.thresholds.choose, workspace_id, classifier.name, version.number, requests
    )
    points = await service.fits.run(choose)
    items = [OperatingPointAnswer.model_validate(point.to_json()) for point in points]
    return ThresholdsAnswer(classifier=classifier.name, version=version.number, items=items)


@router.post(
    "/classifiers/{name}/versions/{version}/thresholds",
    status_code=201,
    responses=responses_of(VersionAnswer, 201),
    dependencies=[needs("classifier.write")],
)
async def set_thresholds(
    name: str,
    version: VersionName,
    body: ThresholdsBody,
    service: Service,
    caller: KnownCaller,
    if_match: IfMatch,
    idempotent: Idempotent,
) -> Response:
    """Set thresholds: a new version with the same head and examples.

    Predictions then say for each class whether its probability reaches the threshold. The settings
    of the version hold each threshold with its operating point.
    """
    if body.publish:
        caller.require(PUBLISH)

    async def act() -> JSONResponse:
        store = partial(
            service.registry.set_thresholds,
            caller.workspace_id,
            name,
            version,
            [target.request for target in body.thresholds],
            caller.author,
            publish=body.publish,
            if_revision=if_match,
        )
        return version_created(*await service.fits.run(store))

    return await idempotent.run(act, "thresholds", name, version, str(if_match), body)


@router.get(
    "/classifiers/{name}/versions/{version}/confusion", dependencies=[needs("classifier.read")]
)
async def get_confusion(
    target: VersionInPath,
    service: Service,
    workspace_id: WorkspaceId,
    label: Annotated[Label | None, Query(description="Multi-label: only this label.")] = None,
    actual: Annotated[Label | None, Query(description="Only cells of this true class.")] = None,
    predicted: Annotated[
        Label | None, Query(description="Only cells of this predicted class.")
    ] = None,
    limit: Annotated[int, Query(ge=0, le=1000, description="Most examples per cell.")] = 50,
) -> ConfusionAnswer:
    """Which class heads that had not seen its group gave to each example.

    For a multi-label classifier, each label has its own cells, with the classes absent and present.
    """
    name, number = target[0].name, target[1].number
    work = partial(service.evaluator.confusion, workspace_id, name, number)
    confusion = await service.fits.run(work)
    items = [
        ConfusionCellAnswer.of(cell, limit)
        for cell in confusion.cells
        if label in (None, cell.label)
        and actual in (None, cell.actual)
        and predicted in (None, cell.predicted)
    ]
    return ConfusionAnswer.of_record(confusion, classifier=name, version=number, items=items)


@router.get(
    "/classifiers/{name}/versions/{version}/forecast", dependencies=[needs("classifier.read")]
)
async def get_forecast(
    target: VersionInPath, service: Service, workspace_id: WorkspaceId
) -> ForecastAnswer:
    """The expected gain from 10 more patients of every class, and of the most useful class.

    For a multi-label classifier, each label has its own forecast, for absent and present.
    """
    name, number = target[0].name, target[1].number
    work = partial(service.evaluator.forecasts, workspace_id, name, number)
    forecasts = await service.fits.run(work)
    items = [
        LabelForecast.of_record(forecast, label=label) for label, forecast in forecasts.items()
    ]
    return ForecastAnswer(classifier=name, version=number, items=items)


@router.post("/collections/{collection}/agreement", dependencies=[needs("scan.read")])
async def measure_agreement(
    collection: str, body: AgreementBody, service: Service, workspace_id: WorkspaceId
) -> AgreementAnswer:
    """Measure the agreement of two readers, whose labels are two tasks of a collection."""
    work = partial(
        service.evaluator.agreement, workspace_id, collection, body.task, body.other_task
    )
    agreement, scans = await service.fits.run(work)
    items = [
        Disagreement(
            scan_id=scans[row].scan_id,
            label=scans[row].labels[body.task],
            other_label=scans[row].labels[body.other_task],
            thumbnail=thumbnail_path(collection, scans[row].scan_id),
        )
        for row in agreement.disagreed_rows
    ]
    kappa = agreement.kappa and Interval.model_validate(agreement.kappa)
    return AgreementAnswer(kappa=kappa, agreed=agreement.agreed, scans=len(scans), items=items)
