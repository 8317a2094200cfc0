"""uvicorn's HTTP protocol with limits: nobody holds a connection by sending or reading slowly.

uvicorn itself limits neither the size of headers nor the time in which headers, a body or the
reading of an answer must be done; its ``limit_concurrency`` refuses newcomers, not those that hold
the places.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.connections.connection_table import (
    ConnectionLimits,
    ConnectionTable,
    TrackedConnection,
)
from service.connections.lingering_transport import LingeringTransport
from service.connections.slow_reading import SlowReading
from service.errors import (
    HeadersTooLarge,
    MalformedRequest,
    Overloaded,
    RequestTimeout,
    ServiceError,
)

# Two of these would be two requests in one, and a proxy in front may have read the other.
SINGLE_HEADERS = frozenset(
    {b"host", b"authorization", b"content-type", b"content-encoding", b"if-match"}
    | {b"idempotency-key", b"transfer-encoding", b"content-length", b"prefer", b"origin"}
    | {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol"}
)
MAX_WEBSOCKET_LINE_BYTES = 8_000  # the library takes 8,192
MAX_PIPELINED = 16  # requests that wait for the answer of an earlier one
FRAMING_PER_BODY_BYTE = 16  # a chunk of one byte has six bytes of framing
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=%\-]*(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?")
_WEBSOCKET_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
Reading: TypeAlias = Literal["nothing", "head", "body"]


@dataclass(frozen=True, slots=True)
class Guard:
    """What all connections of one server share.

    Attributes:
        answer: the whole HTTP answer for an error that is found before there is a request.
    """

    table: ConnectionTable
    limits: ConnectionLimits
    answer: Callable[[ServiceError], bytes]


class GuardedProtocol(HttpToolsProtocol):
    """One connection. What it reads now is the head or the body of a request, or nothing."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        guard: Guard,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guard = guard
        self._limits = guard.limits
        self.address: str | None = None
        self._reading: Reading = "head"
        self._began_s = self._moved_s = self.loop.time()  # of what is read now
        self._read_bytes = 0  # of what is read now, as sent
        self._body_bytes = 0
        self._fault: ServiceError | None = None
        self._is_deaf = False  # after a fault: no byte is parsed any more
        self._slow_reading = SlowReading(guard.limits)
        self._closing_s: float | None = None

    # Protocol interface -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refused with 503 if there is no room."""
        link = LingeringTransport(transport, still_sends=lambda: self._reading != "nothing")
        super().connection_made(link)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else None
        if not self._guard.table.admit(self):
            error = Overloaded("all connections are in use; try again later")
            link.write(self._guard.answer(error))
            self._is_deaf = True
            self._reading = "nothing"  # nobody would end the wait for what it still sends
            link.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever caused it."""
        self._guard.table.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what a client sent, unless its connection is given up."""
        if self._is_deaf or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        now_s = self.loop.time()
        if self._reading == "nothing":
            self._start_reading("head", now_s)
        self._moved_s = now_s
        self._read_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._leave_http(is_alone=upgrade.args[0] == len(data))
        except httptools.HttpParserError:
            self._refuse(self._fault or MalformedRequest("expected a valid HTTP/1.1 request"))
        else:
            self._refuse_if_too_long()

    def _leave_http(self, *, is_alone: bool) -> None:
        """Become a WebSocket; what follows in another protocol is not read."""
        if not self._should_upgrade():
            self.cycle.keep_alive = False
            self._is_deaf = True
        elif not is_alone:  # a proxy may have read a second request there
            error = MalformedRequest("expected nothing before the WebSocket is accepted")
            self._is_deaf = True
            self.transport.write(self._guard.answer(error))
            self.transport.close()
        else:
            self.handle_websocket_upgrade()

    def handle_websocket_upgrade(self) -> None:
        """As uvicorn does it, with a place in the table for the WebSocket."""
        super().handle_websocket_upgrade()
        successor = self.transport.get_protocol()
        self._guard.table.take_over(self, cast(TrackedConnection, successor))

    def _refuse_if_too_long(self) -> None:
        most = self._limits.max_head_bytes
        if self._reading == "head" and self._read_bytes > most:
            self._refuse(HeadersTooLarge(f"expected headers of at most {most} bytes, got more"))
        framing = self._read_bytes - self._body_bytes
        if self._reading == "body" and framing > most + FRAMING_PER_BODY_BYTE * self._body_bytes:
            self._refuse(MalformedRequest("expected chunks of a body, got more frames than body"))

    # Parser callbacks -------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request; several may come at once."""
        super().on_message_begin()
        if self._reading != "head":
            self._start_reading("head", self.loop.time())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers are dropped: they come after the checks of the headers."""
        if self._reading == "head":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, or raise its fault."""
        self._fault = self._fault_of_head()
        if self._fault is not None:
            raise self._fault
        super().on_headers_complete()
        if self._is_websocket():
            return  # no request of HTTP begins
        cycle = self.cycle
        # The API closes a connection whose body it leaves unread.
        extended: dict[str, Any] = cast("dict[str, Any]", self.scope)
        extended["sonoprobe.is_unread"] = lambda: cycle.more_body
        self._start_reading("body", self.loop.time())

    def on_body(self, body: bytes) -> None:
        """A part of the body, without its framing."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request, not of its answer."""
        super().on_message_complete()
        self._start_reading("nothing", self.loop.time())

    def on_response_complete(self) -> None:
        """The next request has its whole time, however long this answer took."""
        super().on_response_complete()
        if self._reading != "body":
            self._began_s = self.loop.time()

    def _start_reading(self, what: Reading, now_s: float) -> None:
        self._reading = what
        self._began_s = self._moved_s = now_s
        self._read_bytes = self._body_bytes = 0

    def _fault_of_head(self) -> ServiceError | None:
        """What is wrong with the headers, beyond what the parser refuses (RFC 9112, 3.2 and 6)."""
        names = [name for name, _ in self.headers]
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.max_head_bytes:
            most = self._limits.max_head_bytes
            return HeadersTooLarge(f"expected headers of at most {most} bytes, got {size}")
        if len(names) > self._limits.max_headers:
            most = self._limits.max_headers
            return HeadersTooLarge(f"expected at most {most} headers, got {len(names)}")
        values = dict(self.headers)
        twice = sorted(name.decode() for name in SINGLE_HEADERS if names.count(name) > 1)
        if twice:
            return MalformedRequest(f"expected {twice[0]} once")
        version = self.parser.get_http_version()
        if (version == "1.1" and b"host" not in values) or not _HOST.fullmatch(
            values.get(b"host", b"")
        ):
            return MalformedRequest("expected one valid Host header")
        coding = values.get(b"transfer-encoding")
        if coding is not None and (version != "1.1" or coding.strip().lower() != b"chunked"):
            return MalformedRequest("expected no Transfer-Encoding but chunked, in HTTP/1.1")
        length = values.get(b"content-length", b"0")
        if self.parser.should_upgrade() and (coding is not None or length != b"0"):
            return MalformedRequest("expected no body in a request for another protocol")
        if self._is_websocket():
            return self._fault_of_websocket(values)
        if len(self.pipeline) >= MAX_PIPELINED:
            return MalformedRequest(f"expected at most {MAX_PIPELINED} requests without answer")
        return None

    def _is_websocket(self) -> bool:
        return bool(self.parser.should_upgrade()) and self._should_upgrade()

    def _fault_of_websocket(self, values: Mapping[bytes, bytes]) -> ServiceError | None:
        """What is wrong with a request for a WebSocket (RFC 6455, 4.2.1)."""
        if self.is_answering or self.pipeline:
            return MalformedRequest("expected no earlier request without an answer")
        is_http = self.parser.get_method() == b"GET" and self.parser.get_http_version() == "1.1"
        is_key = _WEBSOCKET_KEY.fullmatch(values.get(b"sec-websocket-key", b"")) is not None
        if not (is_http and is_key and values.get(b"sec-websocket-version") == b"13"):
            return MalformedRequest("expected GET of HTTP/1.1 with a key of WebSocket version 13")
        lines = [len(self.url) + 16, *(len(name) + len(value) + 4 for name, value in self.headers)]
        if max(lines) > MAX_WEBSOCKET_LINE_BYTES:
            most = MAX_WEBSOCKET_LINE_BYTES
            return HeadersTooLarge(f"expected lines of at most {most} bytes for a WebSocket")
        return None

    # limits -----------------------------------------------------------------------------------

    @property
    def is_answering(self) -> bool:
        """Whether a request waits for its answer, or for its own rest."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_spare(self) -> bool:
        """See ``TrackedConnection``."""
        return self.transport.is_closing() or not self.is_answering

    def check(self, now_s: float) -> None:
        """See ``TrackedConnection``."""
        limits = self._limits
        link = self.transport
        if isinstance(link, LingeringTransport) and self._slow_reading.is_too_slow(link, now_s):
            self._is_deaf = True
            link.reset()
        elif self.transport.is_closing():
            self._closing_s = self._closing_s or now_s
            if now_s - self._closing_s > limits.body_timeout_s:
                link.abort()
        elif self._reading == "body":
            self._check_body(now_s)
        elif not self.is_answering and self._reading == "head":
            if now_s - self._began_s > limits.head_timeout_s:
                what = f"expected the headers within {limits.head_timeout_s:g} s"
                self._refuse(RequestTimeout(what))
        elif not self.is_answering and now_s - self._began_s > limits.keep_alive_s:
            self.transport.close()

    def _check_body(self, now_s: float) -> None:
        if self.flow.read_paused:  # the service does not read, so the client cannot send
            self._began_s += now_s - self._moved_s
            self._moved_s = now_s
        limits = self._limits
        end_s = self._began_s + limits.body_timeout_s + self._body_bytes / limits.min_rate_bytes_s
        if now_s > min(end_s, self._moved_s + limits.body_timeout_s):
            self._refuse(RequestTimeout("expected the body in time, got it too slowly"))

    def _refuse(self, error: ServiceError) -> None:
        """Answer an error where the order of the answers allows it, and close the connection."""
        cycle, link = self.cycle, self.transport
        self._is_deaf = True
        if not self.is_answering:
            if self._read_bytes:
                link.write(self._guard.answer(error))
            else:  # a connection without any byte is closed in silence
                self._reading = "nothing"
        elif self._reading != "body":  # in the next request: the earlier ones get their answers
            cycle.keep_alive = False
            self.flow.resume_reading()
            return
        elif cycle.response_started or self.pipeline:
            link.abort()
            return
        else:
            link.write(self._guard.answer(error))
            cycle.disconnected = True
            cycle.message_event.set()
        link.close()

    def drop(self) -> None:
        """See ``TrackedConnection``. An answer that the system has is still sent."""
        self._is_deaf = True
        self._reading = "nothing"
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Asked by the server at its end: clients without a request are not waited for."""
        if self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self.is_spare:
            self._reading = "nothing"
            self.transport.close()
        else:
            super().shutdown()
