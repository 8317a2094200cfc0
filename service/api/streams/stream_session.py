"""One open live stream: frames in, decisions out, of the newest frame first.

Three tasks: one receives, one answers, one watches whether the stream may still be open. Between
the first two is a place for one frame. A newer frame takes the place of a waiting one, which is
then dropped and counted, so the memory of a stream is bounded and its answers are of now.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from service.access.keys import Caller
from service.access.policy_store import WorkspacePolicy
from service.access.stream_places import HeldPlace
from service.api.dependencies import Services
from service.api.shapes.stream_shapes import (
    StreamDecision,
    StreamProblem,
    StreamReady,
    message_of,
    parsed_hello,
    parsed_reset,
)
from service.api.streams.frame_messages import FrameMessage, parse_frame
from service.api.streams.stream_door import close_code
from service.api.streams.stream_trail import StreamTrail
from service.api.strict_json import load_json
from service.classifiers.prediction import Acquisition, LoadedClassifier
from service.classifiers.streaming.stream_answers import StreamAnswers
from service.classifiers.streaming.stream_records import EACH_FRAME, STEADY, StreamFrame
from service.embedding.live_frames import LiveFrame, LiveFrames
from service.embedding.pipeline import EmbedOptions
from service.errors import InputError, Overloaded, RateLimited, RequestTimeout, ServiceError

log = logging.getLogger(__name__)
HELLO_S = 10.0  # in which the first message must come
CLOSE_S = 2.0  # for the last message, to a client that may not read
RETRY_S = 0.5  # before the next frame after one for which a queue had no place
MAX_TEXT_BYTES = 16_384
ALL_FIELDS = frozenset({"outputs", "frame", "quality"})


@dataclass
class OpenedStream:
    """Who opened a stream of which classifier; caller and policy are those of the last look."""

    services: Services
    name: str
    caller: Caller
    policy: WorkspacePolicy
    trail: StreamTrail
    place: HeldPlace | None = None


class StreamSession:
    """The life of one accepted WebSocket."""

    def __init__(self, websocket: WebSocket, opened: OpenedStream) -> None:
        self._websocket = websocket
        self.opened = opened
        self._services = opened.services
        self._arrived = asyncio.Event()
        self._waiting: FrameMessage | None = None
        self._last: FrameMessage | None = None
        self.moved_s = time.monotonic()  # when the last frame came
        self._dropped = 0
        self._resets = 0  # that the client asked for
        self._waiting_resets = self._done_resets = 0  # before the waiting frame; carried out

    async def greet(self) -> None:
        """Wait for the hello, open its version, and say what comes.

        Raises:
            RequestTimeout, InputError, UnknownItem, EncoderMismatch, WebSocketDisconnect
        """
        try:
            async with asyncio.timeout(HELLO_S):
                message = await self._websocket.receive()
        except TimeoutError:
            raise RequestTimeout(f"expected hello within {HELLO_S:g} s") from None
        self.hello = parsed_hello(await self._document_of(message))
        self._loaded = await self._open_version()
        options = EmbedOptions().choosing(None, self.hello.region)
        self._live: LiveFrames = self._services.pipeline.live(options)
        await self._begin()

    async def _begin(self) -> None:
        """Say which version answers from now on."""
        settings, hello = self._services.settings, self.hello
        steadiness = STEADY if hello.smoothing else EACH_FRAME
        self._answers = StreamAnswers(
            self._loaded,
            coverage=hello.coverage,
            ultrasound=self._services.pipeline.encoder.ultrasound,
            steadiness=steadiness,
        )
        ready = StreamReady.of_loaded(
            self._loaded,
            hello,
            steadiness,
            max_frame_bytes=settings.max_stream_frame_bytes,
            max_pixels=self._services.pipeline.live_max_pixels,
            idle_s=settings.stream_idle_s,
        )
        await self._websocket.send_text(message_of(ready))

    async def _open_version(self) -> LoadedClassifier:
        services, workspace_id = self._services, self.opened.caller.workspace_id
        name = self.opened.name

        def opened() -> LoadedClassifier:
            _, version = services.registry.find(workspace_id, name, self.hello.version)
            return services.classifiers.open(workspace_id, name, version.number)

        return await asyncio.to_thread(opened)

    async def reopen(self) -> None:
        """Follow the version: another one may be published, or a patient erased from it.

        Raises:
            UnknownItem: the classifier or the version is gone. EncoderMismatch.
        """
        loaded, last = await self._open_version(), self._loaded
        self._loaded = loaded
        if (loaded.classifier.classifier_id, loaded.version.number) == (
            last.classifier.classifier_id,
            last.version.number,
        ):
            self._answers.use(loaded)
        else:
            await self._begin()

    # frames -----------------------------------------------------------------------------------

    async def receive(self) -> None:
        """Take messages until the client leaves.

        Raises:
            InputError: a message breaks the protocol.
            WebSocketDisconnect: the client has left.
        """
        while True:
            message = await self._websocket.receive()
            data = message.get("bytes")
            if data is None:
                parsed_reset(await self._document_of(message))
                self._resets += 1  # a frame of before may be waiting, or a thread at work on one
                continue
            self._put(parse_frame(data, time.monotonic()))
            await asyncio.sleep(0)  # a thousand small frames must not hold the event loop

    async def _document_of(self, message: MutableMapping[str, Any]) -> object:
        """The JSON of a text message. Raises WebSocketDisconnect, InputError."""
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(int(str(message.get("code") or 1005)))
        text = message.get("text")
        if not isinstance(text, str) or len(text) > MAX_TEXT_BYTES:
            raise InputError(f"expected JSON text of at most {MAX_TEXT_BYTES} bytes")
        return await load_json(text)

    def _put(self, frame: FrameMessage) -> None:
        """Let a frame wait in the place of an older one. Raises InputError: out of order."""
        last = self._last
        if last is not None and frame.sequence <= last.sequence:
            raise InputError("expected sequence numbers that rise")
        if last is not None and frame.client_time_ms < last.client_time_ms:
            raise InputError("expected times that do not fall")
        if self._waiting is not None:
            self._dropped += 1
            self.opened.trail.count("dropped")
        self._last = self._waiting = frame
        self._waiting_resets = self._resets
        self.moved_s = frame.received_s
        self._arrived.set()

    async def answer(self) -> None:
        """Answer the newest frame, again and again. Raises ServiceError: the stream must end."""
        pause_s = 1 / self.hello.max_fps
        while True:
            await self._arrived.wait()
            started_s = time.monotonic()
            self._arrived.clear()
            frame, self._waiting = self._waiting, None
            if frame is None:
                continue
            wait_s = await self._answer_one(frame, self._waiting_resets)
            spent_s = time.monotonic() - started_s
            await asyncio.sleep(max(wait_s, pause_s - spent_s, 0))

    async def _answer_one(self, frame: FrameMessage, resets: int) -> float:
        """Send the decision of a frame, or why there is none; return how long to pause.

        Args:
            resets: that the client had asked for when it sent the frame.
        """
        opened = self.opened
        if resets != self._done_resets:
            self._done_resets = resets
            self._answers.reset()
            self._live.reset()
        try:
            with self._services.rules.going_on(opened.caller, opened.policy):
                live = await self._live.embed(frame.picture, frame.client_time_ms / 1000)
            text = await asyncio.to_thread(self._decided, frame, live)
        except (InputError, RateLimited, Overloaded) as error:
            opened.trail.count("failed")
            request_id = opened.trail.request_id
            problem = StreamProblem.of_error(error, request_id, frame.sequence)
            await self._websocket.send_text(message_of(problem))
            if isinstance(error, RateLimited):
                return float(error.retry_after_s)
            return RETRY_S if isinstance(error, Overloaded) else 0.0
        await self._websocket.send_text(text)
        self._services.metrics.stream_answered(time.monotonic() - frame.received_s)
        return 0.0

    def _decided(self, frame: FrameMessage, live: LiveFrame) -> str:
        """On a thread: the message of a decision."""
        acquisition = Acquisition("", live.width_px, live.height_px)
        time_s = frame.client_time_ms / 1000
        answers = self._answers  # a newly published version has others
        loaded = answers.loaded
        answer = answers.answer(StreamFrame(live.embedding_D, live.findings, acquisition, time_s))
        if answer.counted is not None:
            workspace_id = self.opened.caller.workspace_id
            self._services.monitor.record(workspace_id, loaded, [answer.counted])
        self.opened.trail.count("called" if answer.abstained is None else "abstained")
        decision = StreamDecision.of_answer(
            answer,
            sequence=frame.sequence,
            client_time_ms=frame.client_time_ms,
            latency_ms=1000 * (time.monotonic() - frame.received_s),
            dropped=self._dropped,
            quality=sorted(live.findings),
        )
        return message_of(decision, ALL_FIELDS.difference(self.hello.fields))

    async def end(self, error: ServiceError) -> None:
        """Say why the stream ends, and close it."""
        problem = StreamProblem.of_error(error, self.opened.trail.request_id)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._websocket.send_text(message_of(problem))
                await self._websocket.close(close_code(error), error.code)
