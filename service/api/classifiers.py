"""Classifiers: fit from uploads or stored scans, list, read, delete."""

import asyncio
from functools import partial
from typing import TypeAlias

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.api.answers import Deleted, says
from service.api.classifier_answers import ClassifierAnswer, ClassifierPage
from service.api.classifier_schemas import (
    LabelledInstancesBody,
    NewClassifierBody,
    UploadedClassifier,
)
from service.api.collections import Cursor, Limit, page_limit
from service.api.labelled import (
    NOTHING,
    Labelled,
    from_form,
    from_instances,
    gather,
    options_for,
)
from service.api.long_fits import fit_request
from service.api.openapi import image_body
from service.api.operations import ACCEPTED, Prefer, accepted, prefers_async, started
from service.api.schemas import JsonObject
from service.api.state import (
    IdempotencyKey,
    IfMatch,
    Service,
    WhoAsks,
    WorkspaceId,
    created,
    idempotent,
    read,
    request_fingerprint,
)
from service.api.uploads import Upload, read_upload, validate
from service.api.wire import classifier_json, page_json, read_cursor, version_of

router = APIRouter(prefix="/v1", tags=["classifiers"])


@router.post(
    "/classifiers",
    status_code=201,
    openapi_extra=image_body(NewClassifierBody, LabelledInstancesBody, metadata=UploadedClassifier),
    responses=says(ClassifierAnswer, 201) | ACCEPTED,
)
async def create_classifier(
    request: Request,
    service: Service,
    caller: WhoAsks,
    key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Fit from a label of a collection, named scans, labelled uploads, or a mix of them.

    ``kind: multi_label`` fits one head per label, for what may be there at once: examples then have
    ``labels``, a list. Uploads are all or nothing: one bad image fails the request, for a
    classifier fitted from fewer examples than were sent would not be the one that was asked for.
    With ``Prefer: respond-async`` a fit from stored scans answers 202 with an operation to poll.
    """
    upload = await read_upload(request, max_items=service.settings.max_items)
    name, sent, labelled = _read(upload, service.settings.max_items)
    options = options_for(sent.kind, sent)

    async def act() -> JSONResponse:
        if isinstance(sent, NewClassifierBody) and prefers_async(prefer):
            wanted = fit_request(sent, caller)
            begun = await started(service, caller.workspace_id, "fit", wanted)
            return accepted(begun, preferred=True)
        examples = await gather(service, caller.workspace_id, sent, labelled, sent.kind)
        fit = partial(
            service.classifiers.fit, caller.workspace_id, name, examples, caller.author, options
        )
        made = await service.fits.run(fit)
        return created(classifier_json(made), f"/v1/classifiers/{made.name}")

    content = request_fingerprint("classifier", sent.model_dump_json(), *labelled.files)
    return await idempotent(service, caller.workspace_id, key, content, act)


_NewClassifier: TypeAlias = NewClassifierBody | LabelledInstancesBody | UploadedClassifier


def _read(upload: Upload, max_items: int) -> tuple[str, _NewClassifier, Labelled]:
    if upload.document is None:
        form, labelled = from_form(upload, UploadedClassifier)
        return form.name, form, labelled
    if "instances" in upload.document:
        body = validate(LabelledInstancesBody, upload.document)
        return body.name, body, from_instances(body.instances, max_items=max_items)
    stored = validate(NewClassifierBody, upload.document)
    return stored.name, stored, NOTHING


@router.get("/classifiers", response_model=None, responses=says(ClassifierPage))
async def list_classifiers(
    service: Service, workspace_id: WorkspaceId, limit: Limit = 50, cursor: Cursor = None
) -> JsonObject:
    """Classifiers with the reports of their published versions, sorted by name."""
    page = await asyncio.to_thread(
        service.catalog.list_classifiers,
        workspace_id,
        limit=page_limit(service, limit),
        after=read_cursor("classifiers", cursor),
    )
    return page_json([classifier_json(c) for c in page.items], "classifiers", page.next_after)


@router.get("/classifiers/{name}", responses=says(ClassifierAnswer))
async def get_classifier(name: str, service: Service, workspace_id: WorkspaceId) -> JSONResponse:
    """Read one classifier with the report of its published version."""
    found = await asyncio.to_thread(service.catalog.get_classifier, workspace_id, name)
    return read(classifier_json(found))


@router.delete("/classifiers/{name}", response_model=None, responses=says(Deleted))
async def delete_classifier(
    name: str, service: Service, workspace_id: WorkspaceId, if_match: IfMatch = None
) -> JsonObject:
    """Delete one classifier with all its versions."""
    revision = version_of(if_match)
    await asyncio.to_thread(
        service.catalog.delete_classifier, workspace_id, name, if_revision=revision
    )
    return {"deleted": name}
