"""Collections and their scans: create, upload, list, read, relabel."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from service.api.answers import (
    CollectionAnswer,
    CollectionDeleted,
    CollectionPage,
    KnownAnswer,
    ScanAnswer,
    ScanPage,
    StoredAnswer,
    says,
)
from service.api.looking import accepted
from service.api.openapi import image_body
from service.api.schemas import (
    REGION_SAYS,
    FilterBody,
    FrameChoice,
    InstancesBody,
    JsonObject,
    NewCollectionBody,
    RegionChoice,
    ScanMetadata,
    ScanPatchBody,
)
from service.api.state import (
    IdempotencyKey,
    IfMatch,
    Service,
    Services,
    WorkspaceId,
    created,
    embed_each,
    idempotent,
    item_problem,
    read,
    request_fingerprint,
)
from service.api.uploads import (
    Upload,
    instance_files,
    parse_json,
    read_upload,
    validate,
    validate_list,
)
from service.api.wire import (
    batch_status,
    collection_json,
    page_json,
    read_cursor,
    scan_filter,
    scan_image,
    scan_json,
    version_of,
)
from service.catalog.records import ClipFrame, Collection, NewScan, ScanPatch, StoredScan
from service.embedding.pipeline import EmbeddedImage
from service.embedding.pooling import place_of, without_repeats
from service.errors import EncoderMismatch, InputError, ServiceError, TooManyItems

router = APIRouter(prefix="/v1", tags=["collections"])
Limit = Annotated[int, Query(ge=1, description="Most items on this page.")]
Cursor = Annotated[str | None, Query(max_length=2000)]


def page_limit(service: Services, limit: int) -> int:
    """The caller's limit, at most the service's."""
    return min(limit, service.settings.max_page)


@router.post("/collections", status_code=201, responses=says(CollectionAnswer, 201))
async def create_collection(
    body: NewCollectionBody, service: Service, workspace_id: WorkspaceId, key: IdempotencyKey = None
) -> Response:
    """Create a gallery bound to the loaded encoder."""

    async def act() -> JSONResponse:
        made = await asyncio.to_thread(
            service.gallery.create,
            workspace_id,
            body.name,
            body.description,
            keep_images=body.keep_images,
            retention_days=body.retention_days,
            intake=body.intake.model_dump(),
        )
        return created(collection_json(made), f"/v1/collections/{made.name}")

    content = request_fingerprint("collection", body.model_dump_json())
    return await idempotent(service, workspace_id, key, content, act)


@router.get("/collections", response_model=None, responses=says(CollectionPage))
async def list_collections(
    service: Service, workspace_id: WorkspaceId, limit: Limit = 50, cursor: Cursor = None
) -> JsonObject:
    """Collections, sorted by name."""
    page = await asyncio.to_thread(
        service.catalog.list_collections,
        workspace_id,
        limit=page_limit(service, limit),
        after=read_cursor("collections", cursor),
    )
    return page_json([collection_json(c) for c in page.items], "collections", page.next_after)


@router.get("/collections/{collection}", responses=says(CollectionAnswer))
async def get_collection(
    collection: str, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Read one collection."""
    found = await asyncio.to_thread(service.catalog.get_collection, workspace_id, collection)
    return read(collection_json(found))


@router.delete("/collections/{collection}", response_model=None, responses=says(CollectionDeleted))
async def delete_collection(
    collection: str, service: Service, workspace_id: WorkspaceId, if_match: IfMatch = None
) -> JsonObject:
    """Delete a collection with all its scans."""
    removed = await asyncio.to_thread(
        service.gallery.delete, workspace_id, collection, if_version=version_of(if_match)
    )
    service.forget_deleted()
    return {"deleted": collection, "scans": removed}


@router.post(
    "/collections/{collection}/scans",
    openapi_extra=image_body(InstancesBody, metadata=ScanMetadata, each=True),
    responses=says(StoredAnswer, 200, 207),
)
async def add_scans(
    collection: str,
    request: Request,
    service: Service,
    workspace_id: WorkspaceId,
    key: IdempotencyKey = None,
    frames: Annotated[
        FrameChoice | None,
        Query(description="Of a clip: all, uniform:N, fps:F or different:N; default as set."),
    ] = None,
    region: Annotated[RegionChoice | None, Query(description=REGION_SAYS)] = None,
) -> Response:
    """Embed, store and index images and clips; per-item results, 207 when some failed."""
    upload = await read_upload(request, max_items=service.settings.max_items)
    files, metadata = _files_and_metadata(upload, service.settings.max_items)

    async def act() -> JSONResponse:
        found = await _check_collection(service, workspace_id, collection)
        each = await embed_each(
            service,
            files,
            alone=upload.alone,
            frames=frames,
            region=region,
            with_thumbnail=True,
            with_png=found.keep_images,
        )
        embedded = accepted(found.intake, each, alone=upload.alone)
        scans = [
            _new_scan(item, said)
            for item, said in zip(embedded, metadata, strict=True)
            if isinstance(item, EmbeddedImage)
        ]
        items = await asyncio.to_thread(
            _store, service, request, workspace_id, collection, embedded, scans
        )
        encoder = service.pipeline.encoder
        body = {"encoder_id": encoder.encoder_id, "dim": encoder.dim, "items": items}
        return JSONResponse(body, batch_status(items))

    said = [item.model_dump_json() for item in metadata]
    content = request_fingerprint("scans", collection, frames, region, *files, *said)
    return await idempotent(service, workspace_id, key, content, act)


def _files_and_metadata(
    upload: Upload, max_items: int
) -> tuple[tuple[bytes | InputError, ...], list[ScanMetadata]]:
    if upload.document is None:
        metadata = validate_list(ScanMetadata, upload.metadata, length=len(upload.files))
        return upload.files, metadata
    body = validate(InstancesBody, upload.document)
    files = instance_files(body, max_items=max_items)
    return files, [instance.metadata for instance in body.instances]


async def _check_collection(service: Services, workspace_id: str, name: str) -> Collection:
    """Refuse before embedding: an unknown or foreign collection costs no encoder time."""
    found = await asyncio.to_thread(service.catalog.get_collection, workspace_id, name)
    loaded = service.pipeline.encoder.encoder_id
    if found.encoder_id != loaded:
        raise EncoderMismatch(
            f"the collection was made by {found.encoder_id}, loaded is {loaded}: move the "
            "collection, or upload its files into a new one"
        )
    return found


def _store(
    service: Services,
    request: Request,
    workspace_id: str,
    collection: str,
    embedded: list[EmbeddedImage | ServiceError],
    scans: list[NewScan],
) -> list[JsonObject]:
    """Store what could be embedded; answer in the order of the upload."""
    answers = iter(service.gallery.add(workspace_id, collection, scans) if scans else [])
    items: list[JsonObject] = []
    for found in embedded:
        stored = next(answers) if isinstance(found, EmbeddedImage) else found
        if isinstance(stored, StoredScan):
            dim = service.pipeline.encoder.dim
            items.append({"scan": scan_json(stored.scan, dim=dim), "created": stored.created})
        else:
            items.append({"problem": item_problem(stored, request)})
    return items


def _new_scan(embedded: EmbeddedImage, said: ScanMetadata) -> NewScan:
    several = embedded.regions_used
    return NewScan(
        scan_id=said.scan_id,
        image=scan_image(embedded),
        embedding_D=embedded.embedding_D,
        thumbnail_jpeg=embedded.thumbnail_jpeg,
        subject_id=said.subject_id,
        study_id=said.study_id,
        labels=said.labels,
        attributes=said.attributes,
        image_png=embedded.used_png,
        frames=tuple(
            ClipFrame(place_of(frame, several), frame.time_s, frame.copies, frame.embedding_D)
            for frame in without_repeats(embedded.used)
        ),
    )


@router.get("/collections/{collection}/scans", response_model=None, responses=says(ScanPage))
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
) -> JsonObject:
    """Scans that pass the conditions, in the order of storing."""
    conditions = {
        "subject_id": subject_id,
        "study_id": study_id,
        "labels": _pairs("label=task:class", label),
        "attributes": _pairs("attribute=name:value", attribute, read_value=_value),
        "and": None if more is None else [parse_json(more)],
    }
    where = scan_filter(validate(FilterBody, conditions))
    kind = f"scans/{collection}"
    page = await asyncio.to_thread(
        service.catalog.list_scans,
        workspace_id,
        collection,
        where=where,
        limit=page_limit(service, limit),
        after=read_cursor(kind, cursor),
    )
    dim = service.pipeline.encoder.dim
    return page_json([scan_json(s, dim=dim) for s in page.items], kind, page.next_after)


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
        found = parse_json(text)
    except InputError:
        return text
    return text if isinstance(found, list | dict) else found


@router.post("/collections/{collection}/known", response_model=None, responses=says(KnownAnswer))
async def known_files(
    collection: str, body: list[str], service: Service, workspace_id: WorkspaceId
) -> JsonObject:
    """{sha256: scan_id} of the files that the collection holds, so they need not be sent."""
    if len(body) > service.settings.max_page * 10:
        raise TooManyItems(f"expected at most {service.settings.max_page * 10} digests")
    await asyncio.to_thread(service.catalog.get_collection, workspace_id, collection)
    found = await asyncio.to_thread(service.catalog.find_known, workspace_id, collection, body)
    return {"known": found}


@router.get("/collections/{collection}/scans/{scan_id}", responses=says(ScanAnswer))
async def get_scan(
    collection: str, scan_id: str, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Read one scan."""
    scan = await asyncio.to_thread(service.catalog.get_scan, workspace_id, collection, scan_id)
    return read(scan_json(scan, dim=service.pipeline.encoder.dim))


@router.get(
    "/collections/{collection}/scans/{scan_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def get_thumbnail(
    collection: str, scan_id: str, service: Service, workspace_id: WorkspaceId
) -> Response:
    """Thumbnail of a scan: a small JPEG of its pixels, without metadata."""
    data = await asyncio.to_thread(service.catalog.thumbnail, workspace_id, collection, scan_id)
    return Response(data, media_type="image/jpeg")


@router.patch("/collections/{collection}/scans/{scan_id}", responses=says(ScanAnswer))
async def patch_scan(
    collection: str,
    scan_id: str,
    body: ScanPatchBody,
    service: Service,
    workspace_id: WorkspaceId,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Relabel; null removes a label or attribute."""
    patch = ScanPatch(
        labels=body.labels,
        attributes=body.attributes,
        subject_id=body.subject_id,
        study_id=body.study_id,
        set_fields=frozenset(body.model_fields_set & {"subject_id", "study_id"}),
    )
    scan = await asyncio.to_thread(
        service.catalog.patch_scan,
        workspace_id,
        collection,
        scan_id,
        patch,
        if_version=version_of(if_match),
    )
    return read(scan_json(scan, dim=service.pipeline.encoder.dim))
