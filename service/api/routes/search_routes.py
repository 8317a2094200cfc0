"""Similarity search: one query or many, over one collection or several."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from service.access.audit.touched import touched
from service.access.workspace_rules import (
    sought_studies,
    sought_subjects,
    stored_study,
    stored_subject,
)
from service.api.batches import batch_status, refuse_if_all_failed
from service.api.dependencies import Service, Services, WorkspaceId
from service.api.openapi import image_body
from service.api.permissions import needs
from service.api.problems import request_id_of
from service.api.routing import StrictRoute
from service.api.shapes.base import ImageAnswer, Problem, responses_of
from service.api.shapes.search_shapes import (
    HitAnswer,
    QueryAnswer,
    QueryBody,
    SearchAnswer,
    SearchBody,
    SearchesAnswer,
    SearchesItem,
    SearchExample,
    SearchOptions,
    SearchOptionsAcross,
)
from service.api.strict_json import strict_json
from service.api.uploads import Upload, embed_each, from_base64, read_upload
from service.embedding.pipeline import EmbeddedImage, EmbedOptions
from service.errors import InputError, ServiceError, TooManyItems
from service.gallery.acceptance import image_of
from service.gallery.gallery_records import QueryExample, ScanFilter, SearchHit, SearchRequest

router = APIRouter(route_class=StrictRoute, prefix="/v1", tags=["search"])
OptionsText = Annotated[
    str | None, Query(max_length=20_000, description="Options of a raw image, JSON.")
]


@router.post(
    "/search",
    openapi_extra=image_body(SearchBody, options=SearchOptionsAcross),
    responses=responses_of(SearchAnswer | SearchesAnswer)
    | responses_of(SearchesAnswer, 207)
    | {404: {}},
    dependencies=[needs("search", limited="body")],
)
async def search(
    request: Request, service: Service, workspace_id: WorkspaceId, options: OptionsText = None
) -> JSONResponse:
    """Find similar scans in one or several collections, which are ranked as one.

    A query is an upload, a stored scan, a vector, or positive and negative examples of these;
    ``queries`` holds several. Files of a form are positive examples; the ``options`` of a raw
    image are a query parameter.
    """
    upload = await read_upload(request, max_items=service.settings.max_items)
    query: SearchOptionsAcross | SearchBody
    if upload.document is None:
        query = await upload.validated(SearchOptionsAcross, _options(upload, options))
    else:
        query = await upload.validated(SearchBody, upload.document)
        if queries := query.many():
            return await _search_many(service, workspace_id, request, query.collections, queries)
    if not query.collections:
        raise InputError("expected collections in the options")
    answer = await _search(service, workspace_id, query.collections, query, upload.files)
    return JSONResponse(answer.to_json())


@router.post(
    "/collections/{collection}/search",
    openapi_extra=image_body(QueryBody, options=SearchOptions),
    dependencies=[needs("search")],
)
async def search_collection(
    collection: str,
    request: Request,
    service: Service,
    workspace_id: WorkspaceId,
    options: OptionsText = None,
) -> SearchAnswer:
    """Find similar scans in one collection: the short form of ``POST /v1/search``."""
    upload = await read_upload(request, max_items=service.settings.max_items)
    query: SearchOptions = (
        await upload.validated(SearchOptions, _options(upload, options))
        if upload.document is None
        else await upload.validated(QueryBody, upload.document)
    )
    return await _search(service, workspace_id, [collection], query, upload.files)


def _options(upload: Upload, text: str | None) -> object:
    """The ``options`` of a form's part, or of a raw image's query parameter."""
    if text is None:
        return upload.options if upload.options is not None else {}
    if upload.options is not None:
        raise InputError("expected options once: as a part of the form or as a query parameter")
    return strict_json(text)


async def _search_many(
    service: Services,
    workspace_id: str,
    request: Request,
    collections: Sequence[str],
    queries: Sequence[QueryBody],
) -> JSONResponse:
    max_items = service.settings.max_items
    if len(queries) > max_items:
        raise TooManyItems(f"expected at most {max_items} queries, got {len(queries)}")
    results: list[SearchAnswer | ServiceError] = []
    for query in queries:
        try:
            results.append(await _search(service, workspace_id, collections, query))
        except ServiceError as error:
            results.append(error)
    refuse_if_all_failed(results)
    request_id = request_id_of(request)
    items = [
        SearchesItem(query=result.query, items=result.items)
        if isinstance(result, SearchAnswer)
        else SearchesItem(problem=Problem.of(result, request_id))
        for result in results
    ]
    answer = SearchesAnswer.of_record(service.pipeline.encoder, items=items)
    return JSONResponse(answer.to_json(), batch_status(results))


async def _search(
    service: Services,
    workspace_id: str,
    collections: Sequence[str],
    options: SearchOptions,
    files: Sequence[bytes] = (),
) -> SearchAnswer:
    """Embed the uploaded images, then search."""
    touched("collection", collections)
    touched("subject", [options.subject_id])
    touched("study", [options.study_id])
    if options.k > service.settings.max_k:
        raise InputError(f"expected k of at most {service.settings.max_k}, got {options.k}")
    positive, negative = options.examples()
    touched("scan", (example.scan_id for example in (*positive, *negative)))
    if not positive and not files:
        raise InputError("expected exactly one of image, scan_id, vector, positive")
    encoded = [example.image for example in (*positive, *negative) if example.image is not None]
    decoded = await asyncio.to_thread(lambda: [from_base64(text) for text in encoded])
    images = await _embed(service, [*files, *decoded], options.region)
    uploaded = iter([QueryExample(embedding_D=image.embedding_D) for image in images])
    encoder_id = options.encoder_id if isinstance(options, QueryBody) else None
    request = SearchRequest(
        collections=tuple(collections),
        positive=tuple(
            [next(uploaded) for _ in files]
            + [_example(example, encoder_id) or next(uploaded) for example in positive]
        ),
        negative=tuple(_example(example, encoder_id) or next(uploaded) for example in negative),
        stored_in=options.stored_in,
        k=options.k,
        where=_excluding(options),
        match=options.match,
        group_by=options.group_by,
        group_size=options.group_size,
        diversity=options.diversity,
        min_score=options.min_score,
        exclude_same=options.exclude_same,
        subject_id=options.subject_id and stored_subject(options.subject_id),
        study_id=options.study_id and stored_study(options.study_id),
        with_vectors=options.with_vector,
    )
    hits = await service.read_rows(_search_timed, service, workspace_id, request)
    return SearchAnswer.of_record(
        service.pipeline.encoder,
        query=QueryAnswer(images=[ImageAnswer.of(image_of(image)) for image in images]),
        items=[HitAnswer.of(hit) for hit in hits],
    )


def _excluding(options: SearchOptions) -> ScanFilter:
    """The filter; where the own subject is left out, also under the id as it was given."""
    where, same = options.filter.where(), options.exclude_same
    if same == "subject" and options.subject_id is not None:
        others = sought_subjects([options.subject_id])
        return replace(where, not_subject_ids=(*where.not_subject_ids, *others))
    if same == "study" and options.study_id is not None:
        others = sought_studies([options.study_id])
        return replace(where, not_study_ids=(*where.not_study_ids, *others))
    return where


def _search_timed(service: Services, workspace_id: str, request: SearchRequest) -> list[SearchHit]:
    with service.timed("search"):
        return service.gallery.search(workspace_id, request)


async def _embed(
    service: Services, files: Sequence[bytes], region: str | None
) -> list[EmbeddedImage]:
    """Embed every file. Raises the error of the first file that fails."""
    if not files:
        return []
    results = await embed_each(service, files, EmbedOptions().choosing(None, region))
    for result in results:
        if isinstance(result, ServiceError):
            raise result
    return [result for result in results if isinstance(result, EmbeddedImage)]


def _example(example: SearchExample, encoder_id: str | None) -> QueryExample | None:
    """A stored scan or a vector; None for an image."""
    if example.scan_id is not None:
        return QueryExample(scan_id=example.scan_id)
    if example.vector is not None:
        return QueryExample(embedding_D=np.array(example.vector, np.float32), encoder_id=encoder_id)
    return None
