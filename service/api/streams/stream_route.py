"""``WS /v1/classifiers/{name}/stream``: the checks before a stream opens, and while it is open.

The same as of ``StrictRoute``: host, caller, scopes, limits to names, rates, audit. What refuses a
stream before it opens is an answer of HTTP; later it is a message and a close code.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from fastapi.params import Depends as Dependency
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from service.access.name_limits import limited_to
from service.api.dependencies import Services, services_of
from service.api.permissions import declared, limited_of, needs, require_path
from service.api.problems import request_id_of
from service.api.routing import identified, refuse_unknown
from service.api.streams.stream_door import (
    SUBPROTOCOL,
    refusal,
    require_origin,
    subprotocols_of,
    token_of,
)
from service.api.streams.stream_session import OpenedStream, StreamSession
from service.api.streams.stream_trail import ACTION, StreamTrail
from service.errors import (
    AuditFailure,
    InputError,
    RequestTimeout,
    ServiceError,
    Stopping,
    Unauthenticated,
)
from service.fairness.workspace_turn import working_for

log = logging.getLogger(__name__)
PATH = "/v1/classifiers/{name}/stream"
CHECK_S = 1.0  # between two looks whether key, workspace, version and service still allow it


class StreamRoute(WebSocketRoute):
    """The route of a live stream; it says what it needs as every route does."""

    def __init__(self, path: str, *, dependencies: Sequence[Dependency]) -> None:
        self.scopes = declared(dependencies) or ()
        if not self.scopes:
            raise TypeError("a stream says by `needs` who may open it")
        self.limited = limited_of(path, dependencies)
        super().__init__(path, self.converse, name=ACTION)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket, from its request to its end."""
        websocket = WebSocket(scope, receive, send)
        await self.converse(websocket)

    async def converse(self, websocket: WebSocket) -> None:
        """Open a stream or refuse it, and hold it until it ends."""
        services = services_of(websocket)
        name = str(websocket.path_params["name"])
        trail = StreamTrail(services.audit, services.metrics, request_id_of(websocket), name)
        try:
            token = token_of(websocket)
            opened = await self._admitted(websocket, services, trail, token)
            async with services.streams.place(opened.caller) as opened.place:
                await self._require_classifier(opened)
                await trail.opened()
                is_offered = SUBPROTOCOL in subprotocols_of(websocket)
                await websocket.accept(SUBPROTOCOL if is_offered else None)
                await self._hold(websocket, opened, token)
        except ServiceError as error:
            await self._refuse(websocket, services, trail, error)

    async def _admitted(
        self, websocket: WebSocket, services: Services, trail: StreamTrail, token: str | None
    ) -> OpenedStream:
        """Every check of the caller. Raises ServiceError."""
        if services.stopping:
            raise Stopping("the service is shutting down")
        require_origin(websocket, services.settings.origins())
        address = websocket.client.host if websocket.client else ""
        caller, policy = await identified(services, token, address)
        trail.caller = caller
        services.rules.holding(caller, policy)  # counted before its scopes, as every request
        caller.require(*self.scopes)
        require_path(caller.limits, self.limited, self.path, websocket.path_params)
        refuse_unknown("query parameters", websocket.query_params.keys(), frozenset())
        offered = subprotocols_of(websocket)
        if offered and SUBPROTOCOL not in offered:
            raise InputError(f"expected {SUBPROTOCOL} among the subprotocols")
        return OpenedStream(services, trail.name, caller, policy, trail)

    async def _require_classifier(self, opened: OpenedStream) -> None:
        """Raises UnknownItem, EncoderMismatch."""
        classifiers = opened.services.classifiers
        await asyncio.to_thread(classifiers.find, opened.caller.workspace_id, opened.name)

    async def _refuse(
        self, websocket: WebSocket, services: Services, trail: StreamTrail, error: ServiceError
    ) -> None:
        try:
            if not isinstance(error, AuditFailure):
                await trail.refused(error)
        except AuditFailure as failure:
            error = failure
        answer = refusal(error, trail.request_id, services.settings.retry_after_s)
        await websocket.send_denial_response(answer)

    async def _hold(self, websocket: WebSocket, opened: OpenedStream, token: str | None) -> None:
        """Work until the stream ends; whatever ends it is said to the client."""
        session, began_s = StreamSession(websocket, opened), time.monotonic()
        ended_by: ServiceError | None = None
        caller = opened.caller
        try:
            with working_for(caller.workspace_id), limited_to(caller.limits):
                await session.greet()
                await first_to_end(
                    session.receive(), session.answer(), self._watch(websocket, session, token)
                )
        except WebSocketDisconnect:
            pass
        except ServiceError as error:
            ended_by = error
        try:
            await opened.trail.sum_up(ended_by)
        except AuditFailure as failure:
            ended_by = failure
        if ended_by is not None:
            await session.end(ended_by)
        fields = {"elapsed_s": round(time.monotonic() - began_s, 1)}
        code = {} if ended_by is None else {"code": ended_by.code}
        extra = {**fields, **code, "request_id": opened.trail.request_id}
        log.info("stream ended", extra=extra)

    async def _watch(self, websocket: WebSocket, session: StreamSession, token: str | None) -> None:
        """Look regularly whether the stream may stay open. Raises ServiceError: it may not."""
        opened = session.opened
        services, idle_s = opened.services, opened.services.settings.stream_idle_s
        address = websocket.client.host if websocket.client else ""
        while True:
            await asyncio.sleep(CHECK_S)
            if services.stopping:
                raise Stopping("the service is shutting down")
            if time.monotonic() - session.moved_s > idle_s:
                raise RequestTimeout(f"expected a frame within {idle_s:g} s")
            caller, policy = await identified(services, token, address)
            if caller.workspace_id != opened.caller.workspace_id:
                raise Unauthenticated("the key belongs to another workspace now")
            caller.require(*self.scopes)
            require_path(caller.limits, self.limited, self.path, websocket.path_params)
            opened.caller, opened.policy = caller, policy
            if opened.place is not None:
                await services.streams.keep(opened.place)
            await session.reopen()
            if opened.trail.is_due:
                await opened.trail.sum_up()


async def first_to_end(*works: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until the first one ends, and cancel the others. Raises as it."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def stream_routes() -> tuple[StreamRoute, ...]:
    """All routes of WebSockets."""
    return (StreamRoute(PATH, dependencies=[needs("predict")]),)
