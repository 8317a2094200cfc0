"""Operations (state, result, cancel), and erasures, which may start one."""

import asyncio
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse

from service.access.audit.touched import touched_patients
from service.access.keys import Caller
from service.access.scopes import ADMIN, SERVICE_ADMIN
from service.access.workspace_rules import sought_studies, sought_subjects
from service.api.dependencies import KnownCaller, Service, Services, WorkspaceId
from service.api.etags import IfMatch
from service.api.paging import Paging, next_cursor, page_of_shown
from service.api.permissions import PUBLISH, needs
from service.api.routing import StrictRoute
from service.api.shapes.base import Responses
from service.api.shapes.operation_shapes import (
    ErasureAnswer,
    OperationAnswer,
    OperationPage,
    erased_scans,
)
from service.api.shapes.scan_shapes import ScanDeleted
from service.errors import UnknownItem
from service.gallery.gallery_records import ErasedSubject, Page
from service.jobs.job_requests import (
    BackupRequest,
    JobRequest,
    PseudonymizeRequest,
    RefitRequest,
    WorkspaceDeletion,
)
from service.jobs.operations import Operation

router = APIRouter(route_class=StrictRoute, prefix="/v1")
A = TypeVar("A", ErasureAnswer, ScanDeleted)
Prefer = Annotated[
    str | None, Header(alias="Prefer", description="`respond-async`: answer 202 at once.")
]
Refit = Annotated[
    bool, Query(description="Refit and publish the classifiers that were fitted from it.")
]
ANY_ID = "Any id, also one with slashes, which proxies between may change in a path."
# What only some may begin; they live in the default workspace, whose readers have no part in it.
_SCOPE_OF_KIND = {
    BackupRequest.kind: SERVICE_ADMIN,
    WorkspaceDeletion.kind: SERVICE_ADMIN,
    PseudonymizeRequest.kind: ADMIN,
}
ACCEPTED: Responses = {
    202: {"model": OperationAnswer, "description": "Started; poll the operation."}
}


@router.get(
    "/operations",
    tags=["operations"],
    dependencies=[needs("operation.read", limited="shown")],
)
async def list_operations(
    service: Service, caller: KnownCaller, workspace_id: WorkspaceId, paging: Paging
) -> OperationPage:
    """List operations of the workspace, newest first; ended ones are kept for 30 days.

    Work for the whole service (backups, deletions of workspaces) shows only with `service.admin`,
    the renaming of ids (`pseudonymize`) only with `admin`.
    """
    number = paging.number_after("operations")

    def list_page(*, limit: int, after: str | None) -> Page[Operation]:
        before = None if after is None else int(after)
        return service.operations.list_operations(workspace_id, limit=limit, before=before)

    page = await asyncio.to_thread(
        page_of_shown,
        list_page,
        partial(_may_see, caller),
        limit=paging.limit,
        after=None if number is None else str(number),
    )
    items = [OperationAnswer.of(operation) for operation in page.items]
    return OperationPage(items=items, next_cursor=next_cursor("operations", page.next_after))


@router.get(
    "/operations/{operation_id}",
    tags=["operations"],
    dependencies=[needs("operation.read", limited="shown")],
)
async def get_operation(
    operation_id: str, service: Service, caller: KnownCaller
) -> OperationAnswer:
    """Read state and progress of one operation, its result or its problem."""
    return OperationAnswer.of(await asyncio.to_thread(_shown, service, caller, operation_id))


@router.delete(
    "/operations/{operation_id}",
    tags=["operations"],
    responses={409: {}},
    dependencies=[needs("operation.cancel", limited="shown")],
)
async def cancel_operation(
    operation_id: str, service: Service, caller: KnownCaller
) -> OperationAnswer:
    """Ask an operation to stop; one that has ended stays as it is.

    409 for the deletion of a workspace that has begun.
    """
    await asyncio.to_thread(_shown, service, caller, operation_id)
    cancel = service.operations.cancel
    operation = await asyncio.to_thread(cancel, caller.workspace_id, operation_id)
    return OperationAnswer.of(operation)


def _shown(service: Services, caller: Caller, operation_id: str) -> Operation:
    """An operation that the caller may see. Raises UnknownItem."""
    operation = service.operations.get(caller.workspace_id, operation_id)
    if not _may_see(caller, operation):
        raise UnknownItem("no such operation in this workspace")
    return operation


def _may_see(caller: Caller, operation: Operation) -> bool:
    """Whether it names nothing outside the limits of the caller, and is no work of others."""
    scope = SERVICE_ADMIN if operation.for_service else _SCOPE_OF_KIND.get(operation.kind)
    return (scope is None or scope in caller.scopes) and caller.limits.has(operation.names)


async def begin(service: Services, workspace_id: str, request: JobRequest) -> Operation:
    """Start long work. Raises Overloaded."""
    return await asyncio.to_thread(service.operations.begin, workspace_id, request)


def accepted(operation: Operation, *, preferred: bool = False) -> JSONResponse:
    """202 with the place of the operation; ``preferred``: a Prefer header asked for it."""
    headers = {"Location": f"/v1/operations/{operation.operation_id}"}
    headers |= {"Preference-Applied": "respond-async"} if preferred else {}
    return JSONResponse(OperationAnswer.of(operation).to_json(), 202, headers)


def prefers_async(prefer: str | None) -> bool:
    """Whether a Prefer header asks for 202 (RFC 7240)."""
    preferences = (prefer or "").lower().split(",")
    return any(item.partition(";")[0].strip() == "respond-async" for item in preferences)


# erasure --------------------------------------------------------------------------------------


@router.delete(
    "/collections/{collection}/scans/{scan_id}",
    tags=["collections"],
    dependencies=[needs("scan.delete")],
)
async def delete_scan(
    collection: str,
    scan_id: str,
    service: Service,
    caller: KnownCaller,
    if_match: IfMatch,
    refit: Refit = False,
) -> ScanDeleted:
    """Delete one scan; the receipt names the classifiers fitted from it."""
    _require_refit(caller, refit=refit)
    if refit:  # it may be an example of any classifier
        caller.limits.require_unlimited()
    remove, find = service.gallery.remove, service.gallery.get_scan
    touched_patients([await asyncio.to_thread(find, caller.workspace_id, collection, scan_id)])
    receipt = await asyncio.to_thread(
        remove, caller.workspace_id, collection, scan_id, if_version=if_match
    )
    answer = ScanDeleted(
        deleted=scan_id,
        classifiers=list(filter(caller.limits.has_classifier, receipt.classifiers)),
        copies=erased_scans([c for c in receipt.copies if caller.limits.has_collection(c[0])]),
        backups_know=receipt.backups_know,
    )
    return await _erased(service, caller, receipt, answer, refit=refit)


@router.delete(
    "/subjects",
    tags=["subjects"],
    name="erase_subject_of_query",
    responses={404: {}},
    dependencies=[needs("subject.erase", limited="refused")],
)
async def erase_subject_of_query(
    service: Service,
    caller: KnownCaller,
    subject_id: Annotated[str, Query(description=ANY_ID)],
    refit: Refit = False,
) -> ErasureAnswer:
    """Erase one patient everywhere, as the route with the id in its path."""
    return await erase_subject(subject_id, service, caller, refit)


@router.delete(
    "/studies",
    tags=["subjects"],
    name="erase_study_of_query",
    responses={404: {}},
    dependencies=[needs("subject.erase", limited="refused")],
)
async def erase_study_of_query(
    service: Service,
    caller: KnownCaller,
    study_id: Annotated[str, Query(description=ANY_ID)],
    refit: Refit = False,
) -> ErasureAnswer:
    """Erase one study everywhere, as the route with the id in its path."""
    return await erase_study(study_id, service, caller, refit)


@router.delete(
    "/subjects/{subject_id:path}",
    tags=["subjects"],
    dependencies=[needs("subject.erase", limited="refused")],
)
async def erase_subject(
    subject_id: str, service: Service, caller: KnownCaller, refit: Refit = False
) -> ErasureAnswer:
    """Erase one patient everywhere; the receipt names scans and classifiers fitted from them."""
    _require_refit(caller, refit=refit)
    erase = service.gallery.erase_subject
    receipt = await asyncio.to_thread(erase, caller.workspace_id, *sought_subjects([subject_id]))
    return await _erased(service, caller, receipt, ErasureAnswer.of(receipt), refit=refit)


@router.delete(
    "/studies/{study_id:path}",
    tags=["subjects"],
    dependencies=[needs("subject.erase", limited="refused")],
)
async def erase_study(
    study_id: str, service: Service, caller: KnownCaller, refit: Refit = False
) -> ErasureAnswer:
    """Erase one study everywhere; the receipt names scans and classifiers fitted from them."""
    _require_refit(caller, refit=refit)
    erase = service.gallery.erase_study
    receipt = await asyncio.to_thread(erase, caller.workspace_id, *sought_studies([study_id]))
    return await _erased(service, caller, receipt, ErasureAnswer.of(receipt), refit=refit)


def _require_refit(caller: Caller, *, refit: bool) -> None:
    """Raises MissingScope, before anything is erased: the key may not refit and publish."""
    if refit:
        caller.require("classifier.write")
        caller.require(PUBLISH)


async def _erased(
    service: Services, caller: Caller, receipt: ErasedSubject, answer: A, *, refit: bool
) -> A:
    """The answer, with the requested refit if classifiers were fitted from what was erased."""
    service.forget_deleted()
    if refit and receipt.classifiers:
        request = RefitRequest(receipt.classifiers, caller.author)
        operation = await begin(service, caller.workspace_id, request)
        answer.operation = OperationAnswer.of(operation)
    return answer
