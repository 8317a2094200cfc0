"""Operations: long work that was asked for, its progress, result or problem; cancel."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse

from service.api.answers import says
from service.api.collections import Cursor, Limit, page_limit
from service.api.life_answers import OperationAnswer, OperationPage
from service.api.problems import STATUS, internal_error, problem
from service.api.schemas import JsonObject
from service.api.state import Service, Services, WorkspaceId
from service.api.wire import number_of, page_json, read_cursor
from service.catalog.operation_records import Operation

router = APIRouter(prefix="/v1", tags=["operations"])
Prefer = Annotated[
    str | None, Header(alias="Prefer", description="`respond-async`: answer 202 at once.")
]
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": OperationAnswer, "description": "Begun; poll the operation."}
}
_KINDS = {kind.code: kind for kind in STATUS}


@router.get("/operations", response_model=None, responses=says(OperationPage))
async def list_operations(
    service: Service, workspace_id: WorkspaceId, limit: Limit = 50, cursor: Cursor = None
) -> JsonObject:
    """Operations of the workspace, newest first; ended ones are kept for 30 days."""
    before = read_cursor("operations", cursor)
    page = await asyncio.to_thread(
        service.catalog.list_operations,
        workspace_id,
        limit=page_limit(service, limit),
        before=None if before is None else number_of(before),
    )
    return page_json([operation_json(o) for o in page.items], "operations", page.next_after)


@router.get("/operations/{operation_id}", response_model=None, responses=says(OperationAnswer))
async def get_operation(
    operation_id: str, service: Service, workspace_id: WorkspaceId
) -> JsonObject:
    """State and progress of one operation, its result or its problem."""
    return operation_json(
        await asyncio.to_thread(service.catalog.get_operation, workspace_id, operation_id)
    )


@router.delete("/operations/{operation_id}", response_model=None, responses=says(OperationAnswer))
async def cancel_operation(
    operation_id: str, service: Service, workspace_id: WorkspaceId
) -> JsonObject:
    """Ask one operation to stop; what has ended already stays as it is."""
    return operation_json(
        await asyncio.to_thread(service.operations.cancel, workspace_id, operation_id)
    )


async def started(
    service: Services, workspace_id: str, kind: str, request: Mapping[str, Any]
) -> Operation:
    """Begin long work. Raises Overloaded."""
    return await asyncio.to_thread(service.operations.start, workspace_id, kind, request)


def accepted(operation: Operation, *, preferred: bool = False) -> JSONResponse:
    """202 with where to look; ``preferred``: the caller asked for it by a header."""
    headers = {"Location": f"/v1/operations/{operation.operation_id}"}
    headers |= {"Preference-Applied": "respond-async"} if preferred else {}
    return JSONResponse(operation_json(operation), 202, headers)


def prefers_async(prefer: str | None) -> bool:
    """Whether a Prefer header asks for 202 (RFC 7240)."""
    wishes = (prefer or "").lower().split(",")
    return any(wish.partition(";")[0].strip() == "respond-async" for wish in wishes)


def operation_json(operation: Operation) -> JsonObject:
    """As clients see it; what it was asked with stays inside."""
    return {
        "operation_id": operation.operation_id,
        "kind": operation.kind,
        "state": operation.state,
        "progress": {"done": operation.done, "total": operation.total},
        "cancel_asked": operation.cancel_asked,
        "result": None if operation.result is None else dict(operation.result),
        "problem": _problem(operation),
        "created_at": operation.created_at,
        "updated_at": operation.updated_at,
    }


def _problem(operation: Operation) -> JsonObject | None:
    """The problem document; the operation's own id stands where a request's would."""
    if operation.problem is None:
        return None
    kind = _KINDS.get(operation.problem["code"])
    if kind is None:
        return internal_error(operation.operation_id)
    return problem(kind(operation.problem["detail"]), operation.operation_id)
