"""What the outermost middleware does for WebSockets: ids, headers of refusals, the last catch."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.responses import JSONResponse

from service.api.problems import MEDIA_TYPE, internal_error, problem_document
from service.api.security_headers import with_security_headers
from service.api.streams.stream_door import INTERNAL, refusal
from service.errors import HostNotAllowed

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
RETRY_AFTER_S = 1
log = logging.getLogger(__name__)


class StreamGate:
    """Passes WebSockets on to ``app``.

    Args:
        require_host: raises HostNotAllowed for the scope of a request.
        refused: called with the status of each answer that is no WebSocket.
    """

    def __init__(
        self, app: App, require_host: Callable[[Scope], None], refused: Callable[[int], None]
    ) -> None:
        self._app = app
        self._require_host = require_host
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """One WebSocket."""
        scope["sonoprobe.request_id"] = request_id
        is_open = is_over = False

        async def tagged_send(message: Message) -> None:
            nonlocal is_open, is_over
            kind = message["type"]
            if kind == "websocket.close" and not is_open:
                # The router knows no such route, and says it as WebSockets do.
                document = problem_document("not_found", 404, "Not Found", request_id)
                await JSONResponse(document, 404, media_type=MEDIA_TYPE)(
                    {**scope, "type": "http"}, receive, denied
                )
                return
            is_open = is_open or kind == "websocket.accept"
            is_over = is_over or kind == "websocket.close"
            if kind == "websocket.http.response.start":
                is_over = True
                self._refused(message["status"])
                headers = [*message["headers"], (b"x-request-id", request_id.encode())]
                message = {**message, "headers": with_security_headers(headers)}
            await send(message)

        async def denied(message: Message) -> None:
            await tagged_send({**message, "type": f"websocket.{message['type']}"})

        try:
            self._require_host(scope)
            await self._app(scope, receive, tagged_send)
        except HostNotAllowed as error:
            answer = refusal(error, request_id, RETRY_AFTER_S)
            await answer({**scope, "type": "http"}, receive, denied)
        except Exception as error:  # the outermost handler: a bug must not look like a network
            log.error("bug", exc_info=error, extra={"request_id": request_id})
            if is_over:
                return
            if is_open:
                with contextlib.suppress(Exception):
                    await send({"type": "websocket.close", "code": INTERNAL, "reason": "bug"})
                return
            body = JSONResponse(internal_error(request_id), 500, media_type=MEDIA_TYPE)
            await body({**scope, "type": "http"}, receive, denied)
