"""One file -> its frames -> their embeddings, frame by frame while the file is decoded.

A thread decodes, analyses and preprocesses each frame; the event loop passes it to the encoder. At
most ``WINDOW`` frames of one file are between the two, so a long clip needs little memory and
leaves room in the queue for other requests. A still is a file of one frame.

Shape suffixes: S encoder side, h w used region.
"""

import asyncio
import hashlib
import threading
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Protocol, cast

import numpy as np

from service.arrays import Floats, Pixels
from service.embedding.batcher import Encoded
from service.embedding.embedded_image import EmbeddedImage, EmbedOptions, MappedImage
from service.embedding.pooling import FrameEmbedding, pool
from service.errors import CorruptImage
from service.imaging.analysis.cine_analysis import PREVIEW, CineAnalysis, needs_more
from service.imaging.analysis.frame_analysis import RegionMode
from service.imaging.analysis.preprocess import PreprocessSpec, preprocess
from service.imaging.analysis.text import TextFinder
from service.imaging.analysis.thumbnails import encode_png, thumbnail
from service.imaging.formats.file_type import family_of
from service.imaging.formats.frames import DecodedFrame, DecodedImage, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from service.imaging.formats.sandbox import DecoderPool

WINDOW = 24


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


@dataclass(slots=True)
class _DecodedFile:
    """The results of the decoding thread beside the frames."""

    sha256: str
    info: ImageInfo
    analysis: CineAnalysis
    thumbnail_jpeg: bytes = b""
    thumbnail_index: int = -1
    used_png: bytes | None = None


class _FrameStream:
    """Carries the frames of one file from the decoding thread to the encoder, in order."""

    def __init__(self, encoder: FrameQueue) -> None:
        self._encoder = encoder
        self._loop = asyncio.get_running_loop()
        self._slots = threading.Semaphore(WINDOW)
        self._stopped = threading.Event()
        self._tasks: dict[bytes, asyncio.Task[Encoded]] = {}
        self._places: list[tuple[int, float | None, int, bytes]] = []  # without the large tensors

    def put(self, frame: _PreparedFrame) -> bool:
        """On the thread: wait for a slot and pass a frame on; return False to stop decoding."""
        self._slots.acquire()
        if self._stopped.is_set():
            return False
        self._loop.call_soon_threadsafe(self._encode, frame)
        return True

    def _encode(self, frame: _PreparedFrame) -> None:
        self._places.append((frame.index, frame.time_s, frame.region, frame.digest))
        if frame.digest in self._tasks:  # equal pixels, as in a frozen clip, are encoded once
            self._slots.release()
            return
        task = asyncio.ensure_future(_encoded(self._encoder, frame))
        self._tasks[frame.digest] = task
        task.add_done_callback(self._release)

    def _release(self, task: asyncio.Task[Encoded]) -> None:
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
            FrameEmbedding(index, time_s, results[digest].embedding_D, region=region)
            for index, time_s, region, digest in self._places
        ]
        content = hashlib.sha256(b"".join(digest for *_, digest in self._places)).hexdigest()
        return frames, list(results.values()), content

    def close(self) -> None:
        """Stop the thread and cancel what the encoder has not finished."""
        self._stopped.set()
        self._slots.release(WINDOW)
        for task in self._tasks.values():
            task.cancel()


async def _encoded(encoder: FrameQueue, frame: _PreparedFrame) -> Encoded:
    if frame.with_map:
        return await encoder.submit_mapped(frame.frame_3SS)
    return Encoded(await encoder.submit(frame.frame_3SS), None)


class FileEmbedder:
    """Embeds files of every format; plain stills are decoded here, others by ``decoders``.

    Args:
        decoders: processes for the formats whose decoders may fail on hostile files.
        encoder: usually a ``MicroBatcher``.
        spec: the input that the encoder expects.
        finder: of burned-in text.
        still_threads: number of stills that are decoded at the same time.
        clip_threads: the same for all other files.
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
    ) -> None:
        self._decoders = decoders
        self._encoder = encoder
        self._spec = spec
        self._finder = finder
        self._defaults = defaults
        self._still_threads = ThreadPoolExecutor(still_threads, thread_name_prefix="stills")
        self._clip_threads = ThreadPoolExecutor(clip_threads, thread_name_prefix="clips")

    def close(self) -> None:
        """Wait for the files that are being decoded; close the decoder pool first."""
        self._still_threads.shutdown(wait=True)
        self._clip_threads.shutdown(wait=True)

    async def embed(self, data: bytes, options: EmbedOptions) -> EmbeddedImage:
        """Decode and embed one file.

        Raises:
            InputError: the file cannot be read, or the region is not inside the frame.
            DecoderFailure: no decoder process starts.
            EncoderFailure, Overloaded, Stopping: as ``MicroBatcher.submit``.
        """
        is_still = family_of(data) == "still"
        threads = self._still_threads if is_still else self._clip_threads
        stream = _FrameStream(self._encoder)
        loop = asyncio.get_running_loop()
        try:
            file = await loop.run_in_executor(threads, self._decode, data, options, stream)
            frames, encoded, content = await stream.results()
        finally:
            stream.close()
        mapped = None
        if encoded[0].map_Dhw is not None:
            box, info = file.analysis.analysis.regions[0].box, file.analysis.info
            mapped = MappedImage(encoded[0].map_Dhw, box, (info.width_px, info.height_px))
        return EmbeddedImage(
            file.sha256,
            file.analysis.info,
            file.analysis.analysis,
            # Pooling one frame would normalise it again and change its last bits.
            frames[0].embedding_D if is_still else pool(tuple(frames)),
            content,
            tuple(frames) if file.info.kind == "cine" or len(frames) > 1 else (),
            file.thumbnail_jpeg,
            mapped,
            file.used_png,
        )

    def _decode(self, data: bytes, options: EmbedOptions, stream: _FrameStream) -> _DecodedFile:
        """On a thread: decode, analyse and preprocess every frame, and put it on the stream."""
        sha256 = hashlib.sha256(data).hexdigest()
        image = self._open(data, options.sampling or self._defaults.sampling)
        region_mode = options.region_mode or self._defaults.region_mode
        analysis = CineAnalysis(image.info, self._finder, region_mode)
        file = _DecodedFile(sha256, image.info, analysis)
        with closing(cast(Any, image.frames)):  # returns the decoder process to its pool
            frames = iter(image)
            preview = list(islice(frames, PREVIEW))
            while needs_more([frame.pixels for frame in preview]):
                more = list(islice(frames, PREVIEW))
                preview += more
                if not more:
                    break
            analysis.decide([frame.pixels for frame in preview])
            for frame in chain(preview, frames):
                if options.with_thumbnail:
                    self._make_thumbnail(file, frame)
                used = analysis.use(frame.pixels)
                is_single = image.info.kind == "frame" and len(used) == 1
                if is_single and options.with_png:
                    file.used_png = encode_png(used[0])
                for region, used_hw in enumerate(used):
                    frame_3SS = preprocess(used_hw[None], self._spec)[0]
                    place = (frame.index, frame.time_s, region, _digest_of(used_hw))
                    with_map = is_single and options.with_map
                    if not stream.put(_PreparedFrame(*place, frame_3SS, with_map)):
                        return file
        return file

    def _open(self, data: bytes, sampling: Sampling) -> DecodedImage:
        if family_of(data) == "still":
            return read(data, sampling, self._defaults.decoding)
        return self._decoders.open(data, sampling)

    def _make_thumbnail(self, file: _DecodedFile, frame: DecodedFrame) -> None:
        """Show the first frame, and later the first used frame from the middle on."""
        middle = file.info.frames_in_file // 2
        if file.thumbnail_jpeg and not file.thumbnail_index < middle <= frame.index:
            return
        file.thumbnail_index = frame.index
        shown_hw = file.analysis.show(frame.pixels)
        file.thumbnail_jpeg = thumbnail(shown_hw, side_px=self._defaults.thumbnail_side_px)


def _digest_of(grey_hw: Pixels) -> bytes:
    """SHA-256 of the shape and the pixels of one used region."""
    shape = np.array(grey_hw.shape, "<u4").tobytes()
    return hashlib.sha256(shape + np.ascontiguousarray(grey_hw).tobytes()).digest()
