"""Where in a frame an answer comes from, as arrays or as a picture."""

import base64
from dataclasses import dataclass
from typing import Literal, TypeAlias

from service.api.schemas import JsonObject
from service.classifiers.evidence import class_of, heat_of
from service.classifiers.loaded import LoadedClassifier
from service.embedding.pipeline import MappedImage

HeatmapKind: TypeAlias = Literal["none", "array", "png"]
OF_SEVERAL_PICTURES = "the file was embedded as the mean of several pictures: upload one of them"


@dataclass(frozen=True, slots=True)
class HeatmapWish:
    """What kind of heat map, and of which class; None = the most probable one of each item."""

    kind: HeatmapKind = "none"
    label: str | None = None

    def check(self, loaded: LoadedClassifier) -> None:
        """Raises InputError: the label is no class of the version."""
        if self.label is not None:
            class_of(loaded, self.label)


def missing_heatmap(wish: HeatmapWish, mapped: MappedImage | None) -> JsonObject:
    """Why there is no heat map where one is asked for; else nothing."""
    if wish.kind == "none" or mapped is not None:
        return {}
    return {"no_heatmap_because": OF_SEVERAL_PICTURES}


def heatmap_json(
    loaded: LoadedClassifier, mapped: MappedImage, predicted: str, wish: HeatmapWish
) -> JsonObject:
    """The activation maps of one frame; their means are the image terms of its logits.

    softmax((image_terms + biases) / temperature) gives the probabilities.
    """
    label, classes = wish.label or predicted, loaded.head.classes
    heat = heat_of(loaded, mapped.map_Dhw, label)
    terms_C = heat.maps_Chw.mean((1, 2))
    body: JsonObject = {
        "label": label,
        "image_terms": dict(zip(classes, terms_C.tolist(), strict=True)),
        "biases": dict(zip(classes, heat.bias_C.tolist(), strict=True)),
        "temperature": loaded.trust.calibration.temperature,
        "maps": None,
        "png": None,
    }
    if wish.kind == "array":
        return body | {"maps": dict(zip(classes, heat.maps_Chw.tolist(), strict=True))}
    return body | {"png": base64.b64encode(mapped.picture(heat.contrast_hw)).decode()}
