"""Live frames: pictures in, decisions out, over a WebSocket. Needs the extra ``stream``.

    with FrameStream(url, "lung", key=key) as stream:
        for decision in stream.decisions(frames):
            print(decision["label"], decision["held_s"])

``AsyncFrameStream`` has the same with ``async``. A frame is an image of any kind that ``predict``
takes; a NumPy array is sent as it is, not as a file. The service answers the newest frame. Frames
that it had no time for are dropped and counted in ``dropped``.
"""

import asyncio
import base64
import json
import struct
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
)
from types import TracebackType
from typing import Any, Self, cast

import httpx

from sonoprobe_client.images import FrameArray, Image, image_bytes
from sonoprobe_client.problems import ApiError, SonoprobeError, api_error
from sonoprobe_client.requests import JsonObject

SUBPROTOCOL = "sonoprobe.v1"
BEARER = "sonoprobe.bearer."
FILE, GREY8, RGB24 = 0, 1, 2
_HEADER = struct.Struct(">BBHHHId")
_ENDED_BY_PROBLEM = "problem"


class StreamClosed(SonoprobeError):
    """The service has closed the stream without a problem: it is restarted, or went away.

    Attributes:
        code: of RFC 6455; 1012 = the service restarts, so connect again.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the stream was closed with {code} {reason}".strip())
        self.code = code


def frame_message(frame: Image, sequence: int, time_s: float) -> bytes:
    """The binary message of a frame. Raises ValueError: an array of another type or shape."""
    kind, width, height = FILE, 0, 0
    if not hasattr(frame, "dtype"):
        data = image_bytes(frame)
    else:
        frame = cast(FrameArray, frame)
        shape = frame.shape
        is_colour = len(shape) == 3 and shape[2] == 3
        if str(frame.dtype) != "uint8" or not (len(shape) == 2 or is_colour):
            raise ValueError(f"expected uint8 (H, W) or (H, W, 3), got {frame.dtype} {shape}")
        kind, (height, width), data = RGB24 if is_colour else GREY8, shape[:2], frame.tobytes()
    header = _HEADER.pack(1, kind, width, height, 0, sequence, 1000 * time_s)
    return header + data


def _hello(options: Mapping[str, Any]) -> str:
    return json.dumps({"type": "hello", **options})


def _address(url: str, classifier: str) -> str:
    address = httpx.URL(url.rstrip("/") + f"/v1/classifiers/{classifier}/stream")
    return str(address.copy_with(scheme={"https": "wss", "http": "ws"}[address.scheme]))


def _subprotocols(key: str | None) -> list[Any]:
    """The key among the subprotocols, as browsers send it: it is in no address and no log."""
    secret = base64.urlsafe_b64encode((key or "").encode()).decode().rstrip("=")
    return [SUBPROTOCOL, *([BEARER + secret] if key else [])]


def _refused(error: Any) -> ApiError:
    """The problem document in the place of a WebSocket."""
    response = error.response
    try:
        problem = json.loads(bytes(response.body or b""))
    except ValueError:
        problem = {}
    if not isinstance(problem, dict) or "code" not in problem:  # such as the answer of a proxy
        problem = {"code": "not_a_problem_document"}
    after = response.headers.get("retry-after", "")
    after_s = float(after) if after.isdigit() else None
    return api_error(problem, after_s, status=response.status_code)


class _Conversation:
    """What both kinds of streams know: the numbers and times of frames, and what answers say."""

    def __init__(self) -> None:
        self.ready: JsonObject = {}
        self._sequence = -1
        self._answered = -1
        self._begun_s = time.monotonic()
        self._problem: JsonObject | None = None

    def next_message(self, frame: Image, time_s: float | None) -> bytes:
        """The message of one more frame."""
        self._sequence += 1
        taken_s = time.monotonic() - self._begun_s if time_s is None else time_s
        return frame_message(frame, self._sequence, taken_s)

    def read(self, text: str | bytes) -> JsonObject:
        """A message of the service."""
        message: JsonObject = json.loads(text)
        if message["type"] == "ready":
            self.ready = message
        elif message.get("sequence") is not None:
            self._answered = message["sequence"]
        elif message["type"] == _ENDED_BY_PROBLEM:
            self._problem = message["problem"]
        return message

    @property
    def is_answered(self) -> bool:
        """Whether the last frame that was sent has its answer."""
        return self._answered >= self._sequence

    def ended(self, error: Any) -> Exception:
        """What the end of the connection means."""
        if self._problem is not None:
            return api_error(self._problem)
        close = error.rcvd
        return StreamClosed(1006) if close is None else StreamClosed(close.code, close.reason)


class _Stream:
    """Where a stream goes, and what was said on it."""

    def __init__(
        self, url: str, classifier: str, key: str | None, options: Mapping[str, Any]
    ) -> None:
        self._address = _address(url, classifier)
        self._key = key
        self._options = options
        self._conversation = _Conversation()

    @property
    def ready(self) -> JsonObject:
        """The first answer: version, labels, whether probabilities are calibrated."""
        return self._conversation.ready


class FrameStream(_Stream, AbstractContextManager["FrameStream"]):
    """One stream. Use as a context manager.

    Args:
        url: of the service, such as ``https://sonoprobe.hospital.example``.
        key: an API key or an access token.
        options: ``version``, ``coverage``, ``smoothing``, ``max_fps``, ``fields``, ``region``.
    """

    def __init__(
        self, url: str, classifier: str, *, key: str | None = None, **options: Any
    ) -> None:
        super().__init__(url, classifier, key, options)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Open the stream. Raises ApiError: the service refuses it."""
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect

        offered = _subprotocols(self._key)
        try:
            link = connect(self._address, subprotocols=offered, compression=None)
            self._socket = self._stack.enter_context(link)
        except InvalidStatus as error:
            raise _refused(error) from error
        with self._stack:
            self._socket.send(_hello(self._options))
            self.receive()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def send(self, frame: Image, *, time_s: float | None = None) -> None:
        """Send a frame; ``time_s`` says when it was taken, by any clock that does not go back.

        Raises:
            ApiError, StreamClosed: the stream has ended.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            self._socket.send(self._conversation.next_message(frame, time_s))
        except ConnectionClosed as error:
            self._read_rest()
            raise self._conversation.ended(error) from error

    def reset(self) -> None:
        """Say that what comes now has nothing to do with what came: another patient."""
        self._socket.send('{"type": "reset"}')

    def receive(self, timeout_s: float | None = None) -> JsonObject:
        """The next message: a decision, a problem of one frame, or that another version answers.

        Raises:
            ApiError: the stream has ended, by the problem that the service gave.
            StreamClosed: it has ended without one. TimeoutError: nothing came in this time.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            message = self._conversation.read(self._socket.recv(timeout=timeout_s))
            if message["type"] == _ENDED_BY_PROBLEM and message["sequence"] is None:
                self._socket.recv()  # the end
            return message
        except ConnectionClosed as error:
            raise self._conversation.ended(error) from error

    def decisions(self, frames: Iterable[Image]) -> Iterator[JsonObject]:
        """Send frames as they come, and yield answers as they come, to the last frame's.

        Raises: as ``receive``.
        """
        for frame in frames:
            self.send(frame)
            yield from self._waiting()
        while not self._conversation.is_answered:
            yield self.receive()

    def _waiting(self) -> Iterator[JsonObject]:
        while True:
            try:
                yield self.receive(timeout_s=0)
            except TimeoutError:
                return

    def _read_rest(self) -> None:
        """What the service said before the end."""
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                self._conversation.read(self._socket.recv(timeout=0))
        except (ConnectionClosed, TimeoutError):
            return


class AsyncFrameStream(_Stream, AbstractAsyncContextManager["AsyncFrameStream"]):
    """As ``FrameStream``, with ``async with``, ``await`` and ``async for``."""

    def __init__(
        self, url: str, classifier: str, *, key: str | None = None, **options: Any
    ) -> None:
        super().__init__(url, classifier, key, options)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the stream. Raises ApiError: the service refuses it."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus

        offered = _subprotocols(self._key)
        try:
            link = connect(self._address, subprotocols=offered, compression=None)
            self._socket = await self._stack.enter_async_context(link)
        except InvalidStatus as error:
            raise _refused(error) from error
        async with self._stack:
            await self._socket.send(_hello(self._options))
            await self.receive()
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def send(self, frame: Image, *, time_s: float | None = None) -> None:
        """As ``FrameStream.send``."""
        from websockets.exceptions import ConnectionClosed

        try:
            await self._socket.send(self._conversation.next_message(frame, time_s))
        except ConnectionClosed as error:
            raise self._conversation.ended(error) from error

    async def reset(self) -> None:
        """As ``FrameStream.reset``."""
        await self._socket.send('{"type": "reset"}')

    async def receive(self) -> JsonObject:
        """As ``FrameStream.receive``."""
        from websockets.exceptions import ConnectionClosed

        try:
            message = self._conversation.read(await self._socket.recv())
            if message["type"] == _ENDED_BY_PROBLEM and message["sequence"] is None:
                await self._socket.recv()
            return message
        except ConnectionClosed as error:
            raise self._conversation.ended(error) from error

    async def decisions(self, frames: AsyncIterator[Image]) -> AsyncIterator[JsonObject]:
        """As ``FrameStream.decisions``, of frames that come by themselves, as from a camera."""
        sent = asyncio.create_task(self._send_all(frames))
        received: asyncio.Task[JsonObject] | None = None
        try:
            while not (sent.done() and self._conversation.is_answered):
                received = received or asyncio.create_task(self.receive())
                awaited = {received} if sent.done() else {received, sent}
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if received.done():
                    message, received = received.result(), None
                    yield message
            sent.result()
        finally:
            for task in (sent, received):
                if task is not None:
                    task.cancel()

    async def _send_all(self, frames: AsyncIterator[Image]) -> None:
        async for frame in frames:
            await self.send(frame)
