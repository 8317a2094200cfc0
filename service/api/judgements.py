"""How good classifiers are, which labels to doubt, and what to label next."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request

from service.api.answering import thumbnail_of
from service.api.answers import says
from service.api.classifier_schemas import AgreementBody, EvaluationBody, UploadedEvaluation
from service.api.judgement_answers import (
    AgreementAnswer,
    ComparisonAnswer,
    EvaluationAnswer,
    NextAnswer,
    SuspectsAnswer,
)
from service.api.labelled import from_form, from_instances, gather
from service.api.openapi import image_body
from service.api.predictions import Version
from service.api.schemas import Identifier, JsonObject
from service.api.state import Service, WorkspaceId
from service.api.uploads import read_upload, validate
from service.api.wire import is_calibrated, reference_json, scan_json

router = APIRouter(prefix="/v1", tags=["classifiers"])


@router.post(
    "/classifiers/{name}/evaluate",
    response_model=None,
    openapi_extra=image_body(EvaluationBody, metadata=UploadedEvaluation),
    responses=says(EvaluationAnswer),
)
async def evaluate(
    name: str,
    request: Request,
    service: Service,
    workspace_id: WorkspaceId,
    version: Version = None,
) -> JsonObject:
    """Judge a version on labelled images or scans that it has not learnt from.

    Examples of the same image, subject or study as one it was fitted from are refused unless
    ``allow_known``; the answer then says how many there were.
    """
    upload = await read_upload(request, max_items=service.settings.max_items)
    sent: EvaluationBody | UploadedEvaluation
    if upload.document is None:
        sent, labelled = from_form(upload, UploadedEvaluation)
    else:
        sent = body = validate(EvaluationBody, upload.document)
        labelled = from_instances(body.instances, max_items=service.settings.max_items)
    loaded = await service.fits.run(
        partial(service.classifiers.open_either, workspace_id, name, version)
    )
    examples = await gather(service, workspace_id, sent, labelled, loaded.version.kind)
    work = partial(
        service.evaluator.evaluate, workspace_id, loaded, examples, allow_known=sent.allow_known
    )
    found = await service.fits.run(work)
    return {
        "classifier": name,
        "version": loaded.version.number,
        "encoder_id": loaded.version.encoder_id,
        "calibrated": is_calibrated(loaded.version),
        "examples": found.examples,
        "known_examples": found.known,
        "judgement": found.judgement,
        "reliability": found.reliability,
    }


@router.get("/classifiers/{name}/compare", response_model=None, responses=says(ComparisonAnswer))
async def compare(
    name: str,
    service: Service,
    workspace_id: WorkspaceId,
    a: Annotated[int, Query(ge=1, description="Number of one version.")],
    b: Annotated[int, Query(ge=1, description="Number of the other.")],
) -> JsonObject:
    """Two versions judged on the examples that both have, by their out-of-fold guesses."""
    shared, one, other = await service.fits.run(
        partial(service.evaluator.compare, workspace_id, name, a, b)
    )
    return {"classifier": name, "shared_examples": shared, "a": one, "b": other}


@router.get("/classifiers/{name}/suspects", response_model=None, responses=says(SuspectsAnswer))
async def list_suspects(
    name: str, service: Service, workspace_id: WorkspaceId, version: Version = None
) -> JsonObject:
    """Examples whose labels a head that had not seen their group doubts, worst first.

    Of a multi-label classifier an example may come once per label, which ``concerns`` names.
    """
    _, found = await service.fits.run(
        partial(service.classifiers.find, workspace_id, name, version)
    )
    doubts = await service.fits.run(
        partial(service.evaluator.suspects, workspace_id, name, found.number)
    )
    items = [
        {
            **reference_json(doubt.example),
            "concerns": doubt.concerns,
            "label": doubt.suspect.label,
            "label_probability": doubt.suspect.given,
            "suggested": doubt.suspect.suggested,
            "suggested_probability": doubt.suspect.probability,
        }
        for doubt in doubts
    ]
    return {"classifier": name, "version": found.number, "items": items}


@router.get("/classifiers/{name}/next-to-label", response_model=None, responses=says(NextAnswer))
async def list_next_to_label(
    name: str,
    service: Service,
    workspace_id: WorkspaceId,
    collection: Annotated[str, Query(max_length=64)],
    task: Annotated[list[Identifier], Query(min_length=1, max_length=64)],
    count: Annotated[int, Query(ge=1, le=100)] = 10,
) -> JsonObject:
    """Scans without a label for a task that would teach the classifier most, one per patient.

    ``task`` is repeatable, for multi-label classifiers: scans that lack any of them. ``concerns``
    names for each scan the label that the classifier is least certain of.
    """
    loaded = await service.fits.run(partial(service.classifiers.open_either, workspace_id, name))
    work = partial(service.evaluator.next_to_label, workspace_id, loaded, collection, task, count)
    dim = service.pipeline.encoder.dim
    found = await service.fits.run(work)
    return {
        "classifier": name,
        "version": loaded.version.number,
        "scans": [scan_json(scan, dim=dim) for scan, _ in found],
        "concerns": [concerns for _, concerns in found],
    }


@router.post(
    "/collections/{collection}/agreement", response_model=None, responses=says(AgreementAnswer)
)
async def measure_agreement(
    collection: str, body: AgreementBody, service: Service, workspace_id: WorkspaceId
) -> JsonObject:
    """Agreement of two readers, whose labels are two tasks of a collection: kappa with interval."""
    work = partial(service.evaluator.agreement, workspace_id, collection, body.one, body.other)
    found, scans = await service.fits.run(work)
    disagreed = [
        {
            "scan_id": scans[row].scan_id,
            "one": scans[row].labels[body.one],
            "other": scans[row].labels[body.other],
            "thumbnail": thumbnail_of((collection, scans[row].scan_id)),
        }
        for row in found.disagreed_rows
    ]
    told = {"kappa": found.to_json()["kappa"], "agreed": found.to_json()["agreed"]}
    return {"agreement": {**told, "scans": len(scans), "disagreed": disagreed}}
