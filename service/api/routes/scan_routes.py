"""Scans of a collection: upload, list, read, relabel."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from service.access.audit.touched import touched, touched_patients
from service.api.batches import batch_status, refuse_if_all_failed
from service.api.dependencies import Service, Services, WorkspaceId
from service.api.etags import IfMatch, with_etag
from service.api.idempotency import Idempotent
from service.api.openapi import image_body
from service.api.paging import Paging, next_cursor
from service.api.permissions import needs
from service.api.problems import request_id_of
from service.api.routing import StrictRoute
from service.api.shapes.base import (
    FRAMES_HELP,
    REGION_HELP,
    FrameChoice,
    Identifier,
    JsonObject,
    RegionChoice,
    ScanId,
    responses_of,
)
from service.api.shapes.embedding_shapes import Encoding
from service.api.shapes.filter_shapes import FilterBody
from service.api.shapes.scan_shapes import (
    AddedScan,
    AddedScansAnswer,
    CopiedScansAnswer,
    CopyScansBody,
    NewScansBody,
    ScanAnswer,
    ScanField,
    ScanMetadata,
    ScanMetadataList,
    ScanPage,
    ScanPartPage,
    ScanPatchBody,
    VectorOptions,
    facts_of_query,
)
from service.api.strict_json import strict_json
from service.api.uploads import Upload, embed_each, image_files, read_upload, validate
from service.embedding.pipeline import EmbedOptions
from service.embedding.quantisation import NumberFormat
from service.errors import InputError, UnknownItem
from service.gallery.gallery_records import Scan, ScanFacts, ScanFilter, StoredScan

router = APIRouter(
    route_class=StrictRoute, prefix="/v1/collections/{collection}/scans", tags=["collections"]
)


async def _vector_options(
    with_vector: Annotated[bool, Query(description="Return the embedding of each scan.")] = False,
    encoding_format: Annotated[Encoding, Query(description="Of the vectors.")] = "float",
    dtype: Annotated[NumberFormat, Query(description="Of the vectors.")] = "float32",
) -> VectorOptions:
    return VectorOptions(with_vector, encoding_format, dtype)


Vectors = Annotated[VectorOptions, Depends(_vector_options)]
OF_RAW = "Only for a raw image; forms and JSON have metadata."


@router.post(
    "",
    openapi_extra=image_body(NewScansBody, metadata=ScanMetadata),
    responses=responses_of(AddedScansAnswer, 200, 207),
    dependencies=[needs("scan.write")],
)
async def add_scans(
    collection: str,
    request: Request,
    service: Service,
    workspace_id: WorkspaceId,
    idempotent: Idempotent,
    frames: Annotated[FrameChoice | None, Query(description=FRAMES_HELP)] = None,
    region: Annotated[RegionChoice | None, Query(description=REGION_HELP)] = None,
    scan_id: Annotated[ScanId | None, Query(description=OF_RAW)] = None,
    subject_id: Annotated[Identifier | None, Query(description=OF_RAW)] = None,
    study_id: Annotated[Identifier | None, Query(description=OF_RAW)] = None,
    label: Annotated[
        list[str] | None, Query(description=f"task:class, repeatable. {OF_RAW}", max_length=64)
    ] = None,
    labels: Annotated[
        str | None, Query(description=f"JSON object, task -> class. {OF_RAW}", max_length=20_000)
    ] = None,
    attributes: Annotated[
        str | None, Query(description=f"JSON object, name -> value. {OF_RAW}", max_length=80_000)
    ] = None,
) -> Response:
    """Embed, store and index images and clips: one result per item, 207 when some failed."""
    upload = await read_upload(request, max_items=service.settings.max_items)
    ids = (scan_id, subject_id, study_id)
    objects = (_object("labels", labels), _object("attributes", attributes))
    raw_facts = facts_of_query(ids, label or [], *objects)
    files, facts = await asyncio.to_thread(  # base64 is decoded there
        _files_and_facts, upload, raw_facts, service.settings.max_items
    )

    touched_patients(facts)

    async def act() -> JSONResponse:
        # Before embedding: an unknown or foreign collection costs no encoder time.
        target = await asyncio.to_thread(service.gallery.get_own, workspace_id, collection)
        options = EmbedOptions(with_thumbnail=True, with_png=target.keep_images)
        embedded = await embed_each(service, files, options.choosing(frames, region))
        add = service.gallery.add
        results = await asyncio.to_thread(add, workspace_id, collection, embedded, facts)
        refuse_if_all_failed(results)
        encoder, request_id = service.pipeline.encoder, request_id_of(request)
        items = [AddedScan.of(result, encoder.dim, request_id) for result in results]
        touched("scan", (item.scan.scan_id for item in items if item.scan is not None))
        answer = AddedScansAnswer.of_record(encoder, items=items)
        return JSONResponse(answer.to_json(), batch_status(results))

    metadata = [astuple(item) for item in facts]
    return await idempotent.run(act, "scans", collection, frames, region, *files, *metadata)


@router.post(
    "/copy",
    responses=responses_of(CopiedScansAnswer, 200, 207),
    dependencies=[needs("scan.read", "scan.write")],
)
async def copy_scans(
    collection: str,
    body: CopyScansBody,
    request: Request,
    service: Service,
    workspace_id: WorkspaceId,
    idempotent: Idempotent,
) -> Response:
    """Store scans in another collection too: one result per scan, 207 when some failed.

    A copy keeps id, subject, study, labels, attributes, pictures, embedding and age. Afterwards the
    two are apart: a label of one is not a label of the other. Erasing a patient reaches both.
    """
    touched("collection", [body.to])
    touched("scan", body.scan_ids)

    async def act() -> JSONResponse:
        copy = service.gallery.copy
        results = await asyncio.to_thread(copy, workspace_id, collection, body.to, body.scan_ids)
        touched_patients(result.scan for result in results if isinstance(result, StoredScan))
        refuse_if_all_failed(results)
        answer = CopiedScansAnswer.of(body.to, body.scan_ids, results, request_id_of(request))
        return JSONResponse(answer.to_json(), batch_status(results))

    return await idempotent.run(act, "copy", collection, body)


def _files_and_facts(
    upload: Upload, raw_facts: JsonObject, max_items: int
) -> tuple[Sequence[bytes | InputError], list[ScanFacts]]:
    if upload.is_raw:
        return upload.files, [validate(ScanMetadata, raw_facts).facts()]
    if raw_facts:
        raise InputError("expected ids, labels and attributes in metadata")
    files: Sequence[bytes | InputError] = upload.files
    metadata = upload.metadata
    if upload.document is not None:
        body = validate(NewScansBody, upload.document)
        files = image_files(body.images, max_items=max_items)
        metadata = body.metadata or None
    if metadata is None:
        metadata = [{} for _ in files]
    items = validate(ScanMetadataList, metadata).root
    if len(items) != len(files):
        raise InputError(f"expected metadata for {len(files)} images, got {len(items)} objects")
    return files, [item.facts() for item in items]


@router.get(
    "",
    response_model=ScanPage | ScanPartPage,
    responses={413: {}},
    dependencies=[needs("scan.read")],
)
async def list_scans(
    collection: str,
    service: Service,
    workspace_id: WorkspaceId,
    paging: Paging,
    subject_id: str | None = None,
    study_id: str | None = None,
    label: Annotated[list[str] | None, Query(description="task:class, repeatable")] = None,
    attribute: Annotated[
        list[str] | None,
        Query(description='name:value, repeatable; 4.5, true, null and "text" are read as JSON'),
    ] = None,
    filter_text: Annotated[
        str | None,
        Query(alias="filter", max_length=20_000, description="A filter as in searches, JSON."),
    ] = None,
    sha256: Annotated[
        list[str] | None,
        Query(description="Digests of files, repeatable: their stored scans, on one page."),
    ] = None,
    fields: Annotated[
        list[ScanField] | None,
        Query(
            description="Return these fields of each scan and its id, repeatable; default: all.",
            max_length=len(get_args(ScanField)),
        ),
    ] = None,
    *,
    vectors: Vectors,
) -> ScanPage | JSONResponse:
    """List scans that pass the conditions, in the order in which they were stored.

    With ``sha256`` and nothing else: the scans of those files, so that a client learns which files
    it need not send.
    """
    conditions = {
        "subject_id": subject_id,
        "study_id": study_id,
        "labels": _pairs("label=task:class", label),
        "attributes": _pairs("attribute=name:value", attribute, read_value=_value),
        "and": None if filter_text is None else [strict_json(filter_text)],
    }
    where = validate(FilterBody, conditions).where()
    if fields is not None and "vector" in fields:
        vectors = replace(vectors, with_vector=True)
    kind = f"scans/{collection}"
    if sha256:
        if where != ScanFilter() or paging.cursor is not None:
            raise InputError("expected sha256 without other conditions and without cursor")
        find = service.gallery.scans_of_files
        page = await service.read_rows(find, workspace_id, collection, sha256)
    else:
        page = await service.read_rows(
            service.gallery.list_scans,
            workspace_id,
            collection,
            where=where,
            limit=paging.limit,
            after=paging.after(kind),
        )
    items = await asyncio.to_thread(
        _answers, service, workspace_id, collection, page.items, vectors
    )
    answer = ScanPage(items=items, next_cursor=next_cursor(kind, page.next_after))
    return answer if fields is None else JSONResponse(ScanPartPage.of(answer, fields))


def _object(name: str, text: str | None) -> JsonObject | None:
    """A query parameter that holds a JSON object. Raises InputError."""
    if text is None:
        return None
    value = strict_json(text)
    if not isinstance(value, dict):
        raise InputError(f"expected {name} to be a JSON object")
    return value


def _answers(
    service: Services,
    workspace_id: str,
    collection: str,
    scans: Sequence[Scan],
    vectors: VectorOptions,
) -> list[ScanAnswer]:
    """Scans with their vectors if they are asked for; one that is deleted meanwhile is left out."""
    dim = service.pipeline.encoder.dim
    if not vectors.with_vector:
        return [ScanAnswer.of(scan, dim=dim) for scan in scans]
    row_ids = [scan.row_id for scan in scans]
    found_ids, embeddings_ND = service.gallery.row_vectors(workspace_id, collection, row_ids)
    rows = dict(zip(found_ids.tolist(), embeddings_ND, strict=True))
    return [
        ScanAnswer.of(scan, dim=dim, vector=vectors.write(rows[scan.row_id]))
        for scan in scans
        if scan.row_id in rows
    ]


def _pairs(
    expected: str, pairs: list[str] | None, *, read_value: Callable[[str], Any] = str
) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for pair in pairs or []:
        name, colon, value = pair.partition(":")
        if not (name and colon and value):
            raise InputError(f"expected {expected}")
        values.setdefault(name, []).append(read_value(value))
    return values


def _value(text: str) -> Any:
    """A JSON number, true, false or null, or text in quotes; anything else is text as it stands."""
    try:
        value = strict_json(text)
    except InputError:
        return text
    return text if isinstance(value, list | dict) else value


@router.get("/{scan_id}", dependencies=[needs("scan.read")])
async def get_scan(
    collection: str,
    scan_id: str,
    service: Service,
    workspace_id: WorkspaceId,
    response: Response,
    vectors: Vectors,
) -> ScanAnswer:
    """Read one scan."""
    scan = await asyncio.to_thread(service.gallery.get_scan, workspace_id, collection, scan_id)
    touched_patients([scan])
    answers = await asyncio.to_thread(_answers, service, workspace_id, collection, [scan], vectors)
    if not answers:
        raise UnknownItem("the scan was deleted meanwhile")
    return with_etag(response, answers[0])


@router.get(
    "/{scan_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
    dependencies=[needs("scan.read")],
)
async def get_thumbnail(
    collection: str, scan_id: str, service: Service, workspace_id: WorkspaceId
) -> Response:
    """Read the thumbnail of a scan: a small JPEG of its pixels, without metadata."""
    scan = await asyncio.to_thread(service.gallery.get_scan, workspace_id, collection, scan_id)
    touched_patients([scan])
    data = await asyncio.to_thread(service.gallery.thumbnail, workspace_id, collection, scan_id)
    return Response(data, media_type="image/jpeg")


@router.patch("/{scan_id}", dependencies=[needs("scan.read", "scan.label")])
async def patch_scan(
    collection: str,
    scan_id: str,
    body: ScanPatchBody,
    service: Service,
    workspace_id: WorkspaceId,
    response: Response,
    if_match: IfMatch,
) -> ScanAnswer:
    """Relabel one scan; null removes a label or attribute."""
    patch, find = service.gallery.patch_scan, service.gallery.get_scan
    before = await asyncio.to_thread(find, workspace_id, collection, scan_id)
    touched_patients([before, body])  # it may go from one patient to another
    scan = await asyncio.to_thread(
        patch, workspace_id, collection, scan_id, body.patch(), if_version=if_match
    )
    touched_patients([scan])
    return with_etag(response, ScanAnswer.of(scan, dim=service.pipeline.encoder.dim))
