"""The embeddings of the frames of a clip -> one embedding, and the frames to keep.

Shape suffixes: T frames, D embedding width, V views of a frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.arrays import Floats

# In real clips repeated frames have 0.995 and more, all other pairs less than 0.99 (decision 0013).
REPEAT_COSINE = 0.995


@dataclass(frozen=True, slots=True)
class FrameEmbedding:
    """One used frame of a clip, or one region of a frame.

    Attributes:
        index: of the frame in the file, from 0.
        time_s: since the first frame of the file, None when unknown.
        embedding_D: float32, unit length.
        copies: number of frames of the clip that it represents, itself included.
        region: which of the used regions of the frame, 0 = the largest.
        views_VD: the embeddings of its views, the first as ``embedding_D``; None unless requested.
    """

    index: int
    time_s: float | None
    embedding_D: Floats
    copies: int = 1
    region: int = 0
    views_VD: Floats | None = None

    @property
    def view_mean(self) -> Floats | None:
        """Mean embedding of its views, unit length; None unless they were requested."""
        return None if self.views_VD is None else mean_of_views(self.views_VD)


def place_of(frame: FrameEmbedding, regions_used: int) -> int:
    """The number under which a region of a frame is stored; with one region, the frame index."""
    return frame.index * regions_used + frame.region


def index_and_region(place: int, regions_used: int) -> tuple[int, int]:
    """The inverse of ``place_of``."""
    return divmod(place, regions_used)


def pool(frames: tuple[FrameEmbedding, ...]) -> Floats:
    """Mean of the unit embeddings, weighted by their copies, at unit length: float32 (D,)."""
    return _mean([frame.embedding_D for frame in frames], [frame.copies for frame in frames])


def pool_means(frames: tuple[FrameEmbedding, ...]) -> Floats | None:
    """As ``pool``, of the means of the views; None where a frame has none."""
    views = [mean_D for frame in frames if (mean_D := frame.view_mean) is not None]
    if not views or len(views) < len(frames):
        return None
    return _mean(views, [frame.copies for frame in frames])


def pool_views(frames: tuple[FrameEmbedding, ...]) -> Floats | None:
    """As ``pool`` of each view, float32 (V, D); None where a frame has none."""
    views = [frame.views_VD for frame in frames if frame.views_VD is not None]
    if not views or len(views) < len(frames):
        return None
    copies = [frame.copies for frame in frames]
    return np.stack([_mean(same_TD, copies) for same_TD in zip(*views, strict=True)])


def mean_of_views(views_VD: Floats) -> Floats:
    """The mean embedding of the views of one region, at unit length: float32 (D,)."""
    return _mean(list(views_VD), [1] * len(views_VD))


def _mean(embeddings: Sequence[Floats], copies: Sequence[int]) -> Floats:
    embeddings_TD = np.stack(embeddings).astype(np.float64)
    mean_D = np.array(copies, np.float64) @ embeddings_TD
    length = float(np.linalg.norm(mean_D))
    # Opposite embeddings may cancel; then the first one represents all.
    return np.asarray(mean_D / length if length > 1e-9 else embeddings_TD[0], np.float32)


def without_repeats(
    frames: tuple[FrameEmbedding, ...], min_cosine: float = REPEAT_COSINE
) -> tuple[FrameEmbedding, ...]:
    """The frames that differ from all earlier kept frames; the others become copies of these."""
    kept: list[FrameEmbedding] = []
    for frame in frames:
        if kept:
            cosines_T = np.stack([k.embedding_D for k in kept]) @ frame.embedding_D
            nearest = int(cosines_T.argmax())
            if float(cosines_T[nearest]) >= min_cosine:
                same = kept[nearest]
                kept[nearest] = replace(same, copies=same.copies + frame.copies)
                continue
        kept.append(frame)
    return tuple(kept)
