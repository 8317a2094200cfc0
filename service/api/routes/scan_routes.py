"""Scans of a collection: upload, list, read, relabel."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from service.api.batches import batch_status, refuse_if_all_failed
from service.api.dependencies import IdempotencyKey, IfMatch, Service, WorkspaceId, page_limit
from service.api.etags import read
from service.api.idempotency import idempotent, request_fingerprint
from service.api.openapi import image_body
from service.api.problems import request_id_of
from service.api.routing import StrictRoute
from service.api.shapes.base import (
    FRAMES_HELP,
    REGION_HELP,
    Cursor,
    FrameChoice,
    Identifier,
    JsonObject,
    Limit,
    RegionChoice,
    ScanId,
    read_cursor,
    responses_of,
    version_of,
    write_cursor,
)
from service.api.shapes.filter_shapes import FilterBody
from service.api.shapes.scan_shapes import (
    AddedScan,
    AddedScansAnswer,
    NewScansBody,
    ScanAnswer,
    ScanMetadata,
    ScanPage,
    ScanPatchBody,
    facts_of_query,
)
from service.api.uploads import (
    Upload,
    embed_each,
    image_files,
    parse_json,
    read_upload,
    validate,
    validate_list,
)
from service.errors import InputError
from service.gallery.gallery_records import ScanFacts, ScanFilter

router = APIRouter(
    route_class=StrictRoute, prefix="/v1/collections/{collection}/scans", tags=["collections"]
)
OF_RAW = "Of a raw image; forms and JSON have metadata."


@router.post(
    "",
    openapi_extra=image_body(NewScansBody, metadata=ScanMetadata, each=True),
    responses=responses_of(AddedScansAnswer, 200, 207),
)
async def add_scans(
    collection: str,
    request: Request,
    service: Service,
    workspace_id: WorkspaceId,
    key: IdempotencyKey = None,
    frames: Annotated[FrameChoice | None, Query(description=FRAMES_HELP)] = None,
    region: Annotated[RegionChoice | None, Query(description=REGION_HELP)] = None,
    scan_id: Annotated[ScanId | None, Query(description=OF_RAW)] = None,
    subject_id: Annotated[Identifier | None, Query(description=OF_RAW)] = None,
    study_id: Annotated[Identifier | None, Query(description=OF_RAW)] = None,
    label: Annotated[
        list[str] | None, Query(description=f"task:class, repeatable. {OF_RAW}", max_length=64)
    ] = None,
) -> Response:
    """Embed, store and index images and clips; per-item results, 207 when some failed."""
    upload = await read_upload(request, max_items=service.settings.max_items)
    own = facts_of_query(scan_id, subject_id, study_id, label or [])
    files, facts = await asyncio.to_thread(  # base64 is decoded there
        _files_and_facts, upload, own, service.settings.max_items
    )

    async def act() -> JSONResponse:
        # Before embedding: an unknown or foreign collection costs no encoder time.
        target = await asyncio.to_thread(service.gallery.get_own, workspace_id, collection)
        embedded = await embed_each(
            service,
            files,
            frames=frames,
            region=region,
            with_thumbnail=True,
            with_png=target.keep_images,
        )
        results = await asyncio.to_thread(
            service.gallery.add, workspace_id, collection, embedded, facts
        )
        refuse_if_all_failed(results)
        encoder, request_id = service.pipeline.encoder, request_id_of(request)
        answer = AddedScansAnswer(
            encoder_id=encoder.encoder_id,
            dim=encoder.dim,
            items=[AddedScan.of(result, encoder.dim, request_id) for result in results],
        )
        return JSONResponse(answer.to_json(), batch_status(results))

    known = [astuple(item) for item in facts]
    content = request_fingerprint("scans", collection, frames, region, *files, *known)
    return await idempotent(service, workspace_id, key, content, act)


def _files_and_facts(
    upload: Upload, own: ScanFacts, max_items: int
) -> tuple[Sequence[bytes | InputError], list[ScanFacts]]:
    if upload.alone:
        fields: JsonObject = {
            "scan_id": own.scan_id,
            "subject_id": own.subject_id,
            "study_id": own.study_id,
        }
        fields |= {"labels": dict(own.labels)}
        return upload.files, [validate(ScanMetadata, fields).facts()]
    if own != ScanFacts():
        raise InputError("expected scan_id, subject_id, study_id and label in metadata")
    if upload.document is None:
        metadata = validate_list(ScanMetadata, upload.metadata, length=len(upload.files))
        return upload.files, [item.facts() for item in metadata]
    body = validate(NewScansBody, upload.document)
    files = image_files(body.images, max_items=max_items)
    metadata = body.metadata or [ScanMetadata() for _ in files]
    if len(metadata) != len(files):
        raise InputError(f"expected metadata for {len(files)} images, got {len(metadata)} objects")
    return files, [item.facts() for item in metadata]


@router.get("", response_model=None, responses=responses_of(ScanPage) | {413: {}})
async def list_scans(
    collection: str,
    service: Service,
    workspace_id: WorkspaceId,
    limit: Limit = 50,
    cursor: Cursor = None,
    subject_id: str | None = None,
    study_id: str | None = None,
    label: Annotated[list[str] | None, Query(description="task:class, repeatable")] = None,
    attribute: Annotated[
        list[str] | None,
        Query(description="name:value, repeatable; 4.5, true and null are read as JSON"),
    ] = None,
    more: Annotated[
        str | None,
        Query(alias="filter", max_length=20_000, description="A filter as of searches, JSON."),
    ] = None,
    sha256: Annotated[
        list[str] | None,
        Query(description="Of files, repeatable: those that are stored, on one page."),
    ] = None,
) -> JSONResponse:
    """List scans that pass the conditions, in the order of storing.

    With ``sha256`` and nothing else: the scans of those files, so that a client learns which files
    it need not send.
    """
    conditions = {
        "subject_id": subject_id,
        "study_id": study_id,
        "labels": _pairs("label=task:class", label),
        "attributes": _pairs("attribute=name:value", attribute, read_value=_value),
        "and": None if more is None else [parse_json(more)],
    }
    where = validate(FilterBody, conditions).where()
    kind = f"scans/{collection}"
    if sha256:
        if where != ScanFilter() or cursor is not None:
            raise InputError("expected sha256 without other conditions and without cursor")
        find = service.gallery.scans_of_files
        page = await asyncio.to_thread(find, workspace_id, collection, sha256)
    else:
        page = await asyncio.to_thread(
            service.gallery.list_scans,
            workspace_id,
            collection,
            where=where,
            limit=page_limit(service, limit),
            after=read_cursor(kind, cursor),
        )
    dim = service.pipeline.encoder.dim
    answer = ScanPage(
        items=[ScanAnswer.of(scan, dim) for scan in page.items],
        next_cursor=write_cursor(kind, page.next_after),
    )
    return JSONResponse(answer.to_json())


def _pairs(
    expected: str, pairs: list[str] | None, *, read_value: Callable[[str], Any] = str
) -> dict[str, list[Any]]:
    wanted: dict[str, list[Any]] = {}
    for pair in pairs or []:
        name, colon, value = pair.partition(":")
        if not (name and colon and value):
            raise InputError(f"expected {expected}")
        wanted.setdefault(name, []).append(read_value(value))
    return wanted


def _value(text: str) -> Any:
    """A JSON number, true, false or null as such; anything else is text."""
    try:
        value = parse_json(text)
    except InputError:
        return text
    return text if isinstance(value, list | dict) else value


@router.get("/{scan_id}", responses=responses_of(ScanAnswer))
async def get_scan(
    collection: str, scan_id: str, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Read one scan."""
    scan = await asyncio.to_thread(service.gallery.get_scan, workspace_id, collection, scan_id)
    return read(ScanAnswer.of(scan, service.pipeline.encoder.dim).to_json())


@router.get(
    "/{scan_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def get_thumbnail(
    collection: str, scan_id: str, service: Service, workspace_id: WorkspaceId
) -> Response:
    """Read the thumbnail of a scan: a small JPEG of its pixels, without metadata."""
    data = await asyncio.to_thread(service.gallery.thumbnail, workspace_id, collection, scan_id)
    return Response(data, media_type="image/jpeg")


@router.patch("/{scan_id}", responses=responses_of(ScanAnswer))
async def patch_scan(
    collection: str,
    scan_id: str,
    body: ScanPatchBody,
    service: Service,
    workspace_id: WorkspaceId,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Relabel one scan; null removes a label or attribute."""
    scan = await asyncio.to_thread(
        service.gallery.patch_scan,
        workspace_id,
        collection,
        scan_id,
        body.patch(),
        if_version=version_of(if_match),
    )
    return read(ScanAnswer.of(scan, service.pipeline.encoder.dim).to_json())
