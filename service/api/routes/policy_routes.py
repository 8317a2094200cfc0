"""Who the caller is, the policy of the workspace, and how much of its limits is used."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.access.scopes import ADMIN
from service.api.dependencies import KnownCaller, Service, WorkspaceId
from service.api.etags import IfMatch
from service.api.permissions import ANY_CALLER, needs
from service.api.routes.operation_routes import ACCEPTED, accepted, begin
from service.api.routing import StrictRoute
from service.api.shapes.access.caller_shapes import CallerAnswer
from service.api.shapes.access.policy_shapes import (
    PolicyAnswer,
    PolicyBody,
    UsageAnswer,
    UsedLimitAnswer,
)
from service.api.shapes.base import Responses
from service.jobs.job_requests import PseudonymizeRequest

CONFLICT: Responses = {409: {}}
router = APIRouter(route_class=StrictRoute, prefix="/v1", tags=["policy"])


@router.get("/me", dependencies=[ANY_CALLER])
async def read_caller(service: Service, caller: KnownCaller) -> CallerAnswer:
    """Read who the key or access token is, and what it allows. Any that is valid may ask."""
    workspace = await asyncio.to_thread(service.workspaces.name_of, caller.workspace_id)
    return CallerAnswer.of(caller, workspace)


@router.get("/policy", dependencies=[needs("admin", limited="refused")])
async def read_policy(request: Request, response: Response) -> PolicyAnswer:
    """Read what no client can store in the workspace, and its limits."""
    return _with_etag(response, PolicyAnswer.of(request.state.policy))


@router.put("/policy", dependencies=[needs("admin", limited="refused")])
async def replace_policy(
    body: PolicyBody, service: Service, caller: KnownCaller, response: Response, if_match: IfMatch
) -> PolicyAnswer:
    """Replace the whole policy. It holds for what is stored later; what is stored already stays.

    Answers kept under an Idempotency-Key are dropped. `unfit` counts the stored scans that the
    policy would not let in.
    """
    workspace_id, policies = caller.workspace_id, service.rules.policies
    policy = await asyncio.to_thread(
        policies.replace, workspace_id, body.document(), if_version=if_match
    )
    unfit = await asyncio.to_thread(policies.unfit, policy, workspace_id)
    return _with_etag(response, PolicyAnswer.of(policy, unfit))


@router.post(
    "/policy/pseudonyms",
    status_code=202,
    responses=ACCEPTED | CONFLICT,
    dependencies=[needs("admin", limited="refused")],
)
async def pseudonymize(service: Service, workspace_id: WorkspaceId) -> JSONResponse:
    """Give pseudonyms to the ids that were stored before the policy demanded them.

    The work is done in the background, over scans, uploaded examples and outcomes. Nobody gets the
    old ids back from the service. `left` of the result counts scans that keep theirs, because
    their collection has the same image under the pseudonym: delete one of the two.
    """
    await asyncio.to_thread(service.gallery.require_pseudonyms, workspace_id)
    return accepted(await begin(service, workspace_id, PseudonymizeRequest()))


def _with_etag(response: Response, answer: PolicyAnswer) -> PolicyAnswer:
    response.headers["ETag"] = answer.etag
    return answer


@router.get("/usage", dependencies=[needs("usage.read", limited="shown")])
async def read_usage(request: Request, service: Service, caller: KnownCaller) -> UsageAnswer:
    """Read how much of its limits the own key has used; with the scope admin, the workspace too.

    Rates are counted by each process for itself, and what is stored by all together.
    """
    quotas, policy = service.rules.quotas, request.state.policy
    of_key = await asyncio.to_thread(quotas.of_key, caller, policy)
    key = [UsedLimitAnswer.of_record(row) for row in of_key]
    workspace = None
    # The totals of the workspace tell of more than what a limited key may name.
    if ADMIN in caller.scopes and caller.limits.is_unlimited:
        used = await asyncio.to_thread(quotas.of_workspace, caller.workspace_id, policy)
        workspace = [UsedLimitAnswer.of_record(row) for row in used]
    return UsageAnswer(key_id=caller.author.key_id, key=key, workspace=workspace)
