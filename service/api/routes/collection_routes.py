"""Collections: create, list, read, change, delete, count, export, import, re-embed."""

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse

from service.api.dependencies import KnownCaller, Service, Services, WorkspaceId
from service.api.etags import IfMatch, created, with_etag
from service.api.idempotency import Idempotent
from service.api.paging import Paging, next_cursor, page_within
from service.api.permissions import needs
from service.api.routes.operation_routes import ACCEPTED, accepted, begin
from service.api.routing import StrictRoute
from service.api.shapes.base import NAME, Responses, responses_of
from service.api.shapes.collection_shapes import (
    CollectionAnswer,
    CollectionChangeBody,
    CollectionDeleted,
    CollectionImportBody,
    CollectionPage,
    ExportBody,
    FacetsAnswer,
    FacetsBody,
    NewCollectionBody,
    ReembeddingAnswer,
    ReembeddingEnded,
)
from service.gallery.encoder_change import KeptVectors
from service.gallery.gallery_records import Collection
from service.jobs.job_requests import ExportRequest, ImportRequest, ReembedRequest

router = APIRouter(route_class=StrictRoute, prefix="/v1/collections", tags=["collections"])
CONFLICT: Responses = {409: {}}


def _answer(service: Services, workspace_id: str, collection: Collection) -> CollectionAnswer:
    return CollectionAnswer.of(collection, service.gallery.statistics(workspace_id, collection))


@router.post(
    "",
    status_code=201,
    responses=responses_of(CollectionAnswer, 201),
    dependencies=[needs("collection.write", limited="body")],
)
async def create_collection(
    body: NewCollectionBody, service: Service, workspace_id: WorkspaceId, idempotent: Idempotent
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
        return created(answer, f"/v1/collections/{collection.name}")

    return await idempotent.run(act, "collection", body)


@router.get("", dependencies=[needs("collection.read", limited="shown")])
async def list_collections(
    service: Service, caller: KnownCaller, workspace_id: WorkspaceId, paging: Paging
) -> CollectionPage:
    """List collections, sorted by name."""
    page = await asyncio.to_thread(
        page_within,
        caller.limits,
        partial(service.gallery.list_collections, workspace_id),
        lambda collection: caller.limits.has_collection(collection.name),
        limit=paging.limit,
        after=paging.after("collections"),
    )
    items = [_answer(service, workspace_id, collection) for collection in page.items]
    return CollectionPage(items=items, next_cursor=next_cursor("collections", page.next_after))


@router.get("/{collection}", dependencies=[needs("collection.read")])
async def get_collection(
    collection: str, service: Service, workspace_id: WorkspaceId, response: Response
) -> CollectionAnswer:
    """Read one collection, and how it is searched."""
    record = await asyncio.to_thread(service.gallery.get, workspace_id, collection)
    return with_etag(response, _answer(service, workspace_id, record))


@router.patch("/{collection}", dependencies=[needs("collection.write")])
async def patch_collection(
    collection: str,
    body: CollectionChangeBody,
    service: Service,
    workspace_id: WorkspaceId,
    response: Response,
    if_match: IfMatch,
) -> CollectionAnswer:
    """Change description, retention, and whether images are kept; or confirm the expiry."""
    patch = service.gallery.patch
    record = await asyncio.to_thread(
        patch, workspace_id, collection, body.patch(), if_version=if_match
    )
    if body.confirm_retention:
        await asyncio.to_thread(service.gallery.expire_confirmed, workspace_id, collection)
        service.forget_deleted()
        record = await asyncio.to_thread(service.gallery.get, workspace_id, collection)
    return with_etag(response, _answer(service, workspace_id, record))


@router.delete("/{collection}", dependencies=[needs("collection.delete")])
async def delete_collection(
    collection: str, service: Service, workspace_id: WorkspaceId, if_match: IfMatch
) -> CollectionDeleted:
    """Delete a collection with all its scans."""
    removed = await asyncio.to_thread(
        service.gallery.delete, workspace_id, collection, if_version=if_match
    )
    service.forget_deleted()
    return CollectionDeleted(deleted=collection, scans=removed)


@router.post("/{collection}/facets", dependencies=[needs("scan.read")])
async def count_scans(
    collection: str, body: FacetsBody, service: Service, workspace_id: WorkspaceId
) -> FacetsAnswer:
    """Count the scans that pass a filter, by label and attribute."""

    def counted() -> FacetsAnswer:
        facets = service.gallery.facets(
            workspace_id,
            collection,
            where=body.filter.where(),
            labels=body.labels,
            attributes=body.attributes,
            limit=body.limit,
        )
        return FacetsAnswer.of(facets)

    return await service.read_rows(counted)


# long work ------------------------------------------------------------------------------------


@router.post(
    "/{collection}/export",
    status_code=202,
    responses=ACCEPTED,
    dependencies=[needs("collection.export")],
)
async def export_collection(
    collection: str, body: ExportBody, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Write a collection as Parquet into the folder of exports that the operator set."""
    await asyncio.to_thread(service.gallery.get, workspace_id, collection)
    await asyncio.to_thread(service.gallery.exports.require_new, workspace_id, body.to)
    return accepted(await begin(service, workspace_id, ExportRequest(collection, body.to)))


@router.post(
    "/{collection}/import",
    status_code=202,
    responses=ACCEPTED,
    dependencies=[needs("collection.import", limited="refused")],
)
async def import_collection(
    collection: Annotated[str, Path(pattern=NAME)],
    body: CollectionImportBody,
    service: Service,
    workspace_id: WorkspaceId,
) -> JSONResponse:
    """Import an exported collection; a missing collection is created.

    Refuses keys with limits to names: an export holds the scans of any collection.
    """
    await asyncio.to_thread(service.gallery.exports.require, workspace_id, body.source)
    return accepted(await begin(service, workspace_id, ImportRequest(collection, body.source)))


@router.post(
    "/{collection}/reembed",
    status_code=202,
    responses=ACCEPTED | CONFLICT,
    dependencies=[needs("collection.write")],
)
async def reembed_collection(
    collection: str, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Embed the kept images of a collection with the loaded encoder.

    The work is done in the background; then all vectors are switched at once. Until then the
    collection answers 409 to searches and uploads, like any collection of another encoder. The old
    vectors are kept until ``DELETE`` ends the re-embedding.
    """
    await asyncio.to_thread(service.gallery.encoder_change.begin, workspace_id, collection)
    request = ReembedRequest(collection, service.pipeline.encoder.encoder_id)
    return accepted(await begin(service, workspace_id, request))


@router.get("/{collection}/reembed", dependencies=[needs("collection.read")])
async def get_reembedding(
    collection: str, service: Service, workspace_id: WorkspaceId
) -> ReembeddingAnswer:
    """Read the progress of a re-embedding; 404 when there is none."""
    change = await asyncio.to_thread(service.gallery.encoder_change.get, workspace_id, collection)
    return ReembeddingAnswer.of_record(change, collection=collection)


@router.delete(
    "/{collection}/reembed", responses=CONFLICT, dependencies=[needs("collection.write")]
)
async def end_reembedding(
    collection: str,
    keep: Annotated[
        KeptVectors,
        Query(description="new: confirm it; old: return to the old vectors, or give it up."),
    ],
    service: Service,
    workspace_id: WorkspaceId,
) -> ReembeddingEnded:
    """End a re-embedding: keep the new vectors or the old ones, and drop the others."""
    end = service.gallery.encoder_change.end
    record = await asyncio.to_thread(end, workspace_id, collection, keep)
    return ReembeddingEnded(collection=collection, encoder_id=record.encoder_id)
