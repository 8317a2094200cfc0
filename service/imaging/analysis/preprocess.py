"""uint8 frame -> encoder input: the one definition, used by the service and by training.

Shape suffixes: T frames, H height, W width, S encoder side, C = 3 channels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from service.arrays import Floats, Pixels
from service.errors import InputError

SQUASH = "squash_bicubic"  # both sides resized to S; the aspect ratio is not kept
SQUASH_REDUCED = "squash_bicubic_reduced"  # the same, of a large frame at half its size, or less
RESIZE_RULES = (SQUASH, SQUASH_REDUCED)
REDUCING_GAP = 2  # sides of a reduced frame over those of the result, at least
MAX_BORDER = 0.5


@dataclass(frozen=True, slots=True)
class PreprocessSpec:
    """The input that one encoder expects; stored in its manifest, part of its ``encoder_id``.

    Attributes:
        side_px: S, side of the square input.
        mean: per channel, on intensities scaled to [0, 1].
        std: per channel, same scale, all above 0.
        resize: one of ``RESIZE_RULES``; ``SQUASH`` in bundles before 0.5.0.
        border: width of the black border around the frame, as a share of the frame's side; 0 in
            bundles before 0.5.0.
    """

    side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: str = SQUASH
    border: float = 0.0

    def __post_init__(self) -> None:
        if not 16 <= self.side_px <= 2048:
            raise InputError(f"expected side_px in 16..2048, got {self.side_px}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise InputError("expected three means and three standard deviations above 0")
        if self.resize not in RESIZE_RULES:
            raise InputError(f"expected a resize rule of {RESIZE_RULES}, got {self.resize!r}")
        if not 0 <= self.border <= MAX_BORDER:
            raise InputError(f"expected a border in 0..{MAX_BORDER}, got {self.border}")

    @property
    def border_px(self) -> int:
        """Width of the black border in the square."""
        return round(self.side_px * self.border / (1 + 2 * self.border))


def preprocess(frames_THW: Pixels, spec: PreprocessSpec) -> Floats:
    """Resize, border, scale and normalise greyscale frames.

    Args:
        frames_THW: uint8 intensities, 0 = black, one plane per frame.
        spec: of the encoder.

    Returns:
        float32, shape (T, 3, S, S), the grey plane repeated over C.

    Raises:
        InputError: the frames are not uint8, or have not three axes, or one of them is empty.
    """
    if frames_THW.dtype != np.uint8 or frames_THW.ndim != 3 or 0 in frames_THW.shape:
        raise InputError(
            f"expected non-empty uint8 frames of shape (T, H, W), "
            f"got {frames_THW.dtype} {frames_THW.shape}"
        )
    frames_TSS = np.stack([fit(frame_HW, spec) for frame_HW in frames_THW])
    return normalise(frames_TSS, spec)


def fit(frame_HW: Pixels, spec: PreprocessSpec) -> Pixels:
    """Return the frame as uint8 (S, S): resized, with the black border of the encoder."""
    side_px, border_px = spec.side_px, spec.border_px
    inner_px = side_px - 2 * border_px
    resized_SS = resize(frame_HW, inner_px, is_reduced=spec.resize == SQUASH_REDUCED)
    if not border_px:
        return resized_SS
    framed_SS = np.zeros((side_px, side_px), np.uint8)
    inner = slice(border_px, side_px - border_px)
    framed_SS[inner, inner] = resized_SS
    return framed_SS


def resize(frame_HW: Pixels, side_px: int, *, is_reduced: bool = False) -> Pixels:
    """Return the frame as uint8 (S, S): bicubic with antialiasing, aspect ratio not kept.

    Args:
        is_reduced: halve the frame first, as often as both of its sides stay ``REDUCING_GAP``
            times S or longer. A frame with a side below four times S is the same either way.
    """
    if frame_HW.shape == (side_px, side_px):
        return frame_HW
    height, width = frame_HW.shape
    halvings = 0
    while is_reduced and min(height, width) >= 2 ** (halvings + 1) * REDUCING_GAP * side_px:
        frame_HW = _halved(frame_HW)
        halvings += 1
    # Pillow counts an odd line, which was repeated before it was halved, by half.
    box = (0.0, 0.0, width / 2**halvings, height / 2**halvings)
    image = Image.fromarray(frame_HW).resize((side_px, side_px), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image)


def _halved(frame_HW: Pixels) -> Pixels:
    """Means of 2 x 2 pixels; an odd line is repeated."""
    height, width = frame_HW.shape
    if height % 2 or width % 2:
        frame_HW = np.asarray(
            cv2.copyMakeBorder(frame_HW, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        )
    size = (frame_HW.shape[1] // 2, frame_HW.shape[0] // 2)
    return np.asarray(cv2.resize(frame_HW, size, interpolation=cv2.INTER_AREA), np.uint8)


def normalise(frames_TSS: Pixels, spec: PreprocessSpec) -> Floats:
    """Return float32 (T, 3, S, S): intensities in [0, 1], minus mean, over std, per channel."""
    scale_C = (1 / (255 * np.asarray(spec.std))).astype(np.float32)
    offset_C = (np.asarray(spec.mean) / np.asarray(spec.std)).astype(np.float32)
    planes_T1SS = frames_TSS[:, None].astype(np.float32)
    return np.asarray(planes_T1SS * scale_C[:, None, None] - offset_C[:, None, None])
