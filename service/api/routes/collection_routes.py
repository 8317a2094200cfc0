"""Collections: create, list, read, change, delete, count, export, import, re-embed."""

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse

from service.api.dependencies import (
    IdempotencyKey,
    IfMatch,
    Service,
    Services,
    WorkspaceId,
    page_limit,
)
from service.api.etags import created, read
from service.api.idempotency import idempotent, request_fingerprint
from service.api.routes.operation_routes import ACCEPTED, accepted, begin
from service.api.routing import StrictRoute
from service.api.shapes.base import (
    NAME,
    Cursor,
    Limit,
    Responses,
    read_cursor,
    responses_of,
    version_of,
)
from service.api.shapes.collection_shapes import (
    CollectionAnswer,
    CollectionDeleted,
    CollectionImportBody,
    CollectionPage,
    CollectionPatchBody,
    ExportBody,
    FacetsAnswer,
    FacetsBody,
    NewCollectionBody,
    ReembeddingAnswer,
    ReembeddingEnded,
    collection_page,
)
from service.gallery.encoder_change import KeptVectors
from service.gallery.gallery_records import Collection
from service.jobs.job_requests import ExportRequest, ImportRequest, ReembedRequest

router = APIRouter(route_class=StrictRoute, prefix="/v1/collections", tags=["collections"])
CONFLICT: Responses = {409: {}}


def _answer(service: Services, workspace_id: str, collection: Collection) -> CollectionAnswer:
    return CollectionAnswer.of(collection, service.gallery.statistics(workspace_id, collection))


@router.post("", status_code=201, responses=responses_of(CollectionAnswer, 201))
async def create_collection(
    body: NewCollectionBody, service: Service, workspace_id: WorkspaceId, key: IdempotencyKey = None
) -> Response:
    """Create a collection bound to the loaded encoder."""

    async def act() -> JSONResponse:
        create = partial(
            service.gallery.create,
            workspace_id,
            body.name,
            body.description,
            keep_images=body.keep_images,
            retention_days=body.retention_days,
            intake=body.intake.model_dump(),
        )
        collection = await asyncio.to_thread(create)
        answer = _answer(service, workspace_id, collection)
        return created(answer.to_json(), f"/v1/collections/{collection.name}")

    content = request_fingerprint("collection", body)
    return await idempotent(service, workspace_id, key, content, act)


@router.get("", response_model=None, responses=responses_of(CollectionPage))
async def list_collections(
    service: Service, workspace_id: WorkspaceId, limit: Limit = 50, cursor: Cursor = None
) -> JSONResponse:
    """List collections, sorted by name."""
    page = await asyncio.to_thread(
        service.gallery.list_collections,
        workspace_id,
        limit=page_limit(service, limit),
        after=read_cursor("collections", cursor),
    )
    items = [(item, service.gallery.statistics(workspace_id, item)) for item in page.items]
    return JSONResponse(collection_page(items, page.next_after).to_json())


@router.get("/{collection}", responses=responses_of(CollectionAnswer))
async def get_collection(
    collection: str, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Read one collection, and how it is searched."""
    record = await asyncio.to_thread(service.gallery.get, workspace_id, collection)
    return read(_answer(service, workspace_id, record).to_json())


@router.patch("/{collection}", responses=responses_of(CollectionAnswer))
async def patch_collection(
    collection: str,
    body: CollectionPatchBody,
    service: Service,
    workspace_id: WorkspaceId,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Change description, retention, and whether images are kept."""
    record = await asyncio.to_thread(
        service.gallery.patch,
        workspace_id,
        collection,
        body.patch(),
        if_version=version_of(if_match),
    )
    return read(_answer(service, workspace_id, record).to_json())


@router.delete("/{collection}", response_model=None, responses=responses_of(CollectionDeleted))
async def delete_collection(
    collection: str, service: Service, workspace_id: WorkspaceId, if_match: IfMatch = None
) -> JSONResponse:
    """Delete a collection with all its scans."""
    removed = await asyncio.to_thread(
        service.gallery.delete, workspace_id, collection, if_version=version_of(if_match)
    )
    service.forget_deleted()
    return JSONResponse(CollectionDeleted(deleted=collection, scans=removed).to_json())


@router.post("/{collection}/facets", response_model=None, responses=responses_of(FacetsAnswer))
async def count_scans(
    collection: str, body: FacetsBody, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Count the scans that pass a filter, by label and attribute."""
    facets = await asyncio.to_thread(
        service.gallery.facets,
        workspace_id,
        collection,
        where=body.filter.where(),
        labels=body.labels,
        attributes=body.attributes,
        limit=body.limit,
    )
    return JSONResponse(FacetsAnswer.of(facets).to_json())


# long work ------------------------------------------------------------------------------------


@router.post("/{collection}/export", status_code=202, response_model=None, responses=ACCEPTED)
async def export_collection(
    collection: str, body: ExportBody, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Write a collection as Parquet into the folder of exports that the operator set."""
    await asyncio.to_thread(service.gallery.get, workspace_id, collection)
    await asyncio.to_thread(service.gallery.exports.require_new, workspace_id, body.to)
    return accepted(await begin(service, workspace_id, ExportRequest(collection, body.to)))


@router.post("/{collection}/import", status_code=202, response_model=None, responses=ACCEPTED)
async def import_collection(
    collection: Annotated[str, Path(pattern=NAME)],
    body: CollectionImportBody,
    service: Service,
    workspace_id: WorkspaceId,
) -> JSONResponse:
    """Read an exported collection; it is created when there is none of this name."""
    await asyncio.to_thread(service.gallery.exports.require, workspace_id, body.source)
    return accepted(await begin(service, workspace_id, ImportRequest(collection, body.source)))


@router.post(
    "/{collection}/reembed",
    status_code=202,
    response_model=None,
    responses=ACCEPTED | CONFLICT,
)
async def reembed_collection(
    collection: str, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Embed the kept images of a collection with the loaded encoder.

    It is done in the background; then all vectors are switched at once. Until then the collection
    answers 409 to searches and uploads, as any collection of another encoder does. The old vectors
    are kept until ``DELETE`` ends the re-embedding.
    """
    await asyncio.to_thread(service.gallery.encoder_change.begin, workspace_id, collection)
    request = ReembedRequest(collection, service.pipeline.encoder.encoder_id)
    return accepted(await begin(service, workspace_id, request))


@router.get("/{collection}/reembed", response_model=None, responses=responses_of(ReembeddingAnswer))
async def get_reembedding(
    collection: str, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Read how far a re-embedding is; 404 when there is none."""
    change = await asyncio.to_thread(service.gallery.encoder_change.get, workspace_id, collection)
    return JSONResponse(ReembeddingAnswer.of(collection, change).to_json())


@router.delete(
    "/{collection}/reembed",
    response_model=None,
    responses=responses_of(ReembeddingEnded) | CONFLICT,
)
async def end_reembedding(
    collection: str,
    keep: Annotated[
        KeptVectors,
        Query(description="new: confirm it; old: return to the old vectors, or give it up."),
    ],
    service: Service,
    workspace_id: WorkspaceId,
) -> JSONResponse:
    """End a re-embedding: keep the new vectors or the old ones, and drop the others."""
    end = service.gallery.encoder_change.end
    record = await asyncio.to_thread(end, workspace_id, collection, keep)
    ended = ReembeddingEnded(collection=collection, encoder_id=record.encoder_id)
    return JSONResponse(ended.to_json())
