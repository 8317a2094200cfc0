"""Versions of a classifier: change its examples, list, read, export."""

import asyncio
from functools import partial
from typing import Literal

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
from service.api.routing import StrictRoute
from service.api.shapes.base import (
    Cursor,
    Limit,
    number_of,
    read_cursor,
    responses_of,
    version_of,
    write_cursor,
)
from service.api.shapes.version_shapes import (
    ExampleAnswer,
    ExampleChangesBody,
    ExamplePage,
    VersionAnswer,
    VersionPage,
)
from service.api.version_names import VersionInPath, VersionName
from service.classifiers.portable_versions import export_document, export_onnx
from service.classifiers.registry import Classifier, ClassifierVersion

router = APIRouter(
    route_class=StrictRoute, prefix="/v1/classifiers/{name}/versions", tags=["classifiers"]
)
ONNX_TYPE = "application/octet-stream"


@router.get("", response_model_exclude_unset=True)
async def list_versions(
    name: str,
    service: Service,
    workspace_id: WorkspaceId,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> VersionPage:
    """Versions with their reports, newest first."""
    kind = f"versions/{name}"
    before = read_cursor(kind, cursor)
    classifier, page = await asyncio.to_thread(
        service.registry.list_versions,
        workspace_id,
        name,
        limit=page_limit(service, limit),
        before=None if before is None else number_of(before),
    )
    items = [VersionAnswer.of(classifier, version) for version in page.items]
    return VersionPage(items=items, next_cursor=write_cursor(kind, page.next_after))


@router.get("/{version}", response_model_exclude_unset=True)
async def get_version(found: VersionInPath, response: Response) -> VersionAnswer:
    """Read one version: its report, who made it, when, and from what."""
    answer = VersionAnswer.of(*found)
    response.headers["ETag"] = answer.etag
    return answer


@router.get("/{version}/examples")
async def list_examples(
    found: VersionInPath,
    service: Service,
    workspace_id: WorkspaceId,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ExamplePage:
    """What a version was fitted from, with labels and groups, in the order of fitting."""
    classifier, version = found
    kind = f"examples/{classifier.name}/{version.number}"
    text = read_cursor(kind, cursor)
    after, most = -1 if text is None else number_of(text), page_limit(service, limit)
    examples = await asyncio.to_thread(
        service.registry.list_examples,
        workspace_id,
        classifier.name,
        version.number,
        limit=most + 1,
        after=after,
    )
    last = str(after + most) if len(examples) > most else None
    items = [ExampleAnswer.of(example, version.kind) for example in examples[:most]]
    return ExamplePage(items=items, next_cursor=write_cursor(kind, last))


@router.post(
    "/{version}/examples",
    status_code=201,
    openapi_extra=labelled_body(ExampleChangesBody),
    responses=responses_of(VersionAnswer, 201) | {409: {}},
)
async def change_examples(
    name: str,
    version: VersionName,
    request: Request,
    service: Service,
    caller: WhoAsks,
    key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Add, relabel or drop examples of a version: a new version, published only when asked.

    A scan or image that is an example already is relabelled. Examples whose scans were deleted
    or whose subjects were erased are left out; ``settings.not_kept`` says how many.
    """
    body, files = await read_labelled(request, service, ExampleChangesBody)
    revision = version_of(if_match)
    wanted = body.request(name, version, caller.author, revision)

    async def act() -> JSONResponse:
        uploads = await embed_labelled(service, body, files)
        change = partial(service.registry.change, caller.workspace_id, wanted, uploads)
        return version_created(*await service.fits.run(change))

    content = request_fingerprint("examples", name, version, str(revision), body, *files)
    return await idempotent(service, caller.workspace_id, key, content, act)


def version_created(classifier: Classifier, version: ClassifierVersion) -> JSONResponse:
    """201 for a new version, with its place."""
    answer = VersionAnswer.of(classifier, version)
    document = answer.model_dump(mode="json", exclude_unset=True)
    return created(document, f"/v1/classifiers/{classifier.name}/versions/{version.number}")


@router.get(
    "/{version}/export",
    response_class=Response,
    responses={
        200: {
            "content": {
                "application/json": {"schema": {"type": "object", "additionalProperties": True}},
                ONNX_TYPE: {"schema": {"type": "string", "format": "binary"}},
            }
        },
        409: {},
    },
)
async def export_classifier(
    found: VersionInPath,
    service: Service,
    workspace_id: WorkspaceId,
    format: Literal["json", "onnx"] = "json",
) -> Response:
    """A version as JSON that can be imported, or as ONNX: embedding to probabilities.

    The JSON carries embeddings of examples (at most 2000), by which distances are measured; the
    ONNX does not. Both carry the card: report, classes, encoder_id.
    """
    classifier, version = found

    def export() -> Response:  # writes the body too, which can be megabytes long
        loaded = service.classifiers.open(workspace_id, classifier.name, version.number)
        if format == "json":
            return JSONResponse(export_document(loaded))
        disposition = f'attachment; filename="{classifier.name}.onnx"'
        headers = {"Content-Disposition": disposition}
        return Response(export_onnx(loaded), media_type=ONNX_TYPE, headers=headers)

    return await service.fits.run(export)
