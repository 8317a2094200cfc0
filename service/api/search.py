"""Similarity search: over one collection or several, one query or many."""

import asyncio
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from service.api.answers import SearchAnswer, says
from service.api.openapi import image_body
from service.api.schemas import JsonObject, SearchBody, SearchOptions
from service.api.search_shapes import (
    IndexAnswer,
    ManySearchesAnswer,
    ManySearchesBody,
    WideSearchBody,
)
from service.api.state import Service, Services, WorkspaceId, embed_each, item_problem
from service.api.uploads import from_base64, read_upload, validate
from service.api.wire import (
    batch_status,
    frame_json,
    scan_filter,
    scan_json,
    seen_json,
)
from service.catalog.records import Scan, ScanImage
from service.errors import EncoderMismatch, InputError, ServiceError, TooManyItems
from service.gallery.frame_search import BestFrame
from service.gallery.gallery import Floats, Query, direction, excluding

router = APIRouter(prefix="/v1", tags=["search"])


@router.post(
    "/collections/{collection}/search",
    openapi_extra=image_body(SearchBody, metadata=SearchOptions),
    responses=says(SearchAnswer),
)
async def search(
    collection: str, request: Request, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Find similar scans by upload, stored scan, vector, or positive and negative examples."""
    upload = await read_upload(request, max_items=1)
    if upload.document is not None:
        body = validate(SearchBody, upload.document)
        return JSONResponse(await _find(service, workspace_id, [collection], body, body))
    options = validate(SearchOptions, {} if upload.metadata is None else upload.metadata)
    found = await _find(
        service, workspace_id, [collection], options, SearchBody(), uploaded=upload.files
    )
    return JSONResponse(found)


@router.post("/collections/{collection}/searches", responses=says(ManySearchesAnswer, 200, 207))
async def searches(
    collection: str,
    request: Request,
    body: ManySearchesBody,
    service: Service,
    workspace_id: WorkspaceId,
) -> JSONResponse:
    """Several searches in one request; per-item results, 207 when some failed."""
    if len(body.queries) > service.settings.max_items:
        raise TooManyItems(
            f"expected at most {service.settings.max_items} queries, got {len(body.queries)}"
        )
    await asyncio.to_thread(service.catalog.get_collection, workspace_id, collection)
    items: list[JsonObject] = []
    for query in body.queries:
        try:
            found = await _find(service, workspace_id, [collection], query, query)
            items.append({"query": found["query"], "hits": found["hits"]})
        except ServiceError as error:
            items.append({"problem": item_problem(error, request)})
    encoder = service.pipeline.encoder
    answer = {"encoder_id": encoder.encoder_id, "dim": encoder.dim, "items": items}
    return JSONResponse(answer, batch_status(items))


@router.post("/search", responses=says(SearchAnswer))
async def search_wide(
    body: WideSearchBody, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Search several collections of the loaded encoder as if they were one."""
    found = await _find(
        service, workspace_id, body.collections, body, body, stored_in=body.stored_in
    )
    return JSONResponse(found)


@router.get("/collections/{collection}/index", response_model=None, responses=says(IndexAnswer))
async def index(collection: str, service: Service, workspace_id: WorkspaceId) -> JsonObject:
    """How the collection is searched: exactly or not, and how much is found."""
    found = await asyncio.to_thread(service.gallery.figures, workspace_id, collection)
    return {
        "index_id": found.index_id,
        "mode": "approximate" if found.state.compressed_rows else "exact",
        "scans": found.state.rows,
        "compressed_scans": found.state.compressed_rows,
        "segments": found.state.segments,
        "recall_at_10": found.recall,
        "recall_samples": found.recall_samples,
    }


async def _find(
    service: Services,
    workspace_id: str,
    collections: Sequence[str],
    options: SearchOptions,
    body: SearchBody,
    *,
    uploaded: tuple[bytes, ...] = (),
    stored_in: str | None = None,
) -> JsonObject:
    """The whole answer to one query.

    Args:
        uploaded: the query itself, when it is a file.
        stored_in: collection of the scans that the query names; None = the first.
    """
    if options.k > service.settings.max_k:
        raise TooManyItems(f"expected k of at most {service.settings.max_k}, got {options.k}")
    files = uploaded or _file_of(body)
    seen: JsonObject | None = None
    scans: list[Scan] = []
    loop = asyncio.get_running_loop()
    _check_single(body, uploaded=bool(files))
    if files:
        embedding_D, seen = await _embed(service, files[0], options.region)
    else:
        embedding_D, scans = await loop.run_in_executor(
            service.searchers,
            _stored_query,
            service,
            workspace_id,
            stored_in or collections[0],
            body,
        )
    query = _query(options, embedding_D, scans)
    hits = await loop.run_in_executor(
        service.searchers, _hits, service, workspace_id, collections, query, options.match
    )
    encoder = service.pipeline.encoder
    return {
        "encoder_id": encoder.encoder_id,
        "dim": encoder.dim,
        "query": {"image": seen},
        "hits": hits,
    }


def _hits(
    service: Services, workspace_id: str, collections: Sequence[str], query: Query, match: str
) -> list[JsonObject]:
    """Best first; each cine with its nearest frame, each dual screen with its nearest region."""
    gallery, frame_search, dim = (
        service.gallery,
        service.frame_search,
        service.pipeline.encoder.dim,
    )
    if match == "frame":
        hits = frame_search.search(gallery, workspace_id, collections, query)
    else:
        hits = gallery.search(workspace_id, collections, query)
    best: dict[int, BestFrame] = {}
    for name in {hit.scan.collection for hit in hits}:
        clips = [h.scan.row_id for h in hits if _has_frames(h.scan) and h.scan.collection == name]
        best |= frame_search.best_frames(workspace_id, name, clips, query.embedding_D)
    return [
        {
            "score": hit.score,
            "scan": scan_json(hit.scan, dim=dim),
            "frame": frame_json(best.get(hit.scan.row_id), hit.scan.image),
        }
        for hit in hits
    ]


def _has_frames(scan: Scan) -> bool:
    return scan.image.kind == "cine" or scan.image.regions_used > 1


def _file_of(body: SearchBody) -> tuple[bytes, ...]:
    return () if body.image is None else (from_base64(body.image),)


def _check_single(body: SearchBody, *, uploaded: bool) -> None:
    given = [uploaded, body.scan_id is not None, body.vector is not None, bool(body.positive)]
    if sum(given) != 1:
        raise InputError("expected exactly one of image, scan_id, vector, positive")
    if body.negative and not body.positive:
        raise InputError("expected negative examples beside positive ones")


async def _embed(service: Services, data: bytes, region: str | None) -> tuple[Floats, JsonObject]:
    (found,) = await embed_each(service, [data], region=region)
    if isinstance(found, ServiceError):
        raise found
    return found.embedding_D, seen_json(found)


def _stored_query(
    service: Services, workspace_id: str, collection: str, body: SearchBody
) -> tuple[Floats, list[Scan]]:
    """The direction to search, and the scans that must not be their own answer."""
    if body.vector is not None:
        loaded = service.pipeline.encoder
        if body.encoder_id is not None and body.encoder_id != loaded.encoder_id:
            raise EncoderMismatch(
                f"the vector was made by {body.encoder_id}, loaded is {loaded.encoder_id}"
            )
        if len(body.vector) != loaded.dim:
            raise InputError(f"expected a vector of {loaded.dim}, got {len(body.vector)}")
        return direction(np.array([body.vector], np.float32)), []
    positive = [body.scan_id] if body.scan_id is not None else body.positive
    gallery = service.gallery
    scans = gallery.scans_of(workspace_id, collection, [*positive, *body.negative])
    vectors_ND = gallery.vectors_of(workspace_id, collection, [*positive, *body.negative])
    count = len(positive)
    return direction(vectors_ND[:count], vectors_ND[count:]), scans


def _query(options: SearchOptions, embedding_D: Floats, scans: list[Scan]) -> Query:
    where = scan_filter(options.filter)
    for scan in scans or [_uploaded(options)]:
        where = excluding(where, scan, options.exclude_same)
    return Query(
        embedding_D=embedding_D,
        k=options.k,
        where=where,
        group_by=options.group_by,
        group_size=options.group_size,
        diversity=options.diversity,
        min_score=options.min_score,
        hide_row_ids=frozenset(scan.row_id for scan in scans),
    )


def _uploaded(options: SearchOptions) -> Scan:
    """The uploaded query as a scan that is nowhere stored: only its origin matters."""
    image = ScanImage("", "frame", "", 0, 0, "")
    return Scan(
        row_id=-1,
        scan_id="",
        collection="",
        encoder_id="",
        image=image,
        subject_id=options.subject_id,
        study_id=options.study_id,
        labels={},
        attributes={},
        created_at="",
        updated_at="",
        version=0,
    )
