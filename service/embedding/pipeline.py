"""The corridor: uploaded bytes -> frames -> tensors -> embedding.

Plain stills are decoded on a small thread pool; DICOM, clips, TIFF and GIF in other processes
(``clips``). The encoder has its own thread, so that the event loop only hands things on.

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

from service.embedding.batcher import MicroBatcher, Passes
from service.embedding.clips import WINDOW, ClipEmbedder, PreparedFrame, content_sha256, prepare
from service.embedding.encoder import Encoder
from service.embedding.onnx_session import open_text_finder
from service.embedding.pooling import FrameEmbedding, pool
from service.embedding.ultrasound_gate import UltrasoundTest as UltrasoundTest
from service.errors import EncoderFailure, Overloaded, ServiceError, UploadTooLarge
from service.imaging.analysis.frame_analysis import (
    FrameAnalysis,
    RegionMode,
    analyze_frame,
    parse_region_mode,
    use_one_thread,
)
from service.imaging.analysis.heatmap_overlay import overlay, shrunk
from service.imaging.analysis.preprocess import preprocess
from service.imaging.analysis.thumbnails import encode_png, thumbnail
from service.imaging.formats.file_type import family_of
from service.imaging.formats.frames import ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.sampling import Sampling, parse_sampling
from service.imaging.formats.sandbox import DecoderPool
from service.imaging.formats.still import read_still

Floats: TypeAlias = npt.NDArray[np.float32]
Pixels: TypeAlias = npt.NDArray[np.uint8]
OVERLAY_SIDE_PX = 192  # no knob: a map of 5 x 5 places says no more on a larger picture


@dataclass(frozen=True, slots=True)
class MappedImage:
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
class EmbeddedImage:
    """One file that went through the corridor.

    Attributes:
        sha256: hex digest of the uploaded bytes.
        format: lower-case name of the file format.
        embedding_D: float32, unit length; pooled where ``used`` holds several.
        thumbnail_jpeg: empty unless asked for.
        content_sha256: hex digest of the pixels that the encoder saw.
        info: what the file tells beside its pixels.
        sight: what of it was looked at.
        used: the used frames of a clip, in order, or the regions of a still that has several;
            empty for a still of one.
        mapped: None unless asked for; never of a clip.
        used_png: the pixels that the encoder saw, lossless and without metadata: embedded with
            the mode ``none`` they give the same. None unless asked for; never of a clip or of
            several regions.
    """

    sha256: str
    format: str
    width_px: int
    height_px: int
    embedding_D: Floats
    thumbnail_jpeg: bytes
    content_sha256: str
    info: ImageInfo
    analysis: FrameAnalysis
    used: tuple[FrameEmbedding, ...] = ()
    mapped: MappedImage | None = None
    used_png: bytes | None = None

    @property
    def regions_used(self) -> int:
        """Regions of each frame that were embedded, the largest ones."""
        return 1 + max((frame.region for frame in self.used), default=0)

    @property
    def frames_used(self) -> int:
        """Frames of the file that were embedded."""
        return max(1, len({frame.index for frame in self.used}))


@dataclass(frozen=True, slots=True)
class PipelineLimits:
    """See the settings of the same names."""

    max_image_bytes: int
    max_batch: int
    batch_wait_s: float
    max_queue: int
    decode_threads: int
    decode_processes: int
    clip_frames: str
    region: str
    thumbnail_side_px: int
    decoding: DecodeLimits


class Pipeline:
    """The corridor around one encoder. Use as an async context manager."""

    def __init__(
        self,
        encoder: Encoder,
        limits: PipelineLimits,
        *,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.encoder = encoder
        self._limits = limits
        self._sampling = parse_sampling(limits.clip_frames)
        self._region_mode = parse_region_mode(limits.region)
        self._finder = open_text_finder()
        use_one_thread()
        self._batcher = MicroBatcher(
            _passes_of(encoder),
            max_batch=limits.max_batch,
            max_wait_s=limits.batch_wait_s,
            max_queue=limits.max_queue + limits.decode_processes * WINDOW,
            on_batch=on_batch,
            lanes=[_passes_of(lane) for lane in encoder.lanes],
        )
        self._decoders = ThreadPoolExecutor(limits.decode_threads, thread_name_prefix="decode")
        self._processes = DecoderPool(limits.decode_processes, limits.decoding)
        self._clips = ClipEmbedder(
            self._processes,
            limits.decode_processes,
            self._batcher.submit,
            encoder.spec,
            self._finder,
        )
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
        self._processes.__exit__(kind, error, trace)
        self._clips.close()

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
        self,
        files: Sequence[bytes],
        *,
        sampling: Sampling | None = None,
        region_mode: RegionMode | None = None,
        with_thumbnail: bool = False,
        with_map: bool = False,
        with_png: bool = False,
    ) -> list[EmbeddedImage | ServiceError]:
        """Embed each file; item i is its result or its own error, so one bad file fails alone.

        Args:
            sampling: which frames of a clip are used; None = as the settings say.
            region_mode: what of each frame is used; None = as the settings say.
            with_map: keep the feature map and the frame of a still as well, for a heat map.
            with_png: keep the used pixels of a still as well, as a lossless PNG.

        Raises:
            Overloaded: the whole request does not fit the queue; nothing was done.
            Stopping: the service is shutting down.
        """
        with self._admission(len(files)):
            kept = (with_thumbnail, with_map, with_png)
            how = _EmbedOptions(sampling or self._sampling, region_mode or self._region_mode, *kept)
            work = [self._embed_or_error(data, how) for data in files]
            return await asyncio.gather(*work)

    async def _embed_or_error(
        self, data: bytes, how: "_EmbedOptions"
    ) -> EmbeddedImage | ServiceError:
        try:
            return await self._embed(data, how)
        except ServiceError as error:
            return error

    async def _embed(self, data: bytes, how: "_EmbedOptions") -> EmbeddedImage:
        if len(data) > self._limits.max_image_bytes:
            raise UploadTooLarge(
                f"expected at most {self._limits.max_image_bytes} bytes per image, got {len(data)}"
            )
        if family_of(data) == "still":
            return await self._embed_still(data, how)
        side_px = self._limits.thumbnail_side_px if how.with_thumbnail else None
        clip = await self._clips.embed(
            data,
            how.sampling,
            region_mode=how.region_mode,
            thumbnail_side_px=side_px,
            with_png=how.with_png,
        )
        digest = await asyncio.to_thread(_sha256, data)
        return EmbeddedImage(
            digest,
            clip.info.format,
            clip.info.width_px,
            clip.info.height_px,
            pool(clip.frames),
            clip.thumbnail_jpeg,
            clip.content_sha256,
            clip.info,
            clip.analysis,
            clip.frames if clip.info.kind == "cine" or len(clip.frames) > 1 else (),
            used_png=clip.used_png,
        )

    async def _embed_still(self, data: bytes, how: "_EmbedOptions") -> EmbeddedImage:
        loop = asyncio.get_running_loop()
        seen = await loop.run_in_executor(self._decoders, self._prepare, data, how)
        mapped = None
        if seen.shown_HW is None:
            embedding_D = await self._batcher.submit(seen.prepared.frame_3SS)
        else:
            encoded = await self._batcher.submit_mapped(seen.prepared.frame_3SS)
            embedding_D = encoded.embedding_D
            if encoded.map_Dhw is not None:
                mapped = MappedImage(encoded.map_Dhw, seen.shown_HW)
        info = seen.info
        return EmbeddedImage(
            seen.sha256,
            info.format,
            info.width_px,
            info.height_px,
            embedding_D,
            seen.thumbnail_jpeg,
            content_sha256(iter([seen.prepared.digest])),
            info,
            seen.analysis,
            mapped=mapped,
            used_png=seen.used_png,
        )

    def _prepare(self, data: bytes, how: "_EmbedOptions") -> "_PreparedStill":
        info, frame = read_still(data, self._limits.decoding)
        analyzed = analyze_frame(frame.pixels, self._finder, region_mode=how.region_mode)
        view = analyzed.views[0]
        small = b""
        if how.with_thumbnail:
            small = thumbnail(view.shown_hw, side_px=self._limits.thumbnail_side_px)
        prepared = prepare(frame, view.used_hw, self.encoder.spec)
        shown_HW = shrunk(view.used_hw, OVERLAY_SIDE_PX) if how.with_map else None
        png = encode_png(view.used_hw) if how.with_png else None
        return _PreparedStill(
            _sha256(data), info, prepared, small, analyzed.analysis, shown_HW, png
        )


@dataclass(frozen=True, slots=True)
class _EmbedOptions:
    """What a request wants of each file."""

    sampling: Sampling
    region_mode: RegionMode
    with_thumbnail: bool
    with_map: bool
    with_png: bool


@dataclass(frozen=True, slots=True)
class _PreparedStill:
    """A still between its decoding and the encoder."""

    sha256: str
    info: ImageInfo
    prepared: PreparedFrame
    thumbnail_jpeg: bytes
    analysis: FrameAnalysis
    shown_HW: Pixels | None
    used_png: bytes | None


def _passes_of(encoder: Encoder) -> Passes:
    return Passes(encoder.encode, encoder.encode_mapped)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
