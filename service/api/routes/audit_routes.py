"""The audit log of the workspace."""

from functools import partial
from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, Depends, Query

from service.access.audit.audit_search import filter_of, search
from service.access.workspace_rules import stored_name
from service.api.dependencies import Service, WorkspaceId
from service.api.paging import PageQuery, Paging, next_cursor
from service.api.permissions import needs
from service.api.routing import StrictRoute
from service.api.shapes.access.audit_shapes import (
    AuditEntryAnswer,
    AuditPage,
    AuditVerificationAnswer,
)
from service.api.shapes.base import ZonedTime
from service.errors import NotSupported

router = APIRouter(route_class=StrictRoute, prefix="/v1/audit", tags=["audit"])
KIND = "audit"
VERIFICATION = "audit-verification"
MAX_VERIFIED = 100_000  # entries in one answer, which takes seconds


async def _part_of_chain(
    limit: Annotated[
        int, Query(ge=1, le=MAX_VERIFIED, description="Most entries that are verified.")
    ] = 20_000,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> PageQuery:
    return PageQuery(limit, cursor)


PartOfChain: TypeAlias = Annotated[PageQuery, Depends(_part_of_chain)]


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
    since: Annotated[ZonedTime | None, Query(description="Inclusive.")] = None,
    until: Annotated[ZonedTime | None, Query(description="Exclusive.")] = None,
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
    entries, next_before = await service.read_rows(
        search,
        service.audit,
        workspace_id,
        wanted,
        name=name,
        limit=paging.limit,
        before=paging.number_after(KIND),
        stored=stored_name,
    )
    items = [AuditEntryAnswer.of(entry.fields, entry.sha256) for entry in entries]
    after = None if next_before is None else str(next_before)
    return AuditPage(items=items, next_cursor=next_cursor(KIND, after))


@router.get(
    "/verification", responses={409: {}}, dependencies=[needs("audit.read", limited="refused")]
)
async def verify_audit_log(
    service: Service, workspace_id: WorkspaceId, paging: PartOfChain
) -> AuditVerificationAnswer:
    """Verify a part of the workspace's chain: whether entries were changed, removed or cut off.

    ``next_cursor`` continues behind it; the parts together are the whole chain. What is noted
    elsewhere about the end of the chain is compared as far as this replica has it. 409 where the
    log is off.
    """
    if service.audit is None:
        raise NotSupported("the audit log is off: set SONOPROBE_AUDIT=true")
    after = paging.number_after(VERIFICATION) or 0
    verified = partial(service.audit.verified, workspace_id, after=after, limit=paging.limit)
    found = await service.read_rows(verified)
    end = None if found.is_whole else str(found.last)
    return AuditVerificationAnswer.of(found, next_cursor(VERIFICATION, end))
