"""A transport whose ``close`` lets a client that still sends read its answer."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds


class LingeringTransport(asyncio.Transport):
    """A TCP transport that closes in two steps while its client still sends (RFC 9112, 9.6).

    Closing a socket with unread bytes resets the connection, and the client may lose the answer
    that tells it why. So only the sending half is closed; the protocol discards what still comes
    and aborts after a while. A client that closes its half ends the wait.

    Args:
        still_sends: whether bytes of a request are outstanding.
    """

    def __init__(self, inner: asyncio.Transport, *, still_sends: Callable[[], bool]) -> None:
        super().__init__()
        self._inner = inner
        self.still_sends = still_sends
        self._is_closing = False
        self.written_bytes = 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Who gets what the client sends from now on."""
        self._inner.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who gets what the client sends."""
        return self._inner.get_protocol()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or keep until the client reads."""
        if not self._inner.is_closing():  # a later answer may be written after the end
            self.written_bytes += len(data)
            self._inner.write(data)

    def close(self) -> None:
        """Close after what was written is sent."""
        if self._inner.is_closing() or self._is_closing:
            return
        self._is_closing = True
        if self.still_sends() and self._inner.can_write_eof():
            self._inner.write_eof()
            self._inner.resume_reading()
        else:
            self._inner.close()

    def abort(self) -> None:
        """Close without sending what is left here; what the system has is still sent."""
        self._is_closing = True
        self._inner.abort()

    def reset(self) -> None:
        """Close without sending what is left, the system's own buffer included."""
        link = self._inner.get_extra_info("socket")
        if link is not None and not self._inner.is_closing():
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.abort()

    def is_closing(self) -> bool:
        """Whether ``close`` was called."""
        return self._is_closing or self._inner.is_closing()

    def pause_reading(self) -> None:
        """Let the client wait."""
        if not self._inner.is_closing():
            self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._inner.is_closing():
            self._inner.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._inner.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the socket."""
        return self._inner.get_extra_info(name, default)
