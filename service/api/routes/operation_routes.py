"""Operations (long work: state, result, cancel) and erasures, which may begin one."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse

from service.access.keys import Caller
from service.api.dependencies import (
    IfMatch,
    Service,
    Services,
    WhoAsks,
    WorkspaceId,
    page_limit,
)
from service.api.routing import StrictRoute
from service.api.shapes.base import (
    Cursor,
    Limit,
    Responses,
    number_of,
    read_cursor,
    responses_of,
    version_of,
    write_cursor,
)
from service.api.shapes.operation_shapes import ErasureAnswer, OperationAnswer, OperationPage
from service.api.shapes.scan_shapes import ScanDeleted
from service.gallery.gallery_records import ErasedSubject
from service.jobs.job_requests import JobRequest, RefitRequest
from service.jobs.operations import Operation

router = APIRouter(route_class=StrictRoute, prefix="/v1")
Prefer = Annotated[
    str | None, Header(alias="Prefer", description="`respond-async`: answer 202 at once.")
]
Refit = Annotated[
    bool, Query(description="Fit the classifiers that learnt from it anew without it, and publish.")
]
ACCEPTED: Responses = {202: {"model": OperationAnswer, "description": "Begun; poll the operation."}}


@router.get(
    "/operations",
    tags=["operations"],
    response_model=None,
    responses=responses_of(OperationPage),
)
async def list_operations(
    service: Service, workspace_id: WorkspaceId, limit: Limit = 50, cursor: Cursor = None
) -> JSONResponse:
    """List operations of the workspace, newest first; ended ones are kept for 30 days."""
    before = read_cursor("operations", cursor)
    page = await asyncio.to_thread(
        service.operations.list_operations,
        workspace_id,
        limit=page_limit(service, limit),
        before=None if before is None else number_of(before),
    )
    answer = OperationPage(
        items=[OperationAnswer.of(operation) for operation in page.items],
        next_cursor=write_cursor("operations", page.next_after),
    )
    return JSONResponse(answer.to_json())


@router.get(
    "/operations/{operation_id}",
    tags=["operations"],
    response_model=None,
    responses=responses_of(OperationAnswer),
)
async def get_operation(
    operation_id: str, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Read state and progress of one operation, its result or its problem."""
    operation = await asyncio.to_thread(service.operations.get, workspace_id, operation_id)
    return JSONResponse(OperationAnswer.of(operation).to_json())


@router.delete(
    "/operations/{operation_id}",
    tags=["operations"],
    response_model=None,
    responses=responses_of(OperationAnswer),
)
async def cancel_operation(
    operation_id: str, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Ask one operation to stop; what has ended already stays as it is."""
    operation = await asyncio.to_thread(service.operations.cancel, workspace_id, operation_id)
    return JSONResponse(OperationAnswer.of(operation).to_json())


async def begin(service: Services, workspace_id: str, request: JobRequest) -> Operation:
    """Begin long work. Raises Overloaded."""
    return await asyncio.to_thread(service.operations.begin, workspace_id, request)


def accepted(operation: Operation, *, preferred: bool = False) -> JSONResponse:
    """202 with where to look; ``preferred``: the caller asked for it by a header."""
    headers = {"Location": f"/v1/operations/{operation.operation_id}"}
    headers |= {"Preference-Applied": "respond-async"} if preferred else {}
    return JSONResponse(OperationAnswer.of(operation).to_json(), 202, headers)


def prefers_async(prefer: str | None) -> bool:
    """Whether a Prefer header asks for 202 (RFC 7240)."""
    wishes = (prefer or "").lower().split(",")
    return any(wish.partition(";")[0].strip() == "respond-async" for wish in wishes)


# erasure --------------------------------------------------------------------------------------


@router.delete(
    "/collections/{collection}/scans/{scan_id}",
    tags=["collections"],
    response_model=None,
    responses=responses_of(ScanDeleted),
)
async def delete_scan(
    collection: str,
    scan_id: str,
    service: Service,
    caller: WhoAsks,
    if_match: IfMatch = None,
    refit: Refit = False,
) -> JSONResponse:
    """Delete one scan; the receipt names the classifiers that used it."""
    version, remove = version_of(if_match), service.gallery.remove
    receipt = await asyncio.to_thread(
        remove, caller.workspace_id, collection, scan_id, if_version=version
    )
    answer = ScanDeleted(deleted=scan_id, classifiers=list(receipt.classifiers))
    return await _erased(service, caller, receipt, answer, refit=refit)


@router.delete(
    "/subjects/{subject_id:path}",
    tags=["subjects"],
    response_model=None,
    responses=responses_of(ErasureAnswer),
)
async def erase_subject(
    subject_id: str, service: Service, caller: WhoAsks, refit: Refit = False
) -> JSONResponse:
    """Erase one patient everywhere; the receipt names scans and classifiers that used them."""
    erase = service.gallery.erase_subject
    receipt = await asyncio.to_thread(erase, caller.workspace_id, subject_id)
    return await _erased(service, caller, receipt, ErasureAnswer.of(receipt), refit=refit)


@router.delete(
    "/studies/{study_id:path}",
    tags=["subjects"],
    response_model=None,
    responses=responses_of(ErasureAnswer),
)
async def erase_study(
    study_id: str, service: Service, caller: WhoAsks, refit: Refit = False
) -> JSONResponse:
    """Erase one study everywhere; the receipt names scans and classifiers that used them."""
    erase = service.gallery.erase_study
    receipt = await asyncio.to_thread(erase, caller.workspace_id, study_id)
    return await _erased(service, caller, receipt, ErasureAnswer.of(receipt), refit=refit)


async def _erased(
    service: Services,
    caller: Caller,
    receipt: ErasedSubject,
    answer: ErasureAnswer | ScanDeleted,
    *,
    refit: bool,
) -> JSONResponse:
    """The answer, with the refit that was asked for where classifiers learnt from it."""
    service.forget_deleted()
    if refit and receipt.classifiers:
        request = RefitRequest(receipt.classifiers, caller.author)
        operation = await begin(service, caller.workspace_id, request)
        answer.operation = OperationAnswer.of(operation)
    return JSONResponse(answer.to_json())
