"""What stands behind the answer to one label: its place in the frame, its frames in the cine.

A label is a head of the classes ``absent`` and ``present``, and its probability the sigmoid of the
difference of their logits over the temperature. So it is that difference which is shared out.

Shape suffixes: T frames, L labels, D embedding width, h w places.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.classifiers.loaded import Doubles, Floats
from service.classifiers.loaded_labels import OpenedLabels
from service.errors import InputError
from service.fewshot.activation_map import activation_maps, contrast
from service.fewshot.key_frames import carried_by, frame_terms
from service.fewshot.multilabel_answers import PRESENT_NUMBER, with_thresholds


@dataclass(frozen=True, slots=True)
class LabelHeat:
    """Activation maps of one frame, one per label.

    sigmoid((mean of the map + bias) / temperature) is the label's probability.

    Attributes:
        maps_Lhw: float64, of ``present`` less ``absent``.
    """

    maps_Lhw: Doubles
    bias_L: Doubles
    temperature_L: Doubles


def label_heat(loaded: OpenedLabels, map_Dhw: Floats) -> LabelHeat:
    """Share the log odds of each label out among places. Raises InputError: another encoder's."""
    maps, biases = [], []
    for one in loaded.made.heads:
        found = activation_maps(one.head, map_Dhw)
        maps.append(contrast(found.maps_Chw, PRESENT_NUMBER))
        biases.append(float(np.diff(found.bias_C)[0]))
    temperatures = [one.trust.calibration.temperature for one in loaded.made.heads]
    return LabelHeat(np.stack(maps), np.array(biases), np.array(temperatures))


@dataclass(frozen=True, slots=True)
class LabelCine:
    """The frames of a cine as one query.

    Attributes:
        embedding_D: float32, unit length: of the whole cine.
        probabilities_TL: of each frame alone, calibrated.
        terms_TL: of each frame, for the label; their mean is the image term of the cine's log odds.
        shares_T: of each frame in that mean.
    """

    embedding_D: Floats
    probabilities_TL: Doubles
    terms_TL: Doubles
    shares_T: Doubles

    def carried_by(self, label: int) -> list[int]:
        """The fewest frames that give half of all that speaks for a label, strongest first."""
        return carried_by(self.shares_T * self.terms_TL[:, label])


def label_cine(
    loaded: OpenedLabels, embeddings_TD: Floats, copies: Sequence[int] | None = None
) -> LabelCine:
    """Pool frames, in order. Raises InputError: no frames, another width, or they cancel out."""
    copies_T = None if copies is None else np.asarray(copies)
    found = [frame_terms(one.head, embeddings_TD, copies_T) for one in loaded.made.heads]
    terms_TL = np.stack([terms.speaks_for(PRESENT_NUMBER) for terms in found], axis=1)
    alone_TL = loaded.made.probabilities(embeddings_TD)
    return LabelCine(found[0].embedding_D, alone_TL, terms_TL, found[0].shares_T)


def label_number(loaded: OpenedLabels, label: str) -> int:
    """The place of a label. Raises InputError: the version has no such label."""
    labels = loaded.made.labels
    if label not in labels:
        raise InputError(f"expected one of the {len(labels)} labels of the version")
    return labels.index(label)


def asked_thresholds(loaded: OpenedLabels, given: Mapping[str, float]) -> OpenedLabels:
    """The same version, deciding by these thresholds before its own.

    Raises:
        InputError: no such label, or a threshold that is not above 0 and below 1.
    """
    for label, value in given.items():
        label_number(loaded, label)
        if not (math.isfinite(value) and 0 < value < 1):
            raise InputError(f"expected thresholds of labels above 0 and below 1, got {value:g}")
    if not given:
        return loaded
    own = {one.name: one.threshold for one in loaded.made.heads}
    return replace(loaded, made=with_thresholds(loaded.made, {**own, **given}))
