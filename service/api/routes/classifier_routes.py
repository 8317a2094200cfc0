"""Classifiers: fit, list, read, publish a version, delete, import."""

import asyncio
from functools import partial

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.api.dependencies import (
    IdempotencyKey,
    IfMatch,
    Service,
    WhoAsks,
    WorkspaceId,
    page_limit,
)
from service.api.etags import created
from service.api.idempotency import idempotent, request_fingerprint
from service.api.labelled_examples import embed_labelled, read_labelled
from service.api.openapi import labelled_body
from service.api.routes.operation_routes import ACCEPTED, Prefer, accepted, prefers_async
from service.api.routing import StrictRoute
from service.api.shapes.base import (
    Cursor,
    Deleted,
    Limit,
    read_cursor,
    responses_of,
    version_of,
    write_cursor,
)
from service.api.shapes.classifier_shapes import (
    ClassifierAnswer,
    ClassifierImportBody,
    ClassifierPage,
    ClassifierPatchBody,
    NewClassifierBody,
)
from service.classifiers.registry import Classifier

router = APIRouter(route_class=StrictRoute, prefix="/v1/classifiers", tags=["classifiers"])


@router.post(
    "",
    status_code=201,
    openapi_extra=labelled_body(NewClassifierBody),
    responses=responses_of(ClassifierAnswer, 201) | ACCEPTED,
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
    body, files = await read_labelled(request, service, NewClassifierBody)
    wanted = body.request(caller.author)

    async def act() -> JSONResponse:
        if prefers_async(prefer) and not files:
            start = service.operations.start
            begun = await asyncio.to_thread(start, caller.workspace_id, "fit", wanted.to_json())
            return accepted(begun, preferred=True)
        uploads = await embed_labelled(service, body, files)
        fit = partial(service.registry.fit, caller.workspace_id, wanted, uploads)
        return _created(await service.fits.run(fit))

    content = request_fingerprint("classifier", body, *files)
    return await idempotent(service, caller.workspace_id, key, content, act)


def _created(classifier: Classifier) -> JSONResponse:
    answer = ClassifierAnswer.of(classifier)
    document = answer.model_dump(mode="json", exclude_unset=True)
    return created(document, f"/v1/classifiers/{classifier.name}")


@router.get("", response_model_exclude_unset=True)
async def list_classifiers(
    service: Service, workspace_id: WorkspaceId, limit: Limit = 50, cursor: Cursor = None
) -> ClassifierPage:
    """Classifiers with the reports of their published versions, sorted by name."""
    page = await asyncio.to_thread(
        service.registry.list_classifiers,
        workspace_id,
        limit=page_limit(service, limit),
        after=read_cursor("classifiers", cursor),
    )
    items = [ClassifierAnswer.of(classifier) for classifier in page.items]
    return ClassifierPage(items=items, next_cursor=write_cursor("classifiers", page.next_after))


@router.get("/{name}", response_model_exclude_unset=True)
async def get_classifier(
    name: str, service: Service, workspace_id: WorkspaceId, response: Response
) -> ClassifierAnswer:
    """Read one classifier with the report of its published version."""
    classifier = await asyncio.to_thread(service.registry.get, workspace_id, name)
    return _with_etag(response, classifier)


@router.patch("/{name}", response_model_exclude_unset=True)
async def update_classifier(
    name: str,
    body: ClassifierPatchBody,
    service: Service,
    workspace_id: WorkspaceId,
    response: Response,
    if_match: IfMatch = None,
) -> ClassifierAnswer:
    """Let another version predict from now on; an earlier one rolls back."""
    classifier = await asyncio.to_thread(
        service.registry.publish,
        workspace_id,
        name,
        body.published_version,
        if_revision=version_of(if_match),
    )
    return _with_etag(response, classifier)


def _with_etag(response: Response, classifier: Classifier) -> ClassifierAnswer:
    answer = ClassifierAnswer.of(classifier)
    response.headers["ETag"] = answer.etag
    return answer


@router.delete("/{name}")
async def delete_classifier(
    name: str, service: Service, workspace_id: WorkspaceId, if_match: IfMatch = None
) -> Deleted:
    """Delete one classifier with all its versions."""
    revision = version_of(if_match)
    await asyncio.to_thread(service.registry.delete, workspace_id, name, if_revision=revision)
    return Deleted(deleted=name)


@router.post("/import", status_code=201, responses=responses_of(ClassifierAnswer, 201))
async def import_classifier(
    body: ClassifierImportBody, service: Service, caller: WhoAsks, key: IdempotencyKey = None
) -> Response:
    """Create a classifier from an exported JSON document; another encoder or damage is refused."""

    async def act() -> JSONResponse:
        classifier = await asyncio.to_thread(
            service.registry.import_,
            caller.workspace_id,
            body.name,
            body.classifier,
            caller.author,
        )
        return _created(classifier)

    content = request_fingerprint("import", body)
    return await idempotent(service, caller.workspace_id, key, content, act)
