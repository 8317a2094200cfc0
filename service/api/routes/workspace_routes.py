"""Workspaces of the whole service, for its operators: create, list, suspend, resume, delete.

No answer with a secret is kept under an Idempotency-Key: the catalog stores digests only.
"""

import asyncio
from dataclasses import asdict

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from service.api.dependencies import Service
from service.api.paging import Paging, next_cursor
from service.api.permissions import needs
from service.api.routes.operation_routes import ACCEPTED, accepted, begin
from service.api.routing import StrictRoute
from service.api.shapes.base import Responses
from service.api.shapes.key_shapes import KeyAnswer
from service.api.shapes.workspace_shapes import (
    NewWorkspaceBody,
    WorkspaceAnswer,
    WorkspaceCreated,
    WorkspaceDetail,
    WorkspacePage,
)
from service.jobs.job_requests import WorkspaceDeletion

router = APIRouter(
    route_class=StrictRoute,
    prefix="/v1/workspaces",
    tags=["workspaces"],
    dependencies=[needs("service.admin", limited="refused")],
)
KIND = "workspaces"
CONFLICT: Responses = {409: {}}


@router.post("", status_code=201)
async def create_workspace(
    body: NewWorkspaceBody, service: Service, response: Response
) -> WorkspaceCreated:
    """Create a workspace with a key of its administrator; the answer shows the secret once."""
    create = service.workspaces.create
    workspace, key, secret = await asyncio.to_thread(create, body.name)
    response.headers["Location"] = f"/v1/workspaces/{workspace.name}"
    answer = WorkspaceAnswer.of_record(workspace)
    return WorkspaceCreated(workspace=answer, key=KeyAnswer.of(key), secret=secret)


@router.get("")
async def list_workspaces(service: Service, paging: Paging) -> WorkspacePage:
    """List the workspaces of the service, oldest first."""
    workspaces, next_after = await asyncio.to_thread(
        service.workspaces.list_workspaces, limit=paging.limit, after=paging.after(KIND)
    )
    items = [WorkspaceAnswer.of_record(workspace) for workspace in workspaces]
    return WorkspacePage(items=items, next_cursor=next_cursor(KIND, next_after))


@router.get("/{workspace}")
async def get_workspace(workspace: str, service: Service) -> WorkspaceDetail:
    """Read one workspace, and how much is in it."""
    return WorkspaceDetail.of(*await asyncio.to_thread(service.workspaces.get, workspace))


@router.post("/{workspace}/suspend", responses=CONFLICT)
async def suspend_workspace(workspace: str, service: Service) -> WorkspaceAnswer:
    """Refuse all keys of a workspace with 403 and let its operations wait; its data stays."""
    record = await asyncio.to_thread(service.workspaces.suspend, workspace)
    return WorkspaceAnswer.of_record(record)


@router.post("/{workspace}/resume", responses=CONFLICT)
async def resume_workspace(workspace: str, service: Service) -> WorkspaceAnswer:
    """End a suspension; waiting operations go on."""
    record = await asyncio.to_thread(service.workspaces.resume, workspace)
    return WorkspaceAnswer.of_record(record)


@router.delete("/{workspace}", status_code=202, responses=ACCEPTED | CONFLICT)
async def delete_workspace(workspace: str, service: Service) -> JSONResponse:
    """Delete a workspace with everything in it.

    Its keys are unknown at once, and nothing takes the deletion back. An operation of the caller's
    workspace deletes the data; its result is the receipt.
    """
    record, contents = await asyncio.to_thread(service.workspaces.begin_deletion, workspace)
    request = WorkspaceDeletion(record.workspace_id, record.name, **asdict(contents))
    return accepted(await begin(service, service.default_workspace_id, request))
