"""Versions of a classifier: change its examples, list, read, publish and roll back."""

import asyncio
from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.api.answers import says
from service.api.classifier_answers import (
    ClassifierAnswer,
    ExamplePage,
    VersionAnswer,
    VersionPage,
)
from service.api.classifier_schemas import (
    ChangeOptions,
    ChangesBody,
    ExampleReference,
    PublishBody,
    UploadedChanges,
)
from service.api.collections import Cursor, Limit, page_limit
from service.api.labelled import (
    Labelled,
    from_form,
    from_instances,
    gather,
    key_for,
    options_for,
)
from service.api.openapi import image_body
from service.api.schemas import JsonObject
from service.api.state import (
    IdempotencyKey,
    IfMatch,
    Service,
    Services,
    WhoAsks,
    WorkspaceId,
    created,
    idempotent,
    read,
    request_fingerprint,
)
from service.api.uploads import Upload, read_upload, validate
from service.api.wire import (
    classifier_json,
    example_json,
    number_of,
    page_json,
    read_cursor,
    version_json,
    version_of,
)
from service.catalog.records import Classifier, ClassifierVersion
from service.classifiers.examples import Changes, Reference
from service.classifiers.fitting import SINGLE

router = APIRouter(prefix="/v1", tags=["classifiers"])


@router.post(
    "/classifiers/{name}/examples",
    status_code=201,
    openapi_extra=image_body(ChangesBody, metadata=UploadedChanges),
    responses=says(VersionAnswer, 201),
)
async def change_examples(
    name: str,
    request: Request,
    service: Service,
    caller: WhoAsks,
    key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Add, relabel or drop examples: a new version, published only when asked.

    A scan or image that is an example already is relabelled. Examples whose scans were deleted
    or whose subjects were erased are left out; ``settings.not_kept`` says how many.
    """
    upload = await read_upload(request, max_items=service.settings.max_items)
    sent, labelled = _read(upload, service.settings.max_items)
    revision = version_of(if_match)

    async def act() -> JSONResponse:
        base = await asyncio.to_thread(_base, service, caller.workspace_id, name, sent.base_version)
        added = await gather(service, caller.workspace_id, sent, labelled, base.kind)
        relabel = [(_reference(item), key_for(base.kind, item)) for item in sent.relabel]
        extend = partial(
            service.classifiers.extend,
            caller.workspace_id,
            name,
            Changes(tuple(added), tuple(relabel), _references(sent.drop)),
            caller.author,
            base=base.number,
            options=options_for(SINGLE, sent),  # the kind stays that of the base
            publish=sent.publish,
            if_revision=revision,
        )
        classifier, version = await service.fits.run(extend)
        return version_created(classifier, version)

    said = sent.model_dump_json()
    content = request_fingerprint("examples", name, str(revision), said, *labelled.files)
    return await idempotent(service, caller.workspace_id, key, content, act)


def version_created(classifier: Classifier, version: ClassifierVersion) -> JSONResponse:
    """201 for a new version, with its place."""
    where = f"/v1/classifiers/{classifier.name}/versions/{version.number}"
    return created(version_json(classifier, version), where)


def _read(upload: Upload, max_items: int) -> tuple[ChangeOptions, Labelled]:
    if upload.document is None:
        return from_form(upload, UploadedChanges)
    body = validate(ChangesBody, upload.document)
    return body, from_instances(body.instances, max_items=max_items)


def _base(service: Services, workspace_id: str, name: str, number: int | None) -> ClassifierVersion:
    found = service.catalog.get_classifier(workspace_id, name)
    return service.catalog.get_version(workspace_id, name, number or found.latest)


def _references(sent: Sequence[ExampleReference]) -> tuple[Reference, ...]:
    return tuple(_reference(item) for item in sent)


def _reference(sent: ExampleReference) -> Reference:
    if sent.collection is not None and sent.scan_id is not None:
        return Reference(scan=(sent.collection, sent.scan_id))
    return Reference(sent.example_id)


@router.get("/classifiers/{name}/versions", response_model=None, responses=says(VersionPage))
async def list_versions(
    name: str,
    service: Service,
    workspace_id: WorkspaceId,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JsonObject:
    """Versions with their reports, newest first."""
    kind = f"versions/{name}"
    before = read_cursor(kind, cursor)
    classifier = await asyncio.to_thread(service.catalog.get_classifier, workspace_id, name)
    page = await asyncio.to_thread(
        service.catalog.list_versions,
        workspace_id,
        name,
        limit=page_limit(service, limit),
        before=None if before is None else number_of(before),
    )
    items = [version_json(classifier, version) for version in page.items]
    return page_json(items, kind, page.next_after)


@router.get("/classifiers/{name}/versions/{version}", responses=says(VersionAnswer))
async def get_version(
    name: str, version: int, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Read one version: its report, who made it, when, and from what."""
    classifier = await asyncio.to_thread(service.catalog.get_classifier, workspace_id, name)
    found = await asyncio.to_thread(service.catalog.get_version, workspace_id, name, version)
    return read(version_json(classifier, found))


@router.get(
    "/classifiers/{name}/versions/{version}/examples",
    response_model=None,
    responses=says(ExamplePage),
)
async def list_examples(
    name: str,
    version: int,
    service: Service,
    workspace_id: WorkspaceId,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JsonObject:
    """What a version was fitted from, with labels and groups, in the order of fitting."""
    kind = f"examples/{name}/{version}"
    text = read_cursor(kind, cursor)
    after = -1 if text is None else number_of(text)
    most = page_limit(service, limit)
    version_found = await asyncio.to_thread(
        service.catalog.get_version, workspace_id, name, version
    )
    found = await asyncio.to_thread(
        service.catalog.version_examples,
        workspace_id,
        name,
        version,
        after=after,
        limit=most + 1,
    )
    last = str(after + most) if len(found) > most else None
    items = [example_json(item, version_found.kind) for item in found[:most]]
    return page_json(items, kind, last)


@router.post("/classifiers/{name}/publish", responses=says(ClassifierAnswer))
async def publish(
    name: str,
    body: PublishBody,
    service: Service,
    workspace_id: WorkspaceId,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Let another version predict from now on; an earlier one rolls back."""
    moved = await asyncio.to_thread(
        service.catalog.publish_version,
        workspace_id,
        name,
        body.version,
        if_revision=version_of(if_match),
    )
    return read(classifier_json(moved))
