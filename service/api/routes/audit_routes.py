"""The audit log of the workspace."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from service.access.audit.audit_search import filter_of, search
from service.api.dependencies import Service, WorkspaceId
from service.api.paging import Paging, next_cursor
from service.api.permissions import needs
from service.api.routing import StrictRoute
from service.api.shapes.audit_shapes import AuditEntryAnswer, AuditPage
from service.errors import NotSupported

router = APIRouter(route_class=StrictRoute, prefix="/v1/audit", tags=["audit"])
KIND = "audit"


@router.get("", responses={409: {}}, dependencies=[needs("audit.read", limited="refused")])
async def list_audit_entries(
    service: Service,
    workspace_id: WorkspaceId,
    paging: Paging,
    action: Annotated[
        str | None, Query(max_length=200, description="Name of an operation of this document.")
    ] = None,
    author: Annotated[
        str | None, Query(max_length=200, description="Id of a key, or subject of a token.")
    ] = None,
    outcome: Literal["begun", "ok", "refused", "failed"] | None = None,
    since: Annotated[AwareDatetime | None, Query(description="Inclusive.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Exclusive.")] = None,
    name: Annotated[
        str | None,
        Query(
            max_length=200,
            description="A collection, a classifier, any id, also of a patient or a request.",
        ),
    ] = None,
) -> AuditPage:
    """List entries of the workspace's audit log, newest first; reading it is an entry as well.

    409 where the log is off.
    """
    if service.audit is None:
        raise NotSupported("the audit log is off: set SONOPROBE_AUDIT=true")
    wanted = filter_of(action=action, author=author, outcome=outcome, since=since, until=until)
    entries, next_before = await asyncio.to_thread(
        search,
        service.audit,
        workspace_id,
        wanted,
        name=name,
        limit=paging.limit,
        before=paging.number_after(KIND),
    )
    items = [AuditEntryAnswer.of(entry.fields, entry.sha256) for entry in entries]
    after = None if next_before is None else str(next_before)
    return AuditPage(items=items, next_cursor=next_cursor(KIND, after))
