"""Limits on the cost of decoding one file, and the checks that enforce them."""

from dataclasses import dataclass

from service.errors import ClipTooLong, CorruptImage, ImageTooLarge

MIN_SIDE_PX = 8


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """See the settings of the same names.

    Attributes:
        max_pixels: width x height of one frame.
        max_clip_frames: frames in a file, used or not.
        max_clip_s: length of a clip by its own timing.
        max_decode_bytes: memory of decoding beyond that of the program itself.
        max_decode_s: wall-clock time for one file.
    """

    max_pixels: int = 50_000_000
    max_clip_frames: int = 3_000
    max_clip_s: float = 300.0
    max_decode_bytes: int = 1_500_000_000
    max_decode_s: float = 60.0


def check_size(width_px: int, height_px: int, limits: DecodeLimits) -> None:
    """Raises ImageTooLarge, or CorruptImage: a side is shorter than ``MIN_SIDE_PX``."""
    if width_px * height_px > limits.max_pixels:
        raise ImageTooLarge(
            f"expected at most {limits.max_pixels} pixels, got {width_px} x {height_px}"
        )
    if min(width_px, height_px) < MIN_SIDE_PX:
        raise CorruptImage(
            f"expected sides of at least {MIN_SIDE_PX} px, got {width_px} x {height_px}"
        )


def check_length(frames: int, rate_hz: float | None, limits: DecodeLimits) -> None:
    """Raises ClipTooLong: more frames, or more seconds at this rate, than allowed."""
    if frames > limits.max_clip_frames:
        raise ClipTooLong(f"expected at most {limits.max_clip_frames} frames, got {frames}")
    if frames > 1 and rate_hz:
        check_time(frames / rate_hz, limits)


def check_time(duration_s: float, limits: DecodeLimits) -> None:
    """Raises ClipTooLong: more seconds than allowed."""
    if duration_s > limits.max_clip_s:
        raise ClipTooLong(
            f"expected a clip of at most {limits.max_clip_s:g} s, got {duration_s:.0f} s"
        )
