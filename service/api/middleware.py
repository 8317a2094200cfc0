"""The middleware: request id, host, size limit, headers, metrics, log and last error handler."""

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from service.api.body_limits import BodyLimits, LargeBody
from service.api.problems import CLIENT_CLOSED, MEDIA_TYPE, STATUS, internal_error, problem
from service.api.security_headers import with_security_headers
from service.api.streams.stream_gate import StreamGate
from service.errors import HostNotAllowed, ServiceError, UploadTooLarge
from service.observability import ServiceMetrics
from service.telemetry.tracing import Span, Tracing

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
log = logging.getLogger(__name__)
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gate:
    """Gives each request an id, refuses bodies above the limit, counts and times answers.

    Plain ASGI: a body is counted while it streams, so that a missing or false Content-Length
    cannot bring more than the limit into memory. HEAD is answered as GET without the body.

    Args:
        allowed_hosts: that the Host header may name; ``*.name`` is every host below a name. Empty:
            any.
    """

    def __init__(
        self,
        app: App,
        *,
        body_limits: BodyLimits,
        metrics: ServiceMetrics,
        tracing: Tracing,
        allowed_hosts: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._body_limits = body_limits
        self._metrics = metrics
        self._tracing = tracing
        self._allowed_hosts = tuple(allowed_hosts)
        self._streams = StreamGate(app, self._require_host, self._count_refused_stream)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] == "websocket":
            await self._streams(scope, receive, send, _new_request_id())
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._tracing.span("request") as span:
            await self._answer_request(scope, receive, send, span)

    async def _answer_request(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        is_head = scope["method"] == "HEAD"
        if is_head:
            scope = {**scope, "method": "GET"}
        request_id = _new_request_id()
        scope["sonoprobe.request_id"] = request_id
        started, status, answered = time.perf_counter(), 500, False

        async def tagged_send(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                answered, status = True, message["status"]
                headers = [
                    (n, _relative(v) if n == b"location" else v) for n, v in message["headers"]
                ]
                headers.append((b"x-request-id", request_id.encode()))
                if scope.get("sonoprobe.is_unread", bool)():
                    headers.append((b"connection", b"close"))  # the rest of the body is not wanted
                message["headers"] = with_security_headers(headers)
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._pass(scope, receive, tagged_send)
        except (UploadTooLarge, HostNotAllowed) as error:
            if answered:
                raise
            await _answer(error, request_id)(scope, receive, tagged_send)
        except ClientDisconnect:
            status = CLIENT_CLOSED
        except Exception as error:  # the outermost handler: a bug must not cost the connection
            log.error("bug", exc_info=error, extra={"request_id": request_id})
            if answered:
                raise
            body = JSONResponse(internal_error(request_id), 500, media_type=MEDIA_TYPE)
            await body(scope, receive, tagged_send)
        finally:
            self._report(scope, status, time.perf_counter() - started, span)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._require_host(scope)
        headers = dict(scope["headers"])
        limit = self._body_limits.largest(headers.get(b"content-type", b""))
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            raise UploadTooLarge(f"expected a body of at most {limit} bytes, got {int(declared)}")
        received = 0
        with LargeBody(self._body_limits) as large_body:

            async def counted_receive() -> Message:
                nonlocal received
                message = await receive()
                received += len(message.get("body", b""))
                if received > limit:
                    raise UploadTooLarge(f"expected a body of at most {limit} bytes, got more")
                large_body.received(received)
                return message

            await self._app(scope, counted_receive, send)

    def _require_host(self, scope: Scope) -> None:
        if not self._allowed_hosts:
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        name = urlsplit(f"//{host}").hostname or ""
        if not any(_matches(name, allowed) for allowed in self._allowed_hosts):
            raise HostNotAllowed("expected a Host that SONOPROBE_ALLOWED_HOSTS names, got another")

    def _count_refused_stream(self, status: int) -> None:
        self._metrics.requests.labels("GET", "websocket", str(status)).inc()

    def _report(self, scope: Scope, status: int, elapsed_s: float, span: Span) -> None:
        """Count the answer, and log it by its route: an address may name a patient."""
        route = getattr(scope.get("route"), "path", "unmatched")
        span.rename(route)
        span.set("http.request.method", scope["method"])
        span.set("http.route", route)
        span.set("http.response.status_code", status)
        span.set("sonoprobe.request_id", scope["sonoprobe.request_id"])
        self._metrics.requests.labels(scope["method"], route, str(status)).inc()
        self._metrics.request_s.labels(scope["method"], route).observe(elapsed_s)
        log.log(
            logging.INFO if route.startswith("/v1/") else logging.DEBUG,  # probes are frequent
            "answered",
            extra={
                "method": scope["method"],
                "route": route,
                "status": status,
                "elapsed_ms": round(1000 * elapsed_s, 1),
                "request_id": scope["sonoprobe.request_id"],
            },
        )


def _new_request_id() -> str:
    return f"req_{secrets.token_hex(8)}"


def _answer(error: ServiceError, request_id: str) -> JSONResponse:
    return JSONResponse(problem(error, request_id), STATUS[type(error)], media_type=MEDIA_TYPE)


def _matches(name: str, allowed: str) -> bool:
    return name == allowed or (allowed.startswith("*.") and name.endswith(allowed[1:]))


def _relative(location: bytes) -> bytes:
    """A Location without scheme and host: a redirect of the router takes them from the request."""
    parts = urlsplit(location.decode("latin-1"))
    path = "/" + parts.path.lstrip("/")  # two slashes would name a host again
    return (f"{path}?{parts.query}" if parts.query else path).encode("latin-1")
