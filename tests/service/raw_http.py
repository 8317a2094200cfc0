"""HTTP as bytes over a socket, for requests that no client library would send."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from service.server import LocalService

WAIT_S = 20.0  # before a test gives up


@contextmanager
def connection(local: LocalService, *, address: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A connection from one of this machine's own addresses."""
    with connected(local, address=address) as link:
        yield link


def connected(local: LocalService, *, address: str = "127.0.0.1") -> socket.socket:
    """The same, for the caller to close."""
    target = urlsplit(local.url)
    assert target.hostname is not None
    return socket.create_connection(
        (target.hostname, target.port), timeout=WAIT_S, source_address=(address, 0)
    )


def head(method: str, path: str, *lines: str) -> bytes:
    """The start of a request with a Host."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode("latin-1")


def answer(link: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer. Raises EOFError: the connection ended."""
    received = b""
    while b"\r\n\r\n" not in received:
        seen = link.recv(65_536, socket.MSG_PEEK)  # the next answer stays in the socket
        if not seen:
            raise EOFError(received)
        end = (received + seen).find(b"\r\n\r\n")
        received += link.recv(len(seen) if end < 0 else end + 4 - len(received))
    first, *lines = received.decode("latin-1").strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    body, length = b"", int(headers.get("content-length", "0"))
    while len(body) < length:
        part = link.recv(length - len(body))
        if not part:
            raise EOFError(body)
        body += part
    return int(first.split()[1]), headers, body


def ask(local: LocalService, request: bytes, *, address: str = "127.0.0.1"):
    """The first answer to a request in a connection of its own."""
    with connection(local, address=address) as link:
        link.sendall(request)
        return answer(link)


def rest(link: socket.socket) -> bytes:
    """What comes until the service closes the connection."""
    received = b""
    try:
        while part := link.recv(65_536):
            received += part
    except ConnectionError:
        pass
    return received


def wait_until_reset(link: socket.socket) -> None:
    """Wait, without reading, until the service gives the connection up."""
    poll = select.poll()
    poll.register(link, select.POLLHUP | select.POLLERR)
    assert poll.poll(1000 * WAIT_S), "the service keeps the connection"
