"""Classifiers: fit from uploads or stored scans, list, read, delete, predict."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.api.answers import ClassifierAnswer, ClassifierPage, Deleted, PredictionsAnswer, says
from service.api.collections import Cursor, Limit, page_limit
from service.api.openapi import image_body
from service.api.schemas import (
    InstancesBody,
    JsonObject,
    LabelledInstancesBody,
    NewClassifierBody,
    PredictScansBody,
    UploadedClassifier,
)
from service.api.state import (
    IdempotencyKey,
    IfMatch,
    Running,
    Service,
    WorkspaceId,
    created,
    embed_each,
    item_problem,
    meaning,
    once,
    read,
)
from service.api.uploads import Upload, from_base64, instance_files, read_upload, validate
from service.api.wire import (
    batch_status,
    classifier_json,
    page_json,
    read_cursor,
    scan_filter,
    seen_json,
    version_of,
)
from service.catalog.records import Classifier
from service.errors import InputError, ServiceError, TooManyItems
from service.fewshot.head import LinearHead
from service.heads import Example, Floats, group_of
from service.pipeline import Embedded

router = APIRouter(prefix="/v1", tags=["classifiers"])


@router.post(
    "/classifiers",
    status_code=201,
    openapi_extra=image_body(NewClassifierBody, LabelledInstancesBody, metadata=UploadedClassifier),
    responses=says(ClassifierAnswer, 201),
)
async def create_classifier(
    request: Request, service: Service, workspace_id: WorkspaceId, key: IdempotencyKey = None
) -> Response:
    """Fit from a label of a collection, from named scans, or from labelled uploads.

    Uploads are all or nothing: one bad image fails the request, for a classifier fitted from
    fewer examples than were sent would not be the one that was asked for.
    """
    upload = await read_upload(request, max_items=service.settings.max_items)
    gather: Callable[[], Awaitable[list[Example]]]
    if upload.document is not None and "instances" not in upload.document:
        stored = validate(NewClassifierBody, upload.document)
        name, content = stored.name, meaning("classifier", stored.model_dump_json())
        gather = partial(asyncio.to_thread, _stored_examples, service, workspace_id, stored)
    else:
        sent, files = _labelled(upload, service.settings.max_items)
        name, content = sent.name, meaning("classifier", sent.model_dump_json(), *files)
        gather = partial(_uploaded_examples, service, files, sent)

    async def act() -> JSONResponse:
        examples = await gather()
        made = await asyncio.to_thread(service.heads.fit, workspace_id, name, examples)
        return created(classifier_json(made), f"/v1/classifiers/{made.name}")

    return await once(service, workspace_id, key, content, act)


def _labelled(upload: Upload, max_items: int) -> tuple[UploadedClassifier, tuple[bytes, ...]]:
    """Uploads with their classes, from a form or from JSON. One unreadable file fails all."""
    if upload.document is None:
        sent = validate(UploadedClassifier, upload.metadata)
        if len(sent.examples) != len(upload.files):
            raise InputError(
                f"expected one example per file, got {len(sent.examples)} for {len(upload.files)}"
            )
        return sent, upload.files
    body = validate(LabelledInstancesBody, upload.document)
    if len(body.instances) > max_items:
        raise TooManyItems(f"expected at most {max_items} images, got {len(body.instances)}")
    said = [instance.model_dump(exclude={"image"}) for instance in body.instances]
    sent = UploadedClassifier.model_validate({"name": body.name, "examples": said})
    return sent, tuple(from_base64(instance.image) for instance in body.instances)


def _stored_examples(service: Running, workspace_id: str, body: NewClassifierBody) -> list[Example]:
    if (body.task is None) == (body.examples is None):
        raise InputError("expected exactly one of task, examples")
    if body.task is not None:
        return service.heads.examples_of_task(
            workspace_id, body.collection, body.task, scan_filter(body.filter)
        )
    named = [(example.scan_id, example.label) for example in body.examples or []]
    return service.heads.examples_of_scans(workspace_id, body.collection, named)


async def _uploaded_examples(
    service: Running, files: Sequence[bytes], body: UploadedClassifier
) -> list[Example]:
    found = await service.pipeline.embed_all(files)
    examples: list[Example] = []
    for index, (embedded, said) in enumerate(zip(found, body.examples, strict=True)):
        if isinstance(embedded, ServiceError):
            raise type(embedded)(f"file {index}: {embedded}") from embedded
        group = group_of(said.subject_id, said.study_id, embedded.sha256)
        examples.append(Example(embedded.embedding_D, said.label, group))
    return examples


@router.get("/classifiers", response_model=None, responses=says(ClassifierPage))
async def list_classifiers(
    service: Service, workspace_id: WorkspaceId, limit: Limit = 50, cursor: Cursor = None
) -> JsonObject:
    """Classifiers with their reports, sorted by name."""
    page = await asyncio.to_thread(
        service.catalog.list_classifiers,
        workspace_id,
        limit=page_limit(service, limit),
        after=read_cursor("classifiers", cursor),
    )
    return page_json([classifier_json(c) for c in page.items], "classifiers", page.next_after)


@router.get("/classifiers/{name}", responses=says(ClassifierAnswer))
async def get_classifier(name: str, service: Service, workspace_id: WorkspaceId) -> JSONResponse:
    """Read one classifier with its report."""
    found = await asyncio.to_thread(service.catalog.get_classifier, workspace_id, name)
    return read(classifier_json(found))


@router.delete("/classifiers/{name}", response_model=None, responses=says(Deleted))
async def delete_classifier(
    name: str, service: Service, workspace_id: WorkspaceId, if_match: IfMatch = None
) -> JsonObject:
    """Delete one classifier."""
    version = version_of(if_match)
    await asyncio.to_thread(
        service.catalog.delete_classifier, workspace_id, name, if_version=version
    )
    return {"deleted": name}


@router.post(
    "/classifiers/{name}/predict",
    openapi_extra=image_body(InstancesBody, PredictScansBody),
    responses=says(PredictionsAnswer, 200, 207),
)
async def predict(
    name: str, request: Request, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Probabilities of each class for uploads or stored scans; 207 when some items failed.

    They are not calibrated yet and the answer says so; the classifier's own cross-validated
    accuracy and its interval stand beside them.
    """
    upload = await read_upload(request, max_items=service.settings.max_items)
    classifier, head = await asyncio.to_thread(service.heads.open, workspace_id, name)
    if upload.document is not None and "instances" not in upload.document:
        items = await _predict_scans(service, workspace_id, head, upload.document)
    else:
        files = _files_of(upload, service.settings.max_items)
        embedded = await embed_each(service, files, alone=upload.alone)
        items = [_item(request, head, found) for found in embedded]
    body = _about(classifier) | {"dim": service.pipeline.encoder.dim, "items": items}
    return JSONResponse(body, batch_status(items))


def _files_of(upload: Upload, max_items: int) -> tuple[bytes | InputError, ...]:
    if upload.document is None:
        return upload.files
    return instance_files(validate(InstancesBody, upload.document), max_items=max_items)


async def _predict_scans(
    service: Running, workspace_id: str, head: LinearHead, document: Any
) -> list[JsonObject]:
    body = validate(PredictScansBody, document)
    if len(body.scan_ids) > service.settings.max_items:
        raise TooManyItems(f"expected at most {service.settings.max_items} scans")
    vectors_ND = await asyncio.to_thread(
        service.galleries.vectors_of, workspace_id, body.collection, body.scan_ids
    )
    return [
        {"scan_id": scan_id} | _judged(head, embedding_D)
        for scan_id, embedding_D in zip(body.scan_ids, vectors_ND, strict=True)
    ]


def _item(request: Request, head: LinearHead, found: Embedded | ServiceError) -> JsonObject:
    if isinstance(found, ServiceError):
        return {"problem": item_problem(found, request)}
    return {"image": seen_json(found)} | _judged(head, found.embedding_D)


def _judged(head: LinearHead, embedding_D: Floats) -> JsonObject:
    probabilities_C = head.probabilities(embedding_D[None])[0]
    by_class = {c: float(p) for c, p in zip(head.classes, probabilities_C, strict=True)}
    return {"label": max(by_class, key=by_class.__getitem__), "probabilities": by_class}


def _about(classifier: Classifier) -> JsonObject:
    report = classifier.report
    return {
        "classifier": classifier.name,
        "classifier_id": classifier.classifier_id,
        "encoder_id": classifier.encoder_id,
        "calibrated": False,
        "balanced_accuracy": report.get("balanced_accuracy"),
        "interval_95": report.get("interval_95"),
        "warnings": report.get("warnings", []),
    }
