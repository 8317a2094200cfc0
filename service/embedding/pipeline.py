"""The pipeline: uploaded files in, embeddings out, around one encoder.

The event loop only passes work on: ordinary stills are decoded on threads, other files in decoder
processes, and the encoder has threads of its own. Workspaces take turns in each queue.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.arrays import Floats
from service.embedding.batcher import MicroBatcher, Passes
from service.embedding.embedded_image import EmbeddedImage as EmbeddedImage
from service.embedding.embedded_image import EmbedOptions as EmbedOptions
from service.embedding.embedded_image import MappedImage as MappedImage
from service.embedding.encoder import Encoder
from service.embedding.file_embedder import WINDOW, FileDefaults, FileEmbedder, Timed
from service.embedding.live_frames import LiveFrames, LiveParts
from service.embedding.onnx_session import open_text_finder
from service.embedding.ultrasound_gate import UltrasoundTest as UltrasoundTest
from service.errors import EncoderFailure, ServiceError, Stopping, UploadTooLarge
from service.fairness.fair_queue import QueueState, Quota, reserve_of
from service.fairness.fair_threads import SPARE, FairThreads
from service.fairness.workspace_turn import SERVICE, current_workspace, working_for
from service.imaging.analysis.frame_analysis import parse_region_mode, use_one_thread
from service.imaging.analysis.preprocess import preprocess
from service.imaging.analysis.views import VIEWS
from service.imaging.formats.file_type import Family, family_of
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.sampling import parse_sampling
from service.imaging.formats.still_cost import MAX_PIXELS
from service.imaging.sandbox.decoder_pool import DecoderPool

DEFAULT_OPTIONS = EmbedOptions()
FRESH_S = 5.0  # an encoder that succeeded in this time is not asked again
STALL_S = 5.0  # a forward pass takes a fraction of a second


@dataclass(frozen=True, slots=True)
class PipelineLimits:
    """See the settings of the same names."""

    max_image_bytes: int
    max_clip_bytes: int
    max_batch: int
    batch_wait_s: float
    max_queue: int
    decode_threads: int
    decode_processes: int
    clip_frames: str
    region: str
    thumbnail_side_px: int
    decoding: DecodeLimits


class WorkMeter(Protocol):
    """Counts the work for the caller of the current context, and may refuse it."""

    def admit_files(self, files: int) -> None:
        """Called before the files of a request are looked at; its exceptions refuse them."""

    def embedded(self, more_frames: int) -> None:
        """Called with the frames of a file beyond the first; each view counts as one."""

    def decoded(self, elapsed_s: float) -> None:
        """Called with the time for which a file held a decoder, also one that failed."""


class Pipeline:
    """Embeds files with one encoder. Use as an async context manager.

    Args:
        on_batch, on_pass: called with the frames and with the seconds of each forward pass.
        timed: a context manager around the decoding of a file, which is given "decode".
        meter: of the work for callers; None = nobody counts it.
        fresh_s: an encoder that succeeded in this time is ready.
        stall_s: an encoder that has work and ends no pass in this time is not.
    """

    def __init__(
        self,
        encoder: Encoder,
        limits: PipelineLimits,
        *,
        on_batch: Callable[[int], None] = lambda size: None,
        on_pass: Callable[[float], None] = lambda elapsed_s: None,
        timed: Timed = lambda stage: nullcontext(),
        meter: WorkMeter | None = None,
        fresh_s: float = FRESH_S,
        stall_s: float = STALL_S,
    ) -> None:
        self.encoder = encoder
        self._fresh_s = fresh_s
        self._stall_s = stall_s
        self._limits = limits
        self._meter = meter
        use_one_thread()
        processes = limits.decode_processes + SPARE
        self._batcher = MicroBatcher(
            _passes_of(encoder),
            max_batch=limits.max_batch,
            max_wait_s=limits.batch_wait_s,
            max_queue=limits.max_queue + reserve_of(limits.max_queue) + processes * WINDOW,
            on_batch=on_batch,
            on_pass=on_pass,
            lanes=[_passes_of(lane) for lane in encoder.lanes],
        )
        self._decoders = DecoderPool(processes, limits.decoding)
        finder = open_text_finder()
        timed = timed if meter is None else _metered(timed, meter)
        self._files = FileEmbedder(
            self._decoders,
            self._batcher,
            encoder.spec,
            finder,
            FileDefaults(
                parse_sampling(limits.clip_frames),
                parse_region_mode(limits.region),
                limits.thumbnail_side_px,
                limits.decoding,
            ),
            still_threads=limits.decode_threads,
            clip_threads=limits.decode_processes,
            timed=timed,
        )
        # One frame of each stream at a time, and one more thread for whom others keep waiting.
        self._live_threads = FairThreads(1, name="live")
        max_pixels = min(MAX_PIXELS, limits.decoding.max_pixels)
        self._live = LiveParts(
            self._batcher, encoder.spec, finder, self._live_threads, timed, meter, max_pixels
        )
        self._admitted = Quota(limits.max_queue, of="images")
        self._probe: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> "Pipeline":
        self._loop = asyncio.get_running_loop()
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._batcher.__aexit__(*error)
        self._decoders.__exit__(*error)
        await asyncio.to_thread(self._files.close)
        self._live_threads.close(timeout_s=0)

    @property
    def in_flight(self) -> int:
        """Number of files that are being embedded."""
        return self._admitted.total

    @property
    def queues(self) -> dict[str, QueueState]:
        """How busy each queue is: files that are decoded, and frames that are encoded."""
        return {**self._files.states, "encoder": self._batcher.state}

    @property
    def live_max_pixels(self) -> int:
        """The most pixels of a live frame."""
        return self._live.max_pixels

    @property
    def last_pass_s(self) -> float | None:
        """Seconds since the encoder's last pass; None before the first, or when it failed."""
        return self._batcher.heartbeat.last_pass_s

    @property
    def confined(self) -> dict[str, bool]:
        """Which measures confine the decoder processes; empty before the first one starts."""
        return self._decoders.confined

    @property
    def is_running(self) -> bool:
        """Whether the encoder accepts frames."""
        return self._batcher.is_running

    async def check(self) -> None:
        """Judge the encoder by its last pass, and try a black frame only where that is old.

        Raises:
            EncoderFailure: the encoder fails or hangs, or its worker has ended.
            Overloaded, Stopping: as for ``embed_all``.
        """
        heartbeat = self._batcher.heartbeat
        if heartbeat.stalled_s > self._stall_s:
            raise EncoderFailure(f"the encoder has not ended a pass for {self._stall_s:g} s")
        age_s = heartbeat.last_pass_s
        if self.is_running and age_s is not None and age_s < self._fresh_s:
            return
        if self._probe is None or self._probe.done():  # one for all who ask meanwhile
            with working_for(SERVICE):
                self._probe = asyncio.create_task(self._try_black_frame())
        try:
            async with asyncio.timeout(self._stall_s):
                await asyncio.shield(self._probe)
        except TimeoutError as error:
            said = f"the encoder did not answer within {self._stall_s:g} s"
            raise EncoderFailure(said) from error

    async def _try_black_frame(self) -> None:
        side = self.encoder.spec.side_px
        black = preprocess(np.zeros((1, side, side), np.uint8), self.encoder.spec)[0]
        (result,) = await asyncio.gather(self._batcher.submit(black), return_exceptions=True)
        if isinstance(result, ServiceError):
            raise result
        if isinstance(result, BaseException):
            raise EncoderFailure("the encoder fails on a plain frame") from result

    @contextmanager
    def _admission(self, images: int) -> Iterator[None]:
        """Accept or refuse a request as a whole, before any work on it."""
        workspace_id = current_workspace()
        self._admitted.take(workspace_id, images)
        try:
            yield
        finally:
            self._admitted.give_back(workspace_id, images)

    def admit_views(self, images: int) -> None:
        """Count all views of kept pixels, which are then embedded a few at a time.

        Raises:
            RateLimited: the meter refuses them.
        """
        if self._meter is not None:
            self._meter.admit_files(images * VIEWS)

    def views_of_kept(self, images: Sequence[bytes]) -> list[Floats]:
        """views_VD of kept pixels, for a thread beside the event loop; see ``admit_views``.

        Raises:
            ServiceError: as ``embed_all``, and the first error of an image.
            Stopping: the pipeline was not entered.
        """
        if self._loop is None:
            raise Stopping("the service does not embed")
        # The kept pixels are what the encoder saw, so no region must be cut out.
        options = EmbedOptions(region_mode="none", with_views=True)
        work = self.embed_all(images, options, is_counted=True)
        rows = []
        for image in asyncio.run_coroutine_threadsafe(work, self._loop).result():
            if isinstance(image, ServiceError):
                raise image
            if image.views_VD is None:
                raise EncoderFailure("the encoder gave no views")
            rows.append(image.views_VD)
        return rows

    def live(self, options: EmbedOptions = DEFAULT_OPTIONS) -> LiveFrames:
        """For the frames of one live stream; of the options only the region counts."""
        region_mode = options.region_mode or parse_region_mode(self._limits.region)
        return LiveFrames(self._live, region_mode)

    async def embed_all(
        self,
        files: Sequence[bytes],
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        is_counted: bool = False,
    ) -> list[EmbeddedImage | ServiceError]:
        """Embed each file; item i is its result or its error, so a bad file fails alone.

        Args:
            is_counted: the meter has counted the files and their views before.

        Raises:
            Overloaded: the request does not fit into the queue, or into the quota of its
                workspace; nothing was done.
            RateLimited: the meter refuses it.
            Stopping: the service is shutting down.
        """
        meter = None if is_counted else self._meter
        if meter is not None:
            meter.admit_files(len(files))
        with self._admission(len(files)):
            work = (self._result_or_error(data, options, meter) for data in files)
            return await asyncio.gather(*work)

    async def _result_or_error(
        self, data: bytes, options: EmbedOptions, meter: WorkMeter | None
    ) -> EmbeddedImage | ServiceError:
        try:
            embedded = await self._files.embed(data, options, self._checked(data))
            passes = embedded.frames_used * (1 if embedded.views_VD is None else VIEWS)
            if meter is not None and passes > 1:
                meter.embedded(passes - 1)
            return embedded
        except ServiceError as error:
            return error

    def _checked(self, data: bytes) -> Family:
        """What the file is. Raises UploadTooLarge, UnsupportedFormat, CorruptImage."""
        limits = self._limits
        _check_bytes(data, max(limits.max_image_bytes, limits.max_clip_bytes))
        family = family_of(data)
        is_still = family == "still"
        _check_bytes(data, limits.max_image_bytes if is_still else limits.max_clip_bytes)
        return family


def _check_bytes(data: bytes, limit: int) -> None:
    if len(data) > limit:
        raise UploadTooLarge(f"expected at most {limit} bytes per file, got {len(data)}")


def _metered(timed: Timed, meter: WorkMeter) -> Timed:
    @contextmanager
    def run(stage: str) -> Iterator[None]:
        start_s = time.monotonic()
        try:
            with timed(stage):
                yield
        finally:
            meter.decoded(time.monotonic() - start_s)

    return run


def _passes_of(encoder: Encoder) -> Passes:
    return Passes(encoder.encode, encoder.encode_mapped)
