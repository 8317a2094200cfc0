"""One file -> its frames -> their embeddings, frame by frame while the file is decoded.

A thread decodes, analyses and preprocesses each frame; the event loop passes it to the encoder. At
most ``WINDOW`` frames of one file are between the two, so a long clip needs little memory and
leaves room in the queue for other requests. A still is a file of one frame. Workspaces take turns
for the threads.

Shape suffixes: S encoder side, h w used region, V views, D embedding width.
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from service.arrays import Floats, Pixels
from service.embedding.batcher import Encoded
from service.embedding.embedded_image import EmbeddedImage, EmbedOptions, MappedImage
from service.embedding.pooling import FrameEmbedding, pool, pool_means, pool_views
from service.errors import CorruptImage, DecodeLimit
from service.fairness.fair_queue import QueueState
from service.fairness.fair_threads import FairThreads
from service.fairness.workspace_turn import current_workspace
from service.imaging.analysis.cine_analysis import PREVIEW, CineAnalysis, needs_more
from service.imaging.analysis.frame_analysis import RegionMode
from service.imaging.analysis.preprocess import PreprocessSpec, preprocess
from service.imaging.analysis.quality import is_blank
from service.imaging.analysis.text import TextFinder
from service.imaging.analysis.thumbnails import encode_png, thumbnail
from service.imaging.analysis.views import views_of
from service.imaging.formats.file_type import Family, family_of
from service.imaging.formats.frames import DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from service.imaging.formats.still_cost import is_ordinary
from service.imaging.sandbox.decoder_pool import DecoderPool

WINDOW = 24
CLOSE_TIMEOUT_S = 1.5  # an ordinary still takes tenths of a second, a killed process none
PREVIEW_PIXELS = 64_000_000  # held at once; the first frames of nearly every clip are fewer

Timed: TypeAlias = Callable[[str], AbstractContextManager[None]]


class FrameQueue(Protocol):
    """The part of ``MicroBatcher`` that embeds one preprocessed frame, float32 (3, S, S)."""

    def submit(self, frame_3SS: Floats) -> Awaitable[Floats]:
        """The embedding, float32 (D,)."""

    def submit_mapped(self, frame_3SS: Floats) -> Awaitable[Encoded]:
        """The embedding with its feature map."""


@dataclass(frozen=True, slots=True)
class FileDefaults:
    """What applies where ``EmbedOptions`` leaves a choice open, and the limits of decoding."""

    sampling: Sampling
    region_mode: RegionMode
    thumbnail_side_px: int
    decoding: DecodeLimits


@dataclass(frozen=True, slots=True)
class _PreparedFrame:
    """One region of a frame on its way to the encoder."""

    index: int
    time_s: float | None
    region: int
    digest: bytes
    frame_3SS: Floats
    with_map: bool
    more_views: tuple[Floats, ...] = ()  # of the region; the first is frame_3SS


@dataclass(frozen=True, slots=True)
class _EncodedRegion:
    """The result for one region; ``views_VD`` is None unless requested."""

    frame: Encoded
    views_VD: Floats | None


@dataclass(slots=True)
class _DecodedFile:
    """The results of the decoding thread beside the frames."""

    sha256: str
    info: ImageInfo
    analysis: CineAnalysis
    thumbnail_jpeg: bytes = b""
    thumbnail_index: int = -1
    used_png: bytes | None = None
    is_blank: bool = True  # until a frame shows something


class _AnalysisTime:
    """Limits what a thread spends on the frames of one file beside decoding.

    The time of a decoder process is limited already, and its frames are of limited size, but a clip
    of small bytes may have hundreds of large frames.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._left_s = limit_s

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Count the block. Raises DecodeLimit after it: the time is over."""
        start_s = time.monotonic()
        yield
        self._left_s -= time.monotonic() - start_s
        if self._left_s < 0:
            raise DecodeLimit(f"analysing the frames takes longer than {self._limit_s:g} s")


class _FrameStream:
    """Carries the frames of one file from the decoding thread to the encoder, in order."""

    def __init__(self, encoder: FrameQueue) -> None:
        self._encoder = encoder
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # a callback from another thread would lose the workspace
        self._slots = threading.Semaphore(WINDOW)
        self._stopped = threading.Event()
        self._tasks: dict[bytes, asyncio.Task[_EncodedRegion]] = {}
        self._places: list[tuple[int, float | None, int, bytes]] = []  # without the large tensors

    def put(self, frame: _PreparedFrame) -> bool:
        """On the thread: wait for a slot and pass a frame on; return False to stop decoding."""
        self._slots.acquire()
        if self._stopped.is_set():
            return False
        self._loop.call_soon_threadsafe(self._encode, frame, context=self._context)
        return True

    def _encode(self, frame: _PreparedFrame) -> None:
        self._places.append((frame.index, frame.time_s, frame.region, frame.digest))
        if frame.digest in self._tasks:  # equal pixels, as in a frozen clip, are encoded once
            self._slots.release()
            return
        task = asyncio.ensure_future(_encoded(self._encoder, frame))
        self._tasks[frame.digest] = task
        task.add_done_callback(self._release)

    def _release(self, task: asyncio.Task[_EncodedRegion]) -> None:
        self._slots.release()
        if task.cancelled() or task.exception() is not None:
            self._stopped.set()

    async def results(self) -> tuple[list[FrameEmbedding], list[Encoded], str]:
        """Embeddings in the order of the file, results of the encoder, and the content digest.

        Raises:
            CorruptImage: the file had no frame.
            EncoderFailure, Overloaded, Stopping: as ``MicroBatcher.submit``.
        """
        results = dict(zip(self._tasks, await asyncio.gather(*self._tasks.values()), strict=True))
        if not self._places:
            raise CorruptImage("no frame of the file decodes")
        frames = [
            FrameEmbedding(
                index,
                time_s,
                results[digest].frame.embedding_D,
                region=region,
                views_VD=results[digest].views_VD,
            )
            for index, time_s, region, digest in self._places
        ]
        content = hashlib.sha256(b"".join(digest for *_, digest in self._places)).hexdigest()
        return frames, [region.frame for region in results.values()], content

    def close(self) -> None:
        """Stop the thread and cancel what the encoder has not finished."""
        self._stopped.set()
        self._slots.release()  # a thread that waits in ``put`` stops there
        for task in self._tasks.values():
            task.cancel()


async def _encoded(encoder: FrameQueue, frame: _PreparedFrame) -> _EncodedRegion:
    if frame.with_map:
        encoded = await encoder.submit_mapped(frame.frame_3SS)
    else:
        encoded = Encoded(await encoder.submit(frame.frame_3SS), None)
    if not frame.more_views:
        return _EncodedRegion(encoded, None)
    # One by one: the queue has room for WINDOW frames of a file, and not for seven times as many.
    views = [encoded.embedding_D, *[await encoder.submit(view) for view in frame.more_views]]
    return _EncodedRegion(encoded, np.stack(views))


class FileEmbedder:
    """Embeds files of every format; ordinary stills are decoded here, others by ``decoders``.

    Args:
        decoders: processes for files whose decoders may fail or take long; one more than
            ``clip_threads``, because ``FairThreads`` may use one thread more.
        encoder: usually a ``MicroBatcher``.
        spec: the input that the encoder expects.
        finder: of burned-in text.
        still_threads: number of ordinary stills that are decoded at the same time.
        clip_threads: the same for all other files.
        timed: see ``Pipeline``.
    """

    def __init__(
        self,
        decoders: DecoderPool,
        encoder: FrameQueue,
        spec: PreprocessSpec,
        finder: TextFinder,
        defaults: FileDefaults,
        *,
        still_threads: int = 1,
        clip_threads: int = 1,
        timed: Timed = lambda stage: nullcontext(),
    ) -> None:
        self._decoders = decoders
        self._encoder = encoder
        self._spec = spec
        self._finder = finder
        self._defaults = defaults
        self._timed = timed
        self._still_threads = FairThreads(still_threads, name="stills")
        self._clip_threads = FairThreads(clip_threads, name="clips")

    def close(self) -> None:
        """Wait for the files that are being decoded; close the decoder pool first.

        A thread that does not end in time is left behind and does not keep the process alive.
        """
        for threads in (self._still_threads, self._clip_threads):
            threads.close(timeout_s=CLOSE_TIMEOUT_S)

    @property
    def states(self) -> dict[str, QueueState]:
        """How busy the threads are, in files."""
        return {"stills": self._still_threads.state, "clips": self._clip_threads.state}

    async def embed(
        self, data: bytes, options: EmbedOptions, family: Family | None = None
    ) -> EmbeddedImage:
        """Decode and embed one file.

        Args:
            family: what ``family_of`` says of the file, where the caller has asked.

        Raises:
            InputError: the file cannot be read, or the region is not inside the frame.
            DecoderFailure: no decoder process starts.
            EncoderFailure, Overloaded, Stopping: as ``MicroBatcher.submit``.
        """
        is_still = (family or family_of(data)) == "still"
        is_here = is_still and is_ordinary(data)
        threads = self._still_threads if is_here else self._clip_threads
        stream = _FrameStream(self._encoder)
        # In the context of the request, so that the span is one of its own.
        work = partial(
            copy_context().run, self._decode_timed, data, options, stream, is_here=is_here
        )
        try:
            file = await asyncio.wrap_future(threads.submit(current_workspace(), work))
            frames, encoded, content = await stream.results()
        finally:
            stream.close()
        mapped = None
        if encoded[0].map_Dhw is not None:
            box, info = file.analysis.analysis.regions[0].box, file.info
            size = (info.width_px, info.height_px)
            mapped = MappedImage(encoded[0].map_Dhw, box, size, self._spec.border)
        return EmbeddedImage(
            file.sha256,
            file.analysis.info,
            file.analysis.analysis,
            # Pooling one frame would normalise it again and change its last bits.
            frames[0].embedding_D if is_still else pool(tuple(frames)),
            # Equal pixels mean the same image only if there is something to see.
            _digest_of_blank(file.sha256, content) if file.is_blank else content,
            tuple(frames) if file.info.kind == "cine" or len(frames) > 1 else (),
            file.thumbnail_jpeg,
            mapped,
            file.used_png,
            frames[0].view_mean if is_still else pool_means(tuple(frames)),
            frames[0].views_VD if is_still else pool_views(tuple(frames)),
        )

    def _decode_timed(
        self, data: bytes, options: EmbedOptions, stream: _FrameStream, *, is_here: bool
    ) -> _DecodedFile:
        with self._timed("decode"):
            return self._decode(data, options, stream, is_here=is_here)

    def _decode(
        self, data: bytes, options: EmbedOptions, stream: _FrameStream, *, is_here: bool
    ) -> _DecodedFile:
        """On a thread: decode, analyse and preprocess every frame, and put it on the stream."""
        sha256 = hashlib.sha256(data).hexdigest()
        limits, sampling = self._defaults.decoding, options.sampling or self._defaults.sampling
        image = read(data, sampling, limits) if is_here else self._decoders.open(data, sampling)
        region_mode = options.region_mode or self._defaults.region_mode
        analysis = CineAnalysis(image.info, self._finder, region_mode)
        file = _DecodedFile(sha256, image.info, analysis)
        time_left = _AnalysisTime(limits.max_decode_s)
        with closing(cast(Any, image.frames)):  # returns the decoder process to its pool
            frames = iter(image)
            group = self._preview(frames, image.info)
            with time_left.spend():
                analysis.decide([frame.pixels for frame in group])
            while group:
                with time_left.spend():
                    analysis.look([frame.pixels for frame in group])
                for frame in group:
                    with time_left.spend():
                        prepared = self._prepare(frame, file, options)
                    if not all(stream.put(region) for region in prepared):
                        return file
                group.clear()  # before the next ones are held
                group.extend(islice(frames, _preview_of(image.info)))
        return file

    def _preview(self, frames: Iterator[DecodedFrame], info: ImageInfo) -> list[DecodedFrame]:
        """The frames that decide on the regions: more of them where the first are blank."""
        size = _preview_of(info)
        preview = more = list(islice(frames, size))
        while info.kind == "cine" and needs_more([f.pixels for f in preview], len(more)):
            more = list(islice(frames, size))
            preview = preview + more
        return preview

    def _prepare(
        self, frame: DecodedFrame, file: _DecodedFile, options: EmbedOptions
    ) -> list[_PreparedFrame]:
        """The used regions of a frame; with the pictures of the file that the options ask for."""
        if options.with_thumbnail:
            self._make_thumbnail(file, frame)
        used = file.analysis.use(frame.pixels)
        is_single = file.info.kind == "frame" and len(used) == 1
        if is_single and options.with_png:
            file.used_png = encode_png(used[0])
        file.is_blank = file.is_blank and all(map(is_blank, used))
        is_viewed = options.with_views is True or (
            options.with_views == "stills" and file.info.kind == "frame"
        )
        prepared = []
        for region, used_hw in enumerate(used):
            views = views_of(used_hw) if is_viewed else (used_hw,)
            first, *more = (preprocess(view_hw[None], self._spec)[0] for view_hw in views)
            with_map = is_single and options.with_map
            place = (frame.index, frame.time_s, region, _digest_of(used_hw))
            prepared.append(_PreparedFrame(*place, first, with_map, tuple(more)))
        return prepared

    def _make_thumbnail(self, file: _DecodedFile, frame: DecodedFrame) -> None:
        """Show the first frame, and later the first used frame from the middle on."""
        middle = file.info.frames_in_file // 2
        if file.thumbnail_jpeg and not file.thumbnail_index < middle <= frame.index:
            return
        file.thumbnail_index = frame.index
        shown_hw = file.analysis.show(frame.pixels)
        file.thumbnail_jpeg = thumbnail(shown_hw, side_px=self._defaults.thumbnail_side_px)


def _digest_of_blank(sha256: str, content: str) -> str:
    """Digest of a blank content that no other file has."""
    return hashlib.sha256(f"{sha256}\n{content}".encode()).hexdigest()


def _preview_of(info: ImageInfo) -> int:
    """How many frames are held at once: until the regions are chosen, and then to find their text.

    They are at least 2, so that motion shows.
    """
    return max(2, min(PREVIEW, PREVIEW_PIXELS // (info.width_px * info.height_px)))


def _digest_of(grey_hw: Pixels) -> bytes:
    """SHA-256 of the shape and the pixels of one used region."""
    digest = hashlib.sha256(np.array(grey_hw.shape, "<u4").tobytes())
    digest.update(np.ascontiguousarray(grey_hw).data)
    return digest.digest()
