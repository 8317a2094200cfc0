"""Versions of a classifier: change its examples, list, read, export."""

import asyncio
from functools import partial
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.api.dependencies import KnownCaller, Service, WorkspaceId
from service.api.etags import IfMatch, created, with_etag
from service.api.idempotency import Idempotent
from service.api.labelled_examples import embed_labelled, read_labelled
from service.api.openapi import labelled_body
from service.api.paging import Paging, next_cursor
from service.api.permissions import PUBLISH, needs
from service.api.routing import StrictRoute
from service.api.shapes.base import responses_of
from service.api.shapes.version_shapes import (
    ExampleAnswer,
    ExampleChangesBody,
    ExamplePage,
    VersionAnswer,
    VersionPage,
)
from service.api.source_limits import source_changes
from service.api.version_names import VersionInPath, VersionName
from service.classifiers.portable_versions import export_document, export_onnx
from service.classifiers.registry import Classifier, ClassifierVersion
from service.classifiers.views.upload_views import ViewsOfUploads

router = APIRouter(
    route_class=StrictRoute, prefix="/v1/classifiers/{name}/versions", tags=["classifiers"]
)
ONNX_TYPE = "application/octet-stream"


@router.get("", dependencies=[needs("classifier.read")])
async def list_versions(
    name: str, service: Service, workspace_id: WorkspaceId, paging: Paging
) -> VersionPage:
    """Versions with their reports, newest first."""
    kind = f"versions/{name}"
    classifier, page = await asyncio.to_thread(
        service.registry.list_versions,
        workspace_id,
        name,
        limit=paging.limit,
        before=paging.number_after(kind),
    )
    items = [VersionAnswer.of(classifier, version) for version in page.items]
    return VersionPage(items=items, next_cursor=next_cursor(kind, page.next_after))


@router.get("/{version}", dependencies=[needs("classifier.read")])
async def get_version(
    target: VersionInPath, service: Service, workspace_id: WorkspaceId, response: Response
) -> VersionAnswer:
    """Read one version: its report, who made it, when, from what, and what is newer there."""
    classifier, version = target
    name = classifier.name
    changes = await asyncio.to_thread(source_changes, service, workspace_id, name, version)
    return with_etag(response, VersionAnswer.of(classifier, version, changes))


@router.get("/{version}/examples", dependencies=[needs("classifier.read")])
async def list_examples(
    target: VersionInPath, service: Service, workspace_id: WorkspaceId, paging: Paging
) -> ExamplePage:
    """The examples that a version was fitted from, with labels and groups, in that order."""
    classifier, version = target
    kind = f"examples/{classifier.name}/{version.number}"
    number = paging.number_after(kind)
    after = -1 if number is None else number
    examples = await asyncio.to_thread(
        service.registry.list_examples,
        workspace_id,
        classifier.name,
        version.number,
        limit=paging.limit + 1,
        after=after,
    )
    last = str(after + paging.limit) if len(examples) > paging.limit else None
    items = [
        ExampleAnswer.of(example, version.kind, kept=example.is_kept)
        for example in examples[: paging.limit]
    ]
    return ExamplePage(items=items, next_cursor=next_cursor(kind, last))


@router.post(
    "/{version}/examples",
    status_code=201,
    openapi_extra=labelled_body(ExampleChangesBody),
    responses=responses_of(VersionAnswer, 201) | {409: {}},
    dependencies=[needs("classifier.write")],
)
async def change_examples(
    name: str,
    version: VersionName,
    request: Request,
    service: Service,
    caller: KnownCaller,
    idempotent: Idempotent,
    if_match: IfMatch,
) -> Response:
    """Add, relabel or drop examples of a version: a new version, published only on request.

    A scan or image that is already an example is relabelled. Examples whose scans were deleted
    or whose subjects were erased are left out; ``settings.not_kept`` gives their number.
    """
    body, files = await read_labelled(request, service, ExampleChangesBody)
    if body.publish:
        caller.require(PUBLISH)
    change_request = body.request(name, version, caller.author, if_match)

    async def act() -> JSONResponse:
        with_views: ViewsOfUploads = False
        if files:
            find, views_of = service.registry.find, service.registry.upload_views.of_change
            _, base = await asyncio.to_thread(find, caller.workspace_id, name, version)
            sources = (body.views, base, change_request.examples, len(files))
            with_views = await asyncio.to_thread(views_of, caller.workspace_id, *sources)
        uploads = await embed_labelled(service, body, files, with_views=with_views)
        change = partial(service.registry.change, caller.workspace_id, change_request, uploads)
        return version_created(*await service.fits.run(change))

    return await idempotent.run(act, "examples", name, version, str(if_match), body, *files)


def version_created(classifier: Classifier, version: ClassifierVersion) -> JSONResponse:
    """201 for a new version, with its place."""
    location = f"/v1/classifiers/{classifier.name}/versions/{version.number}"
    return created(VersionAnswer.of(classifier, version), location)


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
    dependencies=[needs("classifier.export")],
)
async def export_classifier(
    target: VersionInPath,
    service: Service,
    workspace_id: WorkspaceId,
    format: Literal["json", "onnx"] = "json",
) -> Response:
    """Export a version as JSON that can be imported, or as ONNX: embedding to probabilities.

    The JSON contains embeddings of examples (at most 2000), from which distances are measured; the
    ONNX file does not. Both contain the card: report, classes, encoder_id. The key of the workspace
    signs both: the JSON in its member `signature`, the ONNX file in the header `Signature-Ed25519`.
    """
    classifier, version = target
    signing = service.registry.signing

    def export() -> Response:  # writes the body too, which can be megabytes long
        loaded = service.classifiers.open(workspace_id, classifier.name, version.number)
        if format == "json":
            return JSONResponse(signing.sign(workspace_id, export_document(loaded)))
        network = export_onnx(loaded)
        signature = signing.sign_file(workspace_id, network)
        headers = {
            "Content-Disposition": f'attachment; filename="{classifier.name}.onnx"',
            "Signature-Key-Id": signature.key_id,
            "Signature-Ed25519": signature.value,
        }
        return Response(network, media_type=ONNX_TYPE, headers=headers)

    return await service.fits.run(export)
