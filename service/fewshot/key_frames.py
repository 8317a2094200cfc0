"""One answer for many frames of a cine, and which frames it comes from.

The cine's embedding is the mean of its frames' unit embeddings at unit length, the same as that
of a stored clip, and the head is linear in it. So the logit's image term is the mean over frames
of w . u(t) / |mean u|: each frame's share is exact, as each place's is in an activation map. A
frame that stands for several counts as often in both means.

Shape suffixes: T frames, C classes, D embedding width.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.fewshot.activation_map import contrast
from service.fewshot.head import LEAST_LENGTH, LinearHead, unit_rows

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
CARRIED_SHARE = 0.5  # of all that speaks for a class; frames that give it "carried" the answer


@dataclass(frozen=True, slots=True)
class FrameTerms:
    """What each frame gives to the logits of the whole cine.

    Attributes:
        embedding_D: float32, unit length: of the cine.
        terms_TC: float64; the mean over frames is the image term of each class's logit.
        shares_T: of each frame in that mean; they sum to 1.
        bias_C: the rest of the logit.
    """

    embedding_D: Floats
    terms_TC: Doubles
    shares_T: Doubles
    bias_C: Doubles

    @property
    def logits(self) -> Doubles:
        """(C,) what the head gives the cine, before calibration."""
        logits_C: Doubles = self.shares_T @ self.terms_TC + self.bias_C
        return logits_C

    def speaks_for(self, chosen: int) -> Doubles:
        """(T,) how much each frame speaks for a class rather than for the others.

        Raises:
            InputError: no such class.
        """
        return contrast(self.terms_TC.T[..., None], chosen)[:, 0]


def frame_terms(
    head: LinearHead,
    embeddings_TD: npt.NDArray[np.floating],
    copies_T: npt.NDArray[np.number] | None = None,
) -> FrameTerms:
    """Share the logits of a cine out among its frames.

    Args:
        embeddings_TD: of its frames, in order; their lengths do not count.
        copies_T: frames that each stands for, above 0; None = itself alone.

    Raises:
        InputError: no frames, another width, zero or non-finite rows, rows that cancel out, or
            copies that do not fit.
    """
    unit_TD = unit_rows(np.asarray(embeddings_TD))
    width = head.weights_CD.shape[1]
    if not len(unit_TD) or unit_TD.shape[1] != width:
        raise InputError(f"expected frames of width {width}, got {unit_TD.shape}")
    counts_T = np.ones(len(unit_TD)) if copies_T is None else np.asarray(copies_T, np.float64)
    if counts_T.shape != (len(unit_TD),) or not (np.isfinite(counts_T) & (counts_T > 0)).all():
        raise InputError(f"expected {len(unit_TD)} numbers of copies above 0")
    shares_T = counts_T / counts_T.sum()
    mean_D = shares_T @ unit_TD
    length = float(np.linalg.norm(mean_D))
    if length <= LEAST_LENGTH:
        raise InputError("the embeddings of the frames cancel each other out")
    terms_TC = unit_TD @ head.weights_CD.T.astype(np.float64) / length
    embedding_D = (mean_D / length).astype(np.float32)
    return FrameTerms(embedding_D, terms_TC, shares_T, head.bias_C.astype(np.float64))


def carried_by(speaks_T: Doubles, share: float = CARRIED_SHARE) -> list[int]:
    """The fewest frames that give a share of all that speaks for a class, strongest first.

    Empty when no frame speaks for it.
    """
    for_T = np.maximum(speaks_T, 0)
    if not for_T.any():
        return []
    order_T = np.argsort(-for_T, kind="stable")
    given_T = np.cumsum(for_T[order_T]) / for_T.sum()
    enough = int(np.searchsorted(given_T, share - 1e-9)) + 1
    found: list[int] = order_T[:enough].tolist()
    return found
