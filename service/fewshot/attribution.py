"""Which places of a frame, and which frames of a cine, a logit comes from.

Heads are linear, so both are exact. The embedding is the mean over places of the feature map f,
divided by the length of that mean (see the bundle's format). So the image term of a logit is the
mean over places of w . f(y, x) / |mean f|, and that product is the class activation map.

The embedding of a cine is the mean of its frames' unit embeddings u(t), scaled to unit length. So
the image term is the mean over frames of w . u(t) / |mean u|. A frame that stands for several
frames counts as often in both means.

Shape suffixes: N rows, T frames, C classes, D embedding width, h w places.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.arrays import Doubles, Floats
from service.errors import InputError
from service.fewshot.classifier import PRESENT_NUMBER, FewShotClassifier
from service.fewshot.head import MIN_LENGTH, LinearHead, unit_rows

KEY_SHARE = 0.5  # of all positive contributions; key frames are the fewest that give it


@dataclass(frozen=True, slots=True)
class ActivationMaps:
    """One map per class.

    Attributes:
        maps_Chw: float64; the mean of each is the image term of that class's logit.
        bias_C: the rest of the logit.
    """

    maps_Chw: Doubles
    bias_C: Doubles

    @property
    def logits(self) -> Doubles:
        """(C,) what the head gives this frame, before calibration."""
        logits_C: Doubles = self.maps_Chw.mean((1, 2)) + self.bias_C
        return logits_C


def activation_maps(head: LinearHead, feature_map_Dhw: npt.NDArray[np.floating]) -> ActivationMaps:
    """Divide the logits of one frame among its places.

    Args:
        feature_map_Dhw: from the encoder; its mean over places has the embedding's direction.

    Raises:
        InputError: another width, not three axes, not finite, or a mean of length 0.
    """
    wide_Dhw = np.asarray(feature_map_Dhw, np.float64)
    width = head.weights_CD.shape[1]
    if wide_Dhw.ndim != 3 or len(wide_Dhw) != width or 0 in wide_Dhw.shape:
        raise InputError(f"expected a feature map of shape ({width}, h, w), got {wide_Dhw.shape}")
    length = float(np.linalg.norm(wide_Dhw.mean((1, 2))))
    if not np.isfinite(wide_Dhw).all() or length <= MIN_LENGTH:
        raise InputError("expected a finite feature map whose mean has a length above 0")
    weights_CD = head.weights_CD.astype(np.float64)
    maps_Chw = np.tensordot(weights_CD, wide_Dhw, axes=1) / length
    return ActivationMaps(maps_Chw, head.bias_C.astype(np.float64))


def contrast(maps_Chw: Doubles, chosen: int) -> Doubles:
    """(h, w) the map of a class minus the mean map of the others.

    Softmax depends on differences of logits only: what raises all classes explains nothing.

    Raises:
        InputError: no such class.
    """
    if not 0 <= chosen < len(maps_Chw):
        raise InputError(f"expected a class number of 0 to {len(maps_Chw) - 1}, got {chosen}")
    difference_hw: Doubles = maps_Chw[chosen] - np.delete(maps_Chw, chosen, axis=0).mean(0)
    return difference_hw


@dataclass(frozen=True, slots=True)
class FrameTerms:
    """What each frame adds to the logits of the whole cine.

    Attributes:
        embedding_D: of the cine, float32 of unit length.
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

    def contributions(self, chosen: int) -> Doubles:
        """(T,) how much each frame favours a class over the others.

        Raises:
            InputError: no such class.
        """
        return contrast(self.terms_TC.T[..., None], chosen)[:, 0]


def frame_terms(
    head: LinearHead,
    embeddings_TD: npt.NDArray[np.floating],
    copies_T: npt.NDArray[np.number] | None = None,
) -> FrameTerms:
    """Divide the logits of a cine among its frames.

    Args:
        embeddings_TD: of its frames, in order; their lengths do not count.
        copies_T: how many frames each stands for, above 0; None = 1 each.

    Raises:
        InputError: no frames, another width, zero or non-finite rows, rows that cancel out, or
            copies that do not fit.
    """
    unit_TD = unit_rows(embeddings_TD)
    width = head.weights_CD.shape[1]
    if not len(unit_TD) or unit_TD.shape[1] != width:
        raise InputError(f"expected frames of width {width}, got {unit_TD.shape}")
    counts_T = np.ones(len(unit_TD)) if copies_T is None else np.asarray(copies_T, np.float64)
    if counts_T.shape != (len(unit_TD),) or not (np.isfinite(counts_T) & (counts_T > 0)).all():
        raise InputError(f"expected {len(unit_TD)} numbers of copies above 0")
    shares_T = counts_T / counts_T.sum()
    mean_D = shares_T @ unit_TD
    length = float(np.linalg.norm(mean_D))
    if length <= MIN_LENGTH:
        raise InputError("the embeddings of the frames cancel each other out")
    terms_TC = unit_TD @ head.weights_CD.T.astype(np.float64) / length
    embedding_D = (mean_D / length).astype(np.float32)
    return FrameTerms(embedding_D, terms_TC, shares_T, head.bias_C.astype(np.float64))


def key_frames(contributions_T: Doubles, share: float = KEY_SHARE) -> list[int]:
    """The fewest frames that give a share of all positive contributions, strongest first.

    Empty when no contribution is positive.
    """
    positive_T = np.maximum(contributions_T, 0)
    if not positive_T.any():
        return []
    order_T = np.argsort(-positive_T, kind="stable")
    sums_T = np.cumsum(positive_T[order_T]) / positive_T.sum()
    enough = int(np.searchsorted(sums_T, share - 1e-9)) + 1
    frames: list[int] = order_T[:enough].tolist()
    return frames


@dataclass(frozen=True, slots=True)
class OutputMap:
    """The activation map of one output of a classifier.

    The calibrated probability is the softmax of (image_logit + bias) / temperature over the classes
    of a single-label classifier, and the sigmoid of it for a label.

    Attributes:
        map_hw: float64; its mean is the image term of the logit (of a label: of its log odds).
        contrast_hw: how much each place favours the output over the others; a picture shows it.
    """

    label: str
    map_hw: Doubles
    contrast_hw: Doubles
    bias: float
    temperature: float

    @property
    def image_logit(self) -> float:
        """The image term of the logit."""
        return float(self.map_hw.mean())


def output_maps(
    classifier: FewShotClassifier, feature_map_Dhw: npt.NDArray[np.floating]
) -> tuple[OutputMap, ...]:
    """One map per output. Raises InputError: as ``activation_maps``."""
    maps: list[OutputMap] = []
    for label, head in classifier.heads.items():
        activation = activation_maps(head.head, feature_map_Dhw)
        temperature = head.calibrator.calibration.temperature
        if label is not None:
            odds_hw = contrast(activation.maps_Chw, PRESENT_NUMBER)
            bias = float(np.diff(activation.bias_C)[0])
            maps.append(OutputMap(label, odds_hw, odds_hw, bias, temperature))
            continue
        maps += [
            OutputMap(name, map_hw, contrast(activation.maps_Chw, c), float(bias), temperature)
            for c, (name, map_hw, bias) in enumerate(
                zip(head.head.classes, activation.maps_Chw, activation.bias_C, strict=True)
            )
        ]
    return tuple(maps)


@dataclass(frozen=True, slots=True)
class OutputFrames:
    """What each frame of a cine adds to one output.

    Attributes:
        probabilities_T: of each frame alone, calibrated.
        image_logits_T: their mean, weighted by the frames each stands for, is that of the cine.
        contributions_T: how much each frame favours the output over the others.
        key_frames: the fewest frames that give half of all positive contributions.
    """

    label: str
    probabilities_T: Doubles
    image_logits_T: Doubles
    contributions_T: Doubles
    key_frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CineAttribution:
    """The frames of a cine as one query; ``embedding_D`` is float32 of unit length."""

    embedding_D: Floats
    outputs: tuple[OutputFrames, ...]


def cine_attribution(
    classifier: FewShotClassifier, embeddings_TD: Floats, copies: Sequence[int] | None = None
) -> CineAttribution:
    """Pool the frames of a cine. Args and Raises: as ``frame_terms``."""
    copies_T = None if copies is None else np.asarray(copies)
    outputs: list[OutputFrames] = []
    for label, head in classifier.heads.items():
        terms = frame_terms(head.head, embeddings_TD, copies_T)
        alone_TC = head.probabilities(embeddings_TD)
        classes = range(len(head.head.classes)) if label is None else (PRESENT_NUMBER,)
        for c in classes:
            contributions_T = terms.contributions(c)
            outputs.append(
                OutputFrames(
                    head.head.classes[c] if label is None else label,
                    alone_TC[:, c],
                    terms.terms_TC[:, c] if label is None else contributions_T,
                    contributions_T,
                    tuple(key_frames(terms.shares_T * contributions_T)),
                )
            )
    return CineAttribution(terms.embedding_D, tuple(outputs))
