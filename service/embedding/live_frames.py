"""The frames of one live stream -> their embeddings, one frame at a time.

Streams have a thread of their own for decoding and a turn of their own in the encoder's queue, so
that neither the files of a workspace nor its streams wait for all of the other.

Shape suffixes: H height, W width, 3 = red, green, blue, D embedding width.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, TypeAlias

import numpy as np

from service.arrays import Floats, Pixels
from service.embedding.pooling import FrameEmbedding, pool
from service.errors import CorruptImage, ImageTooLarge, UnsupportedFormat
from service.fairness.fair_threads import FairThreads
from service.fairness.workspace_turn import current_workspace, working_for
from service.imaging.analysis.frame_analysis import RegionMode
from service.imaging.analysis.live_scene import LiveScene
from service.imaging.analysis.preprocess import PreprocessSpec, preprocess
from service.imaging.analysis.text import TextFinder
from service.imaging.formats.frames import without_colour
from service.imaging.formats.limits import MIN_SIDE_PX, DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from service.imaging.formats.still_cost import MAX_PIXELS, is_ordinary

PixelFormat: TypeAlias = Literal["grey8", "rgb24"]
CHANNELS: dict[PixelFormat, int] = {"grey8": 1, "rgb24": 3}
LIVE_TURN = "/live"  # behind the id of the workspace, in the queues


@dataclass(frozen=True, slots=True)
class RawPicture:
    """A frame as rows of pixels from the top, without padding."""

    pixel_format: PixelFormat
    width_px: int
    height_px: int
    data: bytes

    def pixels(self, max_pixels: int) -> Pixels:
        """uint8 (H, W), or (H, W, 3) where it holds colour.

        Raises:
            ImageTooLarge, CorruptImage: too large or too small, or of other bytes than its size.
        """
        width, height = self.width_px, self.height_px
        if width * height > max_pixels:
            raise ImageTooLarge(f"expected at most {max_pixels} pixels, got {width} x {height}")
        if min(width, height) < MIN_SIDE_PX:
            raise CorruptImage(f"expected sides of {MIN_SIDE_PX} px, got {width} x {height}")
        channels = CHANNELS[self.pixel_format]
        expected = width * height * channels
        if len(self.data) != expected:
            raise CorruptImage(
                f"expected {expected} bytes of {width} x {height} {self.pixel_format}, "
                f"got {len(self.data)}"
            )
        flat = np.frombuffer(self.data, np.uint8)
        if channels == 1:
            return flat.reshape(height, width)
        return without_colour(flat.reshape(height, width, channels))


class RegionQueue(Protocol):
    """The part of ``MicroBatcher`` that embeds one preprocessed frame, float32 (3, S, S)."""

    async def submit(self, frame_3SS: Floats) -> Floats:
        """The embedding, float32 (D,)."""


class FrameMeter(Protocol):
    """The part of ``WorkMeter`` that counts live frames, and may refuse one."""

    def admit_files(self, files: int) -> None:
        """Called before a frame is looked at."""


@dataclass(frozen=True, slots=True)
class LiveParts:
    """What the streams of one pipeline share.

    Attributes:
        timed: a context manager around the decoding of a frame, which is given "decode"; it also
            counts the time for the caller.
        meter: None = nobody counts frames.
    """

    encoder: RegionQueue
    spec: PreprocessSpec
    finder: TextFinder
    threads: FairThreads
    timed: Callable[[str], AbstractContextManager[None]]
    meter: FrameMeter | None = None
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """One embedded frame.

    Attributes:
        embedding_D: float32, unit length; the mean over regions where there are several.
        findings: names of the quality findings.
        decode_s, encode_s: what it took, with the wait for a thread and for the encoder.
    """

    embedding_D: Floats
    findings: frozenset[str]
    width_px: int
    height_px: int
    decode_s: float
    encode_s: float


class LiveFrames:
    """Embeds the frames of one stream, in order and one at a time."""

    def __init__(self, parts: LiveParts, region_mode: RegionMode) -> None:
        self._parts = parts
        self._region_mode = region_mode
        self.reset()

    def reset(self) -> None:
        """Look for the regions again in the next frame."""
        self._scene = LiveScene(self._parts.finder, self._region_mode)

    async def embed(self, picture: bytes | RawPicture, time_s: float) -> LiveFrame:
        """Decode and embed one frame.

        Args:
            picture: a JPEG or PNG file, or pixels.
            time_s: when it was taken; never falls.

        Raises:
            InputError: the picture cannot be read, or the region is not inside it.
            RateLimited: the meter refuses it.
            EncoderFailure, Overloaded, Stopping: as ``MicroBatcher.submit``.
        """
        parts, began_s = self._parts, time.monotonic()
        if parts.meter is not None:
            parts.meter.admit_files(1)
        with working_for(current_workspace() + LIVE_TURN):
            work = partial(copy_context().run, self._prepare, picture, time_s)
            job = parts.threads.submit(current_workspace(), work)
            frames, findings, (height, width) = await asyncio.wrap_future(job)
            decoded_s = time.monotonic()
            rows = await asyncio.gather(*map(parts.encoder.submit, frames))
        embedding_D = rows[0]
        if len(rows) > 1:
            pooled = [FrameEmbedding(0, None, row, region=r) for r, row in enumerate(rows)]
            embedding_D = pool(tuple(pooled))
        ended_s = time.monotonic()
        times = (decoded_s - began_s, ended_s - decoded_s)
        return LiveFrame(embedding_D, findings, width, height, *times)

    def _prepare(
        self, picture: bytes | RawPicture, time_s: float
    ) -> tuple[list[Floats], frozenset[str], tuple[int, int]]:
        """On a thread: the input of the encoder for each region."""
        with self._parts.timed("decode"):
            pixels = _pixels_of(picture, self._parts.max_pixels)
            used = self._scene.use(pixels, time_s)
            frames = [preprocess(used_hw[None], self._parts.spec)[0] for used_hw in used]
        findings = frozenset(finding.reason for finding in self._scene.findings)
        return frames, findings, (pixels.shape[0], pixels.shape[1])


def _pixels_of(picture: bytes | RawPicture, max_pixels: int) -> Pixels:
    """Raises UnsupportedFormat, CorruptImage, ImageTooLarge."""
    if isinstance(picture, RawPicture):
        return picture.pixels(max_pixels)
    is_known = picture[:2] == b"\xff\xd8" or picture[:8] == b"\x89PNG\r\n\x1a\n"
    # What may be costly belongs into a process with limits, and those are for files.
    if not is_known or not is_ordinary(picture):
        raise UnsupportedFormat(f"expected an ordinary JPEG or PNG of at most {max_pixels} pixels")
    (frame,) = read(picture, Sampling(), DecodeLimits(max_pixels=max_pixels))
    return frame.pixels
