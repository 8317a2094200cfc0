"""What stands behind one answer: its place in the frame, its frames in the cine, its thresholds.

Shape suffixes: T frames, C classes, D embedding width, h w places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.classifiers.loaded import Doubles, Floats, LoadedClassifier
from service.classifiers.thresholds import stored_thresholds
from service.errors import InputError
from service.fewshot.activation_map import activation_maps, contrast
from service.fewshot.key_frames import carried_by, frame_terms
from service.fewshot.operating_points import Decision, decide


@dataclass(frozen=True, slots=True)
class Heat:
    """Activation maps of one frame.

    Attributes:
        maps_Chw: float64; the mean of each is the image term of its class's logit.
        bias_C: the rest of the logit.
        contrast_hw: what speaks for the chosen class rather than for the others.
    """

    maps_Chw: Doubles
    bias_C: Doubles
    contrast_hw: Doubles


def heat_of(loaded: LoadedClassifier, map_Dhw: Floats, label: str) -> Heat:
    """Share the logits of a frame out among its places.

    Raises:
        InputError: no such class, or a feature map of another encoder.
    """
    found = activation_maps(loaded.head, map_Dhw)
    return Heat(found.maps_Chw, found.bias_C, contrast(found.maps_Chw, class_of(loaded, label)))


def class_of(loaded: LoadedClassifier, label: str) -> int:
    """The number of a class. Raises InputError: the version has no such class."""
    if label not in loaded.head.classes:
        raise InputError(f"expected one of the {len(loaded.head.classes)} classes of the version")
    return loaded.head.classes.index(label)


@dataclass(frozen=True, slots=True)
class Cine:
    """The frames of a cine as one query.

    Attributes:
        embedding_D: float32, unit length: of the whole cine.
        probabilities_TC: of each frame alone, calibrated.
        terms_TC: the mean over frames is the image term of each class's logit.
        shares_T: of each frame in that mean.
        speaks_TC: how much each frame speaks for each class rather than for the others.
    """

    embedding_D: Floats
    probabilities_TC: Doubles
    terms_TC: Doubles
    shares_T: Doubles
    speaks_TC: Doubles

    def carried_by(self, chosen: int) -> list[int]:
        """The fewest frames that give half of all that speaks for a class, strongest first."""
        return carried_by(self.shares_T * self.speaks_TC[:, chosen])


def cine_of(
    loaded: LoadedClassifier, embeddings_TD: Floats, copies: Sequence[int] | None = None
) -> Cine:
    """Pool frames, in order.

    Args:
        copies: frames that each stands for; None = itself alone.

    Raises:
        InputError: no frames, another width, or they cancel out.
    """
    copies_T = None if copies is None else np.asarray(copies)
    terms = frame_terms(loaded.head, embeddings_TD, copies_T)
    count = range(len(loaded.head.classes))
    speaks_TC = np.stack([terms.speaks_for(c) for c in count], axis=1)
    alone_TC = loaded.trust.probabilities(loaded.head, embeddings_TD)
    return Cine(terms.embedding_D, alone_TC, terms.terms_TC, terms.shares_T, speaks_TC)


def check_thresholds(loaded: LoadedClassifier, given: Mapping[str, float]) -> None:
    """Raises InputError: a threshold outside 0 to 1, or of no class of the version."""
    decide(dict.fromkeys(loaded.head.classes, 0.0), given)


def decisions(
    loaded: LoadedClassifier, probabilities: Mapping[str, float], given: Mapping[str, float]
) -> list[Decision]:
    """By the thresholds of the version, those of the request going first; empty without any."""
    return decide(probabilities, {**stored_thresholds(loaded.version), **given})
