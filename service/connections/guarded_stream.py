"""uvicorn's WebSocket protocol with limits: nobody holds a stream by sending or reading oddly.

uvicorn limits the size of a message and pauses reading while one waits for the application. It
neither limits the number of fragments of a message nor the answers to pings that nobody reads, and
it logs addresses and, when debugging, headers.
"""

import asyncio
import logging
from asyncio import BaseTransport
from typing import Any, cast

from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

from service.connections.connection_table import ConnectionLimits, ConnectionTable
from service.connections.lingering_transport import LingeringTransport
from service.connections.slow_reading import SlowReading

CLOSING_S = 2.0  # for the client to take the close frame and to close in turn
MAX_FRAGMENTS = 64  # of one message; browsers send one
MAX_UNREAD_PONGS_BYTES = 65_536
TOO_BIG, TRY_AGAIN = 1009, 1013  # RFC 6455, 7.4.1 and its registry
quiet = logging.getLogger("sonoprobe.websocket")  # an address may name a patient


class GuardedStream(WebSocketsSansIOProtocol):
    """One WebSocket, from the request for it to the end of its connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        table: ConnectionTable,
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        quiet.setLevel(logging.WARNING)
        self.logger = quiet
        self.conn.logger = quiet
        self.conn.debug = False  # it would log headers, and a key is in one of them
        self._table = table
        self._reading = SlowReading(limits)
        self._closing_s: float | None = None
        self.address: str | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Called with the transport of the HTTP connection that this one was."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else None
        # A client that sends frames after the end must still be able to read why.
        cast(LingeringTransport, transport).still_sends = lambda: True

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever caused it."""
        self._table.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what a client sent, unless its stream has ended."""
        if not self.transport.is_closing():
            super().data_received(data)

    async def send(self, message: ASGISendEvent) -> None:
        """As uvicorn does it; an answer of HTTP completes the handshake too."""
        await super().send(message)
        is_answer = message["type"] == "websocket.http.response.body"
        if is_answer and not message.get("more_body", False):
            self.handshake_complete = True  # otherwise uvicorn logs an error

    def handle_cont(self, event: Frame) -> None:
        """A further fragment of a message. Empty ones have no size that could be limited."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self.end(TOO_BIG, "too many fragments")
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer a ping, unless the client leaves the answers unread."""
        if self.transport.get_write_buffer_size() > MAX_UNREAD_PONGS_BYTES:
            self.reset()
            return
        super().handle_ping()

    def end(self, code: int, reason: str) -> None:
        """Close with a code, whatever the application does."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()

    def reset(self) -> None:
        """End the connection at once, and with it what waits to be read."""
        cast(LingeringTransport, self.transport).reset()

    # limits -----------------------------------------------------------------------------------

    @property
    def is_spare(self) -> bool:
        """See ``TrackedConnection``: a stream in use makes no room for others."""
        return self.transport.is_closing()

    def check(self, now_s: float) -> None:
        """See ``TrackedConnection``."""
        link = cast(LingeringTransport, self.transport)
        if self._reading.is_too_slow(link, now_s):
            self.reset()
        elif link.is_closing():
            self._closing_s = self._closing_s or now_s
            if now_s - self._closing_s > CLOSING_S:
                link.abort()

    def drop(self) -> None:
        """See ``TrackedConnection``."""
        self.transport.abort()
