"""The embeddings of a clip's frames -> one embedding, and the frames worth keeping.

Shape suffixes: T frames, D embedding width.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
# In real clips shown-twice frames are at 0.995 and above, all others below 0.99 (decision 0013).
REPEAT_COSINE = 0.995


@dataclass(frozen=True, slots=True)
class FrameEmbedding:
    """One used frame of a clip, or one region of a frame.

    Attributes:
        index: place of the frame in the file, from 0.
        time_s: since the first frame of the file, None when unknown.
        embedding_D: float32, unit length.
        copies: frames of the clip that it stands for, itself included.
        region: which of the used regions of the frame, 0 = the largest.
    """

    index: int
    time_s: float | None
    embedding_D: Floats
    copies: int = 1
    region: int = 0


def place_of(frame: FrameEmbedding, regions_used: int) -> int:
    """The one number under which a region of a frame is kept; of one region, the frame's own."""
    return frame.index * regions_used + frame.region


def index_and_region(place: int, regions_used: int) -> tuple[int, int]:
    """What ``place_of`` made one of."""
    return divmod(place, regions_used)


def pool(frames: tuple[FrameEmbedding, ...]) -> Floats:
    """Mean of the unit embeddings, each as often as it has copies, made unit: float32 (D,)."""
    embeddings_TD = np.stack([frame.embedding_D for frame in frames]).astype(np.float64)
    weights_T = np.array([frame.copies for frame in frames], np.float64)
    mean_D = weights_T @ embeddings_TD
    length = float(np.linalg.norm(mean_D))
    # Opposite frames may cancel: then the first stands for all.
    unit_D: Floats = (mean_D / length if length > 1e-9 else embeddings_TD[0]).astype(np.float32)
    return unit_D


def without_repeats(
    frames: tuple[FrameEmbedding, ...], least_cosine: float = REPEAT_COSINE
) -> tuple[FrameEmbedding, ...]:
    """Each frame that differs from all kept before it; the others count as copies of these."""
    kept: list[FrameEmbedding] = []
    for frame in frames:
        if kept:
            cosines_T = np.stack([k.embedding_D for k in kept]) @ frame.embedding_D
            nearest = int(cosines_T.argmax())
            if float(cosines_T[nearest]) >= least_cosine:
                same = kept[nearest]
                kept[nearest] = replace(same, copies=same.copies + frame.copies)
                continue
        kept.append(frame)
    return tuple(kept)
