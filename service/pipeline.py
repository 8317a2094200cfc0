"""The corridor: uploaded bytes -> frame -> tensor -> embedding.

Decoding and preprocessing run on a small thread pool, the encoder on its own thread, so that
the event loop only hands things on.

Shape suffixes: H W frame, S encoder side, D embedding width, h w places of a feature map.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.encoding.batching import MicroBatcher
from service.encoding.runtime import Encoder
from service.encoding.ultrasound import UltrasoundTest as UltrasoundTest
from service.errors import EncoderFailure, Overloaded, ServiceError, UploadTooLarge
from service.imaging.decode import decode
from service.imaging.encode import thumbnail
from service.imaging.overlay import overlay, shrunk
from service.imaging.preprocess import preprocess

Floats: TypeAlias = npt.NDArray[np.float32]
Pixels: TypeAlias = npt.NDArray[np.uint8]
OVERLAY_SIDE_PX = 256  # no knob: a map of 6 x 6 places says no more on a larger picture


@dataclass(frozen=True, slots=True)
class Mapped:
    """Where an embedding comes from: for heat maps.

    Attributes:
        map_Dhw: float32 feature map of the whole frame, whose mean over places has the
            direction of the embedding.
        pixels_HW: uint8, the frame that was embedded, scaled down to the size of a picture: a
            request may bring hundreds of large ones.
    """

    map_Dhw: Floats
    pixels_HW: Pixels

    def picture(self, heat_hw: npt.NDArray[np.floating]) -> bytes:
        """A heat map laid over the frame, PNG. Raises InputError: not finite, not two axes."""
        return overlay(self.pixels_HW, heat_hw)


@dataclass(frozen=True, slots=True)
class Embedded:
    """One still image that went through the corridor.

    Attributes:
        sha256: hex digest of the uploaded bytes.
        format: lower-case name of the file format.
        embedding_D: float32, unit length.
        thumbnail_jpeg: empty unless asked for.
        mapped: None unless asked for.
    """

    sha256: str
    format: str
    width_px: int
    height_px: int
    embedding_D: Floats
    thumbnail_jpeg: bytes
    mapped: Mapped | None = None


@dataclass(frozen=True, slots=True)
class CorridorLimits:
    """See the settings of the same names."""

    max_image_bytes: int
    max_pixels: int
    max_batch: int
    batch_wait_s: float
    max_queue: int
    decode_threads: int
    thumbnail_side_px: int


class Pipeline:
    """The corridor around one encoder. Use as an async context manager."""

    def __init__(
        self,
        encoder: Encoder,
        limits: CorridorLimits,
        *,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.encoder = encoder
        self._limits = limits
        self._batcher = MicroBatcher(
            encoder.encode,
            max_batch=limits.max_batch,
            max_wait_s=limits.batch_wait_s,
            max_queue=limits.max_queue,
            on_batch=on_batch,
            encode_mapped=encoder.encode_mapped,
        )
        self._decoders = ThreadPoolExecutor(limits.decode_threads, thread_name_prefix="decode")
        self._admitted = 0

    async def __aenter__(self) -> "Pipeline":
        await self._batcher.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._batcher.__aexit__(kind, error, trace)
        self._decoders.shutdown(wait=True)

    @property
    def in_flight(self) -> int:
        """Images between admission and answer."""
        return self._admitted

    @property
    def is_running(self) -> bool:
        """Whether the encoder's worker takes frames."""
        return self._batcher.is_running

    async def check(self) -> None:
        """Embed one black frame.

        Raises:
            EncoderFailure: the encoder fails on it, or its worker is gone.
            Overloaded, Stopping: as for ``embed_all``.
        """
        side = self.encoder.spec.side_px
        black = preprocess(np.zeros((1, side, side), np.uint8), self.encoder.spec)[0]
        (found,) = await asyncio.gather(self._batcher.submit(black), return_exceptions=True)
        if isinstance(found, ServiceError):
            raise found
        if isinstance(found, BaseException):
            raise EncoderFailure("the encoder fails on a plain frame") from found

    @contextmanager
    def _admission(self, images: int) -> Iterator[None]:
        """Take a request in whole or not at all, before any of it costs time."""
        if self._admitted + images > self._limits.max_queue:
            raise Overloaded(
                f"{self._admitted} images are being worked on, at most {self._limits.max_queue}"
            )
        self._admitted += images
        try:
            yield
        finally:
            self._admitted -= images

    async def embed_all(
        self, files: Sequence[bytes], *, with_thumbnail: bool = False, with_map: bool = False
    ) -> list[Embedded | ServiceError]:
        """Embed each file; item i is its result or its own error, so one bad file fails alone.

        Args:
            with_map: keep the feature map and the frame as well, for a heat map.

        Raises:
            Overloaded: the whole request does not fit the queue; nothing was done.
            Stopping: the service is shutting down.
        """
        with self._admission(len(files)):
            work = [self._embed_or_error(data, with_thumbnail, with_map) for data in files]
            return await asyncio.gather(*work)

    async def _embed_or_error(
        self, data: bytes, with_thumbnail: bool, with_map: bool
    ) -> Embedded | ServiceError:
        try:
            return await self._embed(data, with_thumbnail, with_map)
        except ServiceError as error:
            return error

    async def _embed(self, data: bytes, with_thumbnail: bool, with_map: bool) -> Embedded:
        if len(data) > self._limits.max_image_bytes:
            raise UploadTooLarge(
                f"expected at most {self._limits.max_image_bytes} bytes per image, got {len(data)}"
            )
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(
            self._decoders, self._prepare, data, with_thumbnail, with_map
        )
        seen, shown_HW, frame_3SS = prepared
        if shown_HW is None:
            return Embedded(*seen[:4], await self._batcher.submit(frame_3SS), seen[4])
        encoded = await self._batcher.submit_mapped(frame_3SS)
        mapped = None if encoded.map_Dhw is None else Mapped(encoded.map_Dhw, shown_HW)
        return Embedded(*seen[:4], encoded.embedding_D, seen[4], mapped)

    def _prepare(
        self, data: bytes, with_thumbnail: bool, with_map: bool
    ) -> tuple[tuple[str, str, int, int, bytes], Pixels | None, Floats]:
        frame = decode(data, max_pixels=self._limits.max_pixels)
        small = b""
        if with_thumbnail:
            small = thumbnail(frame.pixels_HW, side_px=self._limits.thumbnail_side_px)
        digest = hashlib.sha256(data).hexdigest()
        seen = (digest, frame.format, frame.width_px, frame.height_px, small)
        shown_HW = shrunk(frame.pixels_HW, OVERLAY_SIDE_PX) if with_map else None
        return seen, shown_HW, preprocess(frame.pixels_HW[None], self.encoder.spec)[0]
