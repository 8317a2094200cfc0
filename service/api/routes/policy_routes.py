"""The policy of the workspace, and how much of its limits is used."""

import asyncio

from fastapi import APIRouter, Request

from service.access.scopes import ADMIN
from service.api.dependencies import KnownCaller, Service
from service.api.permissions import needs
from service.api.routing import StrictRoute
from service.api.shapes.policy_shapes import UsageAnswer, UsedLimitAnswer

router = APIRouter(route_class=StrictRoute, prefix="/v1", tags=["policy"])


@router.get("/usage", dependencies=[needs("usage.read")])
async def read_usage(request: Request, service: Service, caller: KnownCaller) -> UsageAnswer:
    """Read how much of its limits the own key has used; with the scope admin, the workspace too.

    Rates are counted by each process for itself, and what is stored by all together.
    """
    quotas, policy = service.rules.quotas, request.state.policy
    key = [UsedLimitAnswer.of_record(row) for row in quotas.of_key(caller, policy)]
    workspace = None
    if ADMIN in caller.scopes:
        used = await asyncio.to_thread(quotas.of_workspace, caller.workspace_id, policy)
        workspace = [UsedLimitAnswer.of_record(row) for row in used]
    return UsageAnswer(key_id=caller.author.key_id, key=key, workspace=workspace)
