"""A small HTTP balancer for the demo of replicas, where neither HAProxy nor Caddy is installed.

Requests take turns among the replicas that are ready. A request that did not reach a replica goes
to the next one. One whose replica dies is repeated if that is safe: reads, and what carries an
Idempotency-Key; otherwise the connection to the client is closed. Bodies are held in memory, and
each request opens a connection to its replica: enough for a demo, not for a clinic.
"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

CHECK_EVERY_S = 0.25
CHECK_S = 3.0
MAX_HEAD_BYTES = 65_536
READY = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
NO_REPLICA = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n"
    b"Connection: close\r\n\r\n"
)
# Of one connection, so they do not pass to the next.
_HOP = (b"connection", b"keep-alive", b"x-forwarded-for", b"expect")


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer: its first line, headers in lower case, body."""

    first: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        return next((value for known, value in self.headers if known == name), None)

    @property
    def is_repeatable(self) -> bool:
        """Whether a request changes nothing the second time."""
        is_read = self.first.split(b" ")[0] in (b"GET", b"HEAD")
        return is_read or self.header(b"idempotency-key") is not None

    def encoded(self, **more: bytes) -> bytes:
        """The bytes for the next connection, with further headers."""
        headers = [pair for pair in self.headers if pair[0] not in _HOP]
        headers += [(name.replace("_", "-").encode(), value) for name, value in more.items()]
        lines = [self.first, *(b"%s: %s" % pair for pair in headers), b"", b""]
        return b"\r\n".join(lines) + self.body


class Balancer:
    """Runs in a thread of its own.

    Attributes:
        answered: number of answers by port of the replica.
        repeated: number of requests that another replica got after one had failed.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = tuple(ports)
        self._ready: frozenset[int] = frozenset()
        self._turns = count()
        self.answered: Counter[int] = Counter()
        self.repeated = 0
        self.port = 0

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ready(self) -> int:
        """Number of replicas that are ready."""
        return len(self._ready)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Balance while the block runs."""
        started, loop = threading.Event(), asyncio.new_event_loop()
        stopping = asyncio.Event()
        work = self._serve(started, stopping)
        thread = threading.Thread(target=loop.run_until_complete, args=(work,), daemon=True)
        thread.start()
        started.wait()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join()
            loop.close()

    async def _serve(self, started: threading.Event, stopping: asyncio.Event) -> None:
        checks = [asyncio.create_task(self._watch(port)) for port in self._ports]
        server = await asyncio.start_server(
            self._client, "127.0.0.1", 0, limit=MAX_HEAD_BYTES, backlog=256
        )
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await stopping.wait()
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in [*checks, *others]:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _watch(self, port: int) -> None:
        while True:
            try:
                async with asyncio.timeout(CHECK_S):
                    is_ready = b" 200 " in (await _exchange(port, READY)).first
            except (OSError, EOFError, ValueError):
                is_ready = False
            self._ready = self._ready | {port} if is_ready else self._ready - {port}
            await asyncio.sleep(CHECK_EVERY_S)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader, is_answer=False)) is not None:
                answer = await self._answer(request)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if answer is NO_REPLICA:
                    break
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # the client left, or speaks no HTTP
        finally:
            writer.close()

    async def _answer(self, request: Message) -> bytes | None:
        """The answer of a replica; None: it may have died with the request half done."""
        text = request.encoded(connection=b"close", x_forwarded_for=b"127.0.0.1")
        tried: set[int] = set()
        while candidates := sorted(self._ready - tried):
            port = candidates[next(self._turns) % len(candidates)]
            tried.add(port)
            try:
                answer = await _exchange(port, text, is_head=request.first.startswith(b"HEAD "))
            except ConnectionRefusedError:  # nothing of it was sent
                self.repeated += 1
            except (OSError, EOFError, ValueError):
                if not request.is_repeatable:
                    return None
                self.repeated += 1
            else:
                self.answered[port] += 1
                return answer.encoded(connection=b"keep-alive")
        return NO_REPLICA


async def _exchange(port: int, request: bytes, *, is_head: bool = False) -> Message:
    """Send a request over a connection of its own. Raises OSError, EOFError, ValueError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MAX_HEAD_BYTES)
    try:
        writer.write(request)
        await writer.drain()
        answer = await _read(reader, is_answer=True, is_head=is_head)
    finally:
        writer.close()
    if answer is None:
        raise EOFError("the replica closed the connection")
    return answer


async def _read(
    reader: asyncio.StreamReader, *, is_answer: bool, is_head: bool = False
) -> Message | None:
    """The next message; None at the end of the connection.

    Raises:
        EOFError: it ends within the message.
        ValueError: it is no HTTP, or its body has no length.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head[:-4].split(b"\r\n")
    pairs = [line.split(b":", 1) for line in lines]
    headers = tuple((name.strip().lower(), value.strip()) for name, value in pairs)
    message = Message(first, headers, b"")
    length = message.header(b"content-length")
    if length is None and message.header(b"transfer-encoding") is not None:
        raise ValueError("bodies in chunks are not forwarded")
    has_none = is_head or (length is None and not is_answer)
    if length is None and is_answer and b" 204 " not in first and b" 304 " not in first:
        return Message(first, headers, b"" if has_none else await reader.read())
    body = b"" if has_none else await reader.readexactly(int(length or 0))
    return Message(first, headers, body)
