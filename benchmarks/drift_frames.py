"""Real frames, disturbed as machines and users disturb them, and their embeddings.

Shape suffixes: N frames, H W frame, D embedding width.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from training.catalogue.contents import content_of
from training.catalogue.manifest import ManifestRow, load_frames
from training.evaluation.encoders import BundleEncoder, embed
from training.evaluation.protocol import LabelledSet

Frame: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
Disturb: TypeAlias = Callable[[Frame], Frame]

DISTURBED_FRAMES = 250  # of each set, in whole groups


def _gain(frame_HW: Frame, decibel: float) -> Frame:
    """Amplitudes times 10 ** (dB / 20), cut at white."""
    louder_HW = np.clip(frame_HW.astype(np.float32) * 10 ** (decibel / 20), 0, 255)
    return louder_HW.astype(np.uint8)


def _blur(frame_HW: Frame, share: float) -> Frame:
    """A Gaussian whose standard deviation is a share of the longer side."""
    return cv2.GaussianBlur(frame_HW, (0, 0), share * max(frame_HW.shape)).astype(np.uint8)


def _crop(frame_HW: Frame, share: float) -> Frame:
    """The middle, with this share of each side."""
    height, width = frame_HW.shape
    top, left = int(height * (1 - share) / 2), int(width * (1 - share) / 2)
    return np.ascontiguousarray(frame_HW[top : height - top, left : width - left])


def _other_probe(frame_HW: Frame) -> Frame:
    """Coarser across than along the beams, flatter greys, and 1.3 times the depth.

    A stand-in: no set here shows one organ by two probes.
    """
    height, width = frame_HW.shape
    coarse_HW = cv2.GaussianBlur(frame_HW, (0, 0), sigmaX=0.012 * width, sigmaY=0.003 * height)
    flat_HW = 255 * (coarse_HW.astype(np.float32) / 255) ** 0.7
    small_HW = cv2.resize(flat_HW, (width, max(8, round(height / 1.3))))
    deeper_HW = np.zeros((height, width), np.float32)
    deeper_HW[: len(small_HW)] = small_HW
    return np.clip(deeper_HW, 0, 255).astype(np.uint8)


DISTURBANCES: dict[str, Disturb] = {
    "untouched": lambda frame: frame,
    "gain +6 dB": lambda frame: _gain(frame, 6),
    "gain -6 dB": lambda frame: _gain(frame, -6),
    "blur 1 %": lambda frame: _blur(frame, 0.01),
    "crop 70 %": lambda frame: _crop(frame, 0.7),
    "other probe": _other_probe,
}


@dataclass(frozen=True, slots=True)
class Halves:
    """Numbers of the rows of a set, by groups: half of them teach, the others come in use.

    Attributes:
        disturbed: some groups of the second half, of which disturbed frames are embedded.
    """

    support: Ints
    stream: Ints
    disturbed: Ints


def halves(labelled: LabelledSet, *, seed: int = 0) -> Halves:
    """The halves of a set, the same for every run."""
    groups = np.random.default_rng(seed).permutation(np.unique(labelled.groups_N))
    is_stream_N = np.isin(labelled.groups_N, groups[: len(groups) // 2])
    stream = np.flatnonzero(is_stream_N)
    chosen: list[int] = []
    for group in groups[: len(groups) // 2]:
        if len(chosen) < DISTURBED_FRAMES:
            chosen += np.flatnonzero(labelled.groups_N == group).tolist()
    return Halves(np.flatnonzero(~is_stream_N), stream, np.array(sorted(chosen)))


def disturbed_features(
    encoder: BundleEncoder, rows: Sequence[ManifestRow], name: str, folder: Path
) -> Floats:
    """embeddings_ND of the frames of some rows after one disturbance, computed once."""
    digest = hashlib.sha256(f"{content_of(rows)} {name}".encode()).hexdigest()[:24]
    path = folder / f"{encoder.key}-{digest}.npy"
    if path.exists():
        stored: Floats = np.load(path, allow_pickle=False)
        return stored
    disturb = DISTURBANCES[name]
    rows_ND = embed(encoder, [disturb(frame) for frame in load_frames(rows)])
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npy")
    np.save(partial, rows_ND, allow_pickle=False)
    partial.replace(path)
    return rows_ND
