"""Labels of a whole collection: what to label next, its map, and the new name of a class."""

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from service.api.dependencies import KnownCaller, Service, WorkspaceId
from service.api.idempotency import Idempotent
from service.api.permissions import needs
from service.api.routes.operation_routes import ACCEPTED, accepted, begin
from service.api.routing import StrictRoute
from service.api.shapes.base import Identifier
from service.api.shapes.label_shapes import (
    LabelRenameAnswer,
    LabelRenameBody,
    NearDuplicatesAnswer,
    NextScan,
    NextScansAnswer,
)
from service.api.shapes.map_shapes import LayoutAnswer, MapAnswer, MapBody
from service.api.shapes.scan_shapes import ScanAnswer
from service.classifiers.examples import class_name
from service.classifiers.labelling.near_duplicates import PairRequest, SamePatient
from service.jobs.job_requests import LayoutRequest

router = APIRouter(
    route_class=StrictRoute,
    prefix="/v1/collections/{collection}",
    tags=["collections"],
    responses={409: {}},
)


@router.get("/next", dependencies=[needs("scan.read")])
async def list_next_scans(
    collection: str,
    service: Service,
    workspace_id: WorkspaceId,
    task: Annotated[
        list[Identifier],
        Query(min_length=1, max_length=64, description="Scans that lack a label for a task."),
    ],
    limit: Annotated[int, Query(ge=1, le=500)] = 20,
) -> NextScansAnswer:
    """List scans to label where no classifier exists: as different as possible.

    Patients without a label come first, and copies of labelled scans are left out. With a
    classifier, its review of kind `next` knows better what would teach most.
    """
    work = partial(service.review.next_scans, workspace_id, collection, task, limit)
    found = await service.fits.run(work)
    dim = service.pipeline.encoder.dim
    items = [NextScan(reason="diverse", scan=ScanAnswer.of(scan, dim=dim)) for scan in found.scans]
    return NextScansAnswer.of_record(found, collection=collection, tasks=task, items=items)


@router.get("/duplicates", dependencies=[needs("scan.read")])
async def list_near_duplicates(
    collection: str,
    service: Service,
    workspace_id: WorkspaceId,
    min_similarity: Annotated[
        float | None, Query(gt=0, le=1, description="Cosine; default: that of the encoder.")
    ] = None,
    patients: Annotated[
        SamePatient | None, Query(description="Only these pairs; default: all.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> NearDuplicatesAnswer:
    """List pairs of scans that nearly repeat each other, whatever their labels.

    One picture under two patients comes first: an evaluation would see it on both sides, and an
    erasure of one patient leaves it. Different pictures may be as similar: look at each pair.
    """
    request = PairRequest(limit, min_similarity, patients)
    work = partial(service.review.near_duplicates, workspace_id, collection, request)
    found = await service.fits.run(work)
    dim = service.pipeline.encoder.dim
    return NearDuplicatesAnswer.of(found, collection=collection, dim=dim)


@router.post("/map", response_model=MapAnswer, dependencies=[needs("scan.read")])
async def map_collection(
    collection: str,
    body: MapBody,
    service: Service,
    caller: KnownCaller,
    workspace_id: WorkspaceId,
) -> Response:
    """Place the scans of a collection on a plane.

    The layout `principal` is the plane of the first two principal components of the embeddings.
    `explained` says how much of the differences they show: what is apart on the map is apart, but
    what is close may still differ in other directions. On the layout `neighbours`, what is close
    resembles each other as often as `kept` says, and distances between groups mean little.
    """
    if body.classifier is not None:
        caller.require("classifier.read")
    project = partial(service.gallery.project, workspace_id, collection, body.request())
    found = await service.fits.run(project)
    doubts_S = None
    if body.classifier is not None:
        name, ids = body.classifier, found.scan_ids
        work = partial(service.review.doubts, workspace_id, name, collection, ids)
        doubts_S = await service.fits.run(work)

    def rendered() -> bytes:
        answer = MapAnswer.of_map(found, body, collection=collection, doubts_S=doubts_S)
        return answer.model_dump_json().encode()

    # 100,000 points take half a second to write, which the event loop does not have.
    return Response(await asyncio.to_thread(rendered), media_type="application/json")


@router.post(
    "/layout", status_code=202, responses=ACCEPTED, dependencies=[needs("collection.write")]
)
async def lay_out_collection(
    collection: str, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Lay a collection out for its map so that scans that resemble each other lie together.

    Of more than 100,000 scans a drawn part gets a place. The layout replaces the one before at
    its end; scans that are stored later have no place until the next one.
    """
    record = await asyncio.to_thread(service.gallery.get_own, workspace_id, collection)
    return accepted(await begin(service, workspace_id, LayoutRequest(record.name)))


@router.get("/layout", dependencies=[needs("collection.read")])
async def get_layout(collection: str, service: Service, workspace_id: WorkspaceId) -> LayoutAnswer:
    """Read how many scans have a place on the map, and since when; 404 when there is no layout."""
    state = await asyncio.to_thread(service.gallery.layout_state, workspace_id, collection)
    return LayoutAnswer.of(state, collection)


@router.post(
    "/labels/rename", response_model=LabelRenameAnswer, dependencies=[needs("collection.write")]
)
async def rename_label(
    collection: str,
    body: LabelRenameBody,
    service: Service,
    workspace_id: WorkspaceId,
    idempotent: Idempotent,
) -> Response:
    """Give a class another name in the labels of all scans, at once or not at all.

    Versions of classifiers keep the old name; their `source_changes` count the scans as changed,
    and a refit learns the new name.
    """

    new = class_name(body.new)

    async def act() -> JSONResponse:
        rename = partial(
            service.gallery.rename_label,
            workspace_id,
            collection,
            body.task,
            body.old,
            new,
            merge=body.merge,
            dry_run=body.dry_run,
        )
        renamed = await asyncio.to_thread(rename)
        answer = LabelRenameAnswer.of_record(
            renamed, collection=collection, task=body.task, dry_run=body.dry_run
        )
        return JSONResponse(answer.to_json())

    # It counts. A repetition after a lost answer would find no scan with the old label.
    return await idempotent.run(act, "rename", collection, body, outlives_deletions=True)
