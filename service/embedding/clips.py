"""A file decoded in another process -> the embeddings of its frames, while it is decoded.

A thread takes each frame from the decoder and prepares it; the loop hands it to the encoder. At
most ``WINDOW`` frames of one file are between the two, so that a long clip needs no memory and
leaves room for others.

Shape suffixes: S encoder side, H height, W width.
"""

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from service.embedding.pooling import FrameEmbedding
from service.errors import CorruptImage
from service.imaging.analysis.cine_analysis import PREVIEW, CineAnalysis
from service.imaging.analysis.frame_analysis import FrameAnalysis, RegionMode
from service.imaging.analysis.preprocess import PreprocessSpec, preprocess
from service.imaging.analysis.text import TextFinder
from service.imaging.analysis.thumbnails import encode_png, thumbnail
from service.imaging.formats.frames import DecodedFrame, ImageInfo, Pixels
from service.imaging.formats.sampling import Sampling
from service.imaging.formats.sandbox import DecoderPool

Floats: TypeAlias = npt.NDArray[np.float32]
Submit: TypeAlias = Callable[[Floats], Awaitable[Floats]]
WINDOW = 24


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """One region of a frame on its way to the encoder."""

    index: int
    time_s: float | None
    digest: bytes
    frame_3SS: Floats
    region: int = 0


@dataclass(frozen=True, slots=True)
class EmbeddedClip:
    """A file of one or more frames that went through the encoder; no thumbnail unless asked."""

    info: ImageInfo
    frames: tuple[FrameEmbedding, ...]
    content_sha256: str
    thumbnail_jpeg: bytes
    used_png: bytes | None
    analysis: FrameAnalysis


@dataclass(slots=True)
class _Progress:
    """Shared by the thread that decodes and the loop."""

    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(WINDOW))
    stop: threading.Event = field(default_factory=threading.Event)
    thumbnail_jpeg: bytes = b""
    used_png: bytes | None = None

    def leave(self) -> None:
        """Let the thread run out."""
        self.stop.set()
        self.room.release(WINDOW)


class ClipEmbedder:
    """Embeds files through the processes of ``decoders``; ``submit`` is the encoder's."""

    def __init__(
        self,
        decoders: DecoderPool,
        threads: int,
        submit: Submit,
        spec: PreprocessSpec,
        finder: TextFinder,
    ) -> None:
        self._finder = finder
        self._decoders = decoders
        self._submit = submit
        self._spec = spec
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="clips")

    def close(self) -> None:
        """Wait for the files that are being decoded."""
        self._threads.shutdown(wait=True)

    async def embed(
        self,
        data: bytes,
        sampling: Sampling,
        *,
        region_mode: RegionMode,
        thumbnail_side_px: int | None,
        with_png: bool = False,
    ) -> EmbeddedClip:
        """Decode and embed the frames that ``sampling`` chooses; a thumbnail with a side.

        Args:
            region_mode: what of each frame is used.
            with_png: keep the used pixels, where the file is of one frame and one region.

        Raises:
            InputError: as ``DecoderPool.open``.
            EncoderFailure, Overloaded, Stopping: as ``MicroBatcher.submit``.
        """
        loop = asyncio.get_running_loop()
        progress = _Progress()
        walked: list[tuple[int, float | None, int, bytes]] = []  # not the tensors: they are large
        tasks: dict[bytes, asyncio.Task[Floats]] = {}

        def done(task: asyncio.Task[Floats]) -> None:
            progress.room.release()
            if task.cancelled() or task.exception() is not None:
                progress.stop.set()

        def take(prepared: PreparedFrame) -> None:
            walked.append((prepared.index, prepared.time_s, prepared.region, prepared.digest))
            if prepared.digest in tasks:  # a frozen clip: the same pixels, the same embedding
                progress.room.release()
                return
            task = asyncio.ensure_future(cast(Any, self._submit(prepared.frame_3SS)))
            tasks[prepared.digest] = task
            task.add_done_callback(done)

        def walk() -> tuple[ImageInfo, CineAnalysis]:
            return self._walk(
                data,
                sampling,
                region_mode,
                progress,
                lambda frame: loop.call_soon_threadsafe(take, frame),
                thumbnail_side_px,
                with_png,
            )

        try:
            info, look = await loop.run_in_executor(self._threads, walk)
            found = dict(zip(tasks, await asyncio.gather(*tasks.values()), strict=True))
        finally:
            progress.leave()
            for task in tasks.values():
                task.cancel()
        if not walked:
            raise CorruptImage("no frame of the file decodes")
        frames = tuple(
            FrameEmbedding(index, at_s, found[digest], region=region)
            for index, at_s, region, digest in walked
        )
        content = content_sha256(digest for *_, digest in walked)
        return EmbeddedClip(
            info, frames, content, progress.thumbnail_jpeg, progress.used_png, look.analysis
        )

    def _walk(
        self,
        data: bytes,
        sampling: Sampling,
        region_mode: RegionMode,
        progress: _Progress,
        hand_on: Callable[[PreparedFrame], object],
        thumbnail_side_px: int | None,
        with_png: bool,
    ) -> tuple[ImageInfo, CineAnalysis]:
        """On a thread: decode, prepare, and wait for room after each frame."""
        image = self._decoders.open(data, sampling)
        look = CineAnalysis(image.info, self._finder, region_mode)
        middle = image.info.frames_in_file // 2
        has_middle = False
        with closing(cast(Any, image.frames)):
            frames = iter(image)
            preview = list(islice(frames, PREVIEW))
            look.decide([frame.pixels for frame in preview])
            for frame in chain(preview, frames):
                if thumbnail_side_px is not None and not has_middle:
                    has_middle = frame.index >= middle
                    if has_middle or not progress.thumbnail_jpeg:
                        shown_hw = look.show(frame.pixels)
                        progress.thumbnail_jpeg = thumbnail(shown_hw, side_px=thumbnail_side_px)
                used = look.use(frame.pixels)
                if with_png and image.info.kind == "frame" and len(used) == 1:
                    progress.used_png = encode_png(used[0])
                for region, used_hw in enumerate(used):
                    progress.room.acquire()
                    if progress.stop.is_set():
                        return image.info, look
                    hand_on(prepare(frame, used_hw, self._spec, region))
        return image.info, look


def prepare(
    frame: DecodedFrame, used_hw: Pixels, spec: PreprocessSpec, region: int = 0
) -> PreparedFrame:
    """The encoder's input of one region of a frame, and a digest of the pixels that it sees."""
    frame_3SS = preprocess(used_hw[None], spec)[0]
    return PreparedFrame(frame.index, frame.time_s, digest_of(used_hw), frame_3SS, region)


def digest_of(grey_HW: Pixels) -> bytes:
    """SHA-256 of the shape and the pixels of one used frame."""
    shape = np.array(grey_HW.shape, "<u4").tobytes()
    return hashlib.sha256(shape + np.ascontiguousarray(grey_HW).tobytes()).digest()


def content_sha256(digests: Iterator[bytes]) -> str:
    """Hex digest of what was looked at: equal for equal pixels in any file format."""
    return hashlib.sha256(b"".join(digests)).hexdigest()
