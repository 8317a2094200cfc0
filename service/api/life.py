"""Counting scans; changing collections; erasing studies and subjects; moves to another encoder."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from service.api.answers import CollectionAnswer, says
from service.api.life_answers import (
    ErasureAnswer,
    FacetsAnswer,
    MoveAnswer,
    MoveEnded,
    ScanDeleted,
)
from service.api.life_schemas import CollectionPatchBody, FacetsBody, MoveBody
from service.api.operations import ACCEPTED, accepted, operation_json, started
from service.api.schemas import JsonObject
from service.api.state import Caller, IfMatch, Service, Services, WhoAsks, WorkspaceId, read
from service.api.wire import collection_json, scan_filter, version_of
from service.catalog.operation_records import Operation
from service.catalog.records import ErasedSubject, Facet, PolicyPatch
from service.errors import Conflict

router = APIRouter(prefix="/v1")
Refit = Annotated[
    bool, Query(description="Fit the classifiers that learnt from it anew without it, and publish.")
]


@router.post(
    "/collections/{collection}/facets",
    tags=["collections"],
    response_model=None,
    responses=says(FacetsAnswer),
)
async def count_scans(
    collection: str, body: FacetsBody, service: Service, workspace_id: WorkspaceId
) -> JsonObject:
    """Count the scans that pass a filter, by label and attribute."""
    found = await asyncio.to_thread(
        service.catalog.facets,
        workspace_id,
        collection,
        where=scan_filter(body.filter),
        labels=body.labels,
        attributes=body.attributes,
        limit=body.limit,
    )
    return {
        "scans": found.scans,
        "subjects": found.subjects,
        "studies": found.studies,
        "labels": {name: _facet_json(facet) for name, facet in found.labels.items()},
        "attributes": {name: _facet_json(facet) for name, facet in found.attributes.items()},
    }


def _facet_json(facet: Facet) -> JsonObject:
    values = [{"value": value, "scans": scans} for value, scans in facet.values]
    return {"values": values, "others": facet.others, "missing": facet.missing}


@router.patch("/collections/{collection}", tags=["collections"], responses=says(CollectionAnswer))
async def patch_collection(
    collection: str,
    body: CollectionPatchBody,
    service: Service,
    workspace_id: WorkspaceId,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Change description, retention, and whether images are kept."""
    patch = PolicyPatch(
        body.description,
        body.keep_images,
        body.retention_days,
        frozenset(body.model_fields_set),
    )
    found = await asyncio.to_thread(
        service.catalog.patch_collection,
        workspace_id,
        collection,
        patch,
        if_version=version_of(if_match),
    )
    return read(collection_json(found))


@router.delete(
    "/collections/{collection}/scans/{scan_id}",
    tags=["collections"],
    response_model=None,
    responses=says(ScanDeleted),
)
async def delete_scan(
    collection: str,
    scan_id: str,
    service: Service,
    caller: WhoAsks,
    if_match: IfMatch = None,
    refit: Refit = False,
) -> JsonObject:
    """Delete one scan; the receipt names the classifiers that used it."""
    version = version_of(if_match)
    remove = service.gallery.remove
    receipt = await asyncio.to_thread(
        remove, caller.workspace_id, collection, scan_id, if_version=version
    )
    found = await _erased(service, caller, receipt, refit=refit)
    del found["scans"], found["uploads"]
    return {"deleted": scan_id, **found}


@router.delete(
    "/subjects/{subject_id:path}",
    tags=["subjects"],
    response_model=None,
    responses=says(ErasureAnswer),
)
async def erase_subject(
    subject_id: str, service: Service, caller: WhoAsks, refit: Refit = False
) -> JsonObject:
    """Erase one patient everywhere; the receipt names scans and classifiers that used them."""
    erase = service.gallery.erase_subject
    receipt = await asyncio.to_thread(erase, caller.workspace_id, subject_id)
    return await _erased(service, caller, receipt, refit=refit)


@router.delete(
    "/studies/{study_id:path}",
    tags=["subjects"],
    response_model=None,
    responses=says(ErasureAnswer),
)
async def erase_study(
    study_id: str, service: Service, caller: WhoAsks, refit: Refit = False
) -> JsonObject:
    """Erase one study everywhere; the receipt names scans and classifiers that used them."""
    receipt = await asyncio.to_thread(service.gallery.erase_study, caller.workspace_id, study_id)
    return await _erased(service, caller, receipt, refit=refit)


async def _erased(
    service: Services, caller: Caller, receipt: ErasedSubject, *, refit: bool
) -> JsonObject:
    service.forget_deleted()
    document: JsonObject = {
        "scans": [{"collection": c, "scan_id": s} for c, s in receipt.scans],
        "classifiers": list(receipt.classifiers),
        "uploads": receipt.uploads,
    }
    begun = await begin_refit(service, caller, receipt) if refit else None
    return document | ({} if begun is None else {"operation": operation_json(begun)})


async def begin_refit(
    service: Services, caller: Caller, receipt: ErasedSubject
) -> Operation | None:
    """Begin to fit the receipt's classifiers anew; None when it names none. Raises Overloaded."""
    if not receipt.classifiers:
        return None
    author = {"key_id": caller.author.key_id, "key_name": caller.author.key_name}
    request = {"classifiers": list(receipt.classifiers), "author": author}
    return await started(service, caller.workspace_id, "refit", request)


@router.post(
    "/collections/{collection}/move",
    tags=["collections"],
    response_model=None,
    responses=says(MoveEnded) | ACCEPTED,
)
async def move_collection(
    collection: str, body: MoveBody, service: Service, workspace_id: WorkspaceId
) -> Response:
    """Move a collection to the loaded encoder, from the images it kept.

    ``start`` answers 202: its scans are embedded in the background, then all vectors are switched
    at once. Until then it answers 409 to searches and uploads, as any collection of another
    encoder does. The old vectors are kept until ``confirm``; ``take_back`` returns to them, or
    gives up a move that still embeds.
    """
    if body.action == "start":
        loaded = service.pipeline.encoder
        begin = service.catalog.begin_reembedding
        await asyncio.to_thread(
            begin, workspace_id, collection, encoder_id=loaded.encoder_id, dim=loaded.dim
        )
        request = {"collection": collection, "encoder_id": loaded.encoder_id}
        return accepted(await started(service, workspace_id, "move", request))
    end = _confirm if body.action == "confirm" else _take_back
    await asyncio.to_thread(end, service, workspace_id, collection)
    found = await asyncio.to_thread(service.catalog.get_collection, workspace_id, collection)
    return JSONResponse({"collection": collection, "encoder_id": found.encoder_id})


@router.get(
    "/collections/{collection}/move",
    tags=["collections"],
    response_model=None,
    responses=says(MoveAnswer),
)
async def get_move(collection: str, service: Service, workspace_id: WorkspaceId) -> JsonObject:
    """How far a collection is on its way to another encoder; 404 when it is not moving."""
    move = await asyncio.to_thread(service.catalog.get_reembedding, workspace_id, collection)
    return {
        "collection": collection,
        "from_encoder_id": move.from_encoder_id,
        "to_encoder_id": move.to_encoder_id,
        "state": move.state,
        "embedded": move.embedded,
    }


def _confirm(service: Services, workspace_id: str, collection: str) -> None:
    if service.catalog.get_reembedding(workspace_id, collection).state != "switched":
        raise Conflict("the move still embeds: there is nothing to confirm yet")
    service.catalog.end_reembedding(workspace_id, collection)


def _take_back(service: Services, workspace_id: str, collection: str) -> None:
    if service.catalog.get_reembedding(workspace_id, collection).state == "switched":
        service.gallery.switch(workspace_id, collection)
    service.catalog.end_reembedding(workspace_id, collection)
