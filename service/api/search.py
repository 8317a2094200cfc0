"""Similarity search over one collection."""

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from service.api.answers import SearchAnswer, says
from service.api.openapi import image_body
from service.api.schemas import JsonObject, SearchBody, SearchOptions
from service.api.state import Running, Service, WorkspaceId, embed_each
from service.api.uploads import from_base64, read_upload, validate
from service.api.wire import frame_json, scan_filter, scan_json, seen_json
from service.catalog.records import Scan, ScanImage
from service.errors import EncoderMismatch, InputError, ServiceError, TooManyItems
from service.galleries import Floats, Query, direction, excluding

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
        options: SearchOptions = body
    else:
        options = validate(SearchOptions, {} if upload.metadata is None else upload.metadata)
        body = SearchBody()
    if options.k > service.settings.max_k:
        raise TooManyItems(f"expected k of at most {service.settings.max_k}, got {options.k}")
    files = upload.files or _file_of(body)
    seen: JsonObject | None = None
    if files:
        _check_single(body, uploaded=True)
        embedding_D, seen = await _embed(service, files[0], options.region)
        scans: list[Scan] = []
    else:
        _check_single(body, uploaded=False)
        embedding_D, scans = await asyncio.to_thread(
            _stored_query, service, workspace_id, collection, body
        )
    query = _query(options, embedding_D, scans)
    hits = await asyncio.to_thread(
        _hits, service, workspace_id, collection, query, options.match == "frame"
    )
    encoder = service.pipeline.encoder
    answer: dict[str, Any] = {
        "encoder_id": encoder.encoder_id,
        "dim": encoder.dim,
        "query": {"image": seen},
        "hits": hits,
    }
    return JSONResponse(answer)


def _hits(
    service: Running, workspace_id: str, collection: str, query: Query, by_frames: bool
) -> list[JsonObject]:
    """Best first; each cine with its nearest frame."""
    galleries, cines, dim = service.galleries, service.cines, service.pipeline.encoder.dim
    if by_frames:
        hits = cines.search(galleries, workspace_id, collection, query)
    else:
        hits = galleries.search(workspace_id, collection, query)
    clips = [hit.scan.row_id for hit in hits if hit.scan.image.kind == "cine"]
    best = cines.best_frames(workspace_id, collection, clips, query.embedding_D)
    return [
        {
            "score": hit.score,
            "scan": scan_json(hit.scan, dim=dim),
            "frame": frame_json(best.get(hit.scan.row_id)),
        }
        for hit in hits
    ]


def _file_of(body: SearchBody) -> tuple[bytes, ...]:
    return () if body.image is None else (from_base64(body.image),)


def _check_single(body: SearchBody, *, uploaded: bool) -> None:
    given = [uploaded, body.scan_id is not None, body.vector is not None, bool(body.positive)]
    if sum(given) != 1:
        raise InputError("expected exactly one of image, scan_id, vector, positive")
    if body.negative and not body.positive:
        raise InputError("expected negative examples beside positive ones")


async def _embed(service: Running, data: bytes, region: str | None) -> tuple[Floats, JsonObject]:
    (found,) = await embed_each(service, [data], region=region)
    if isinstance(found, ServiceError):
        raise found
    return found.embedding_D, seen_json(found)


def _stored_query(
    service: Running, workspace_id: str, collection: str, body: SearchBody
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
    galleries = service.galleries
    scans = galleries.scans_of(workspace_id, collection, [*positive, *body.negative])
    vectors_ND = galleries.vectors_of(workspace_id, collection, [*positive, *body.negative])
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
        min_score=options.min_score,
        hide_row_ids=frozenset(scan.row_id for scan in scans),
    )


def _uploaded(options: SearchOptions) -> Scan:
    """The uploaded query as a scan that is nowhere stored: only its origin matters."""
    image = ScanImage("", "frame", "", 0, 0)
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
