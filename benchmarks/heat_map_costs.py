"""Processor time that a heat map adds to the prediction for one frame, on one core.

Each turn embeds one frame as a prediction without a heat map does, as one with a map as an array,
and as one with a map as a picture; the order changes from turn to turn, so all meet the same
machine. A figure is the median of the differences within a turn. The classifier has three classes
of simulated patients, whose labels decide nothing about the time.
"""

import base64
import statistics
import time
from collections.abc import Callable

import numpy as np

from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.embedded_image import MappedImage
from service.embedding.encoder import OnnxEncoder, load_encoder
from service.fewshot.attribution import OutputMap, output_maps
from service.fewshot.classifier import FewShotClassifier
from service.fewshot.classifier_fit import fit_classifier
from service.imaging.analysis.preprocess import preprocess

TURNS, WARM_UP = 60, 5
EXAMPLES, CLASSES = 60, 3
SIZES = {"640x480": (640, 480), "1920x1080": (1920, 1080)}


def heat_map_added_ms() -> dict[str, float]:
    """``array``, and ``png WxH`` for frames of two sizes: ms of one core that a map adds."""
    encoder = load_encoder(SHIPPED_BUNDLE, threads=1)
    classifier = _classifier(encoder)
    frame_HW = np.random.default_rng(1).integers(0, 256, (384, 412), dtype=np.uint8)
    frame_13SS = preprocess(frame_HW[None], encoder.spec)
    added_s = _in_turns(_ways(encoder, classifier, frame_13SS))
    return {name: round(1000 * value, 2) for name, value in added_s.items()}


def _classifier(encoder: OnnxEncoder) -> FewShotClassifier:
    rng = np.random.default_rng(0)
    rows_ND = rng.normal(size=(EXAMPLES, encoder.dim)).astype(np.float32)
    rows_ND /= np.linalg.norm(rows_ND, axis=1, keepdims=True)
    labels = [f"class {number % CLASSES}" for number in range(EXAMPLES)]
    groups = [f"patient {number}" for number in range(EXAMPLES)]
    fitted = fit_classifier(rows_ND, {None: labels}, groups, encoder_id=encoder.encoder_id)
    return fitted.classifier


def _ways(
    encoder: OnnxEncoder, classifier: FewShotClassifier, frame_13SS: np.ndarray
) -> dict[str, Callable[[], object]]:
    """What is done for a frame without a map, and with each kind of map."""

    def maps() -> tuple[np.ndarray, tuple[OutputMap, ...]]:
        map_Dhw = encoder.encode_mapped(frame_13SS)[1][0]
        return map_Dhw, output_maps(classifier, map_Dhw)

    def picture(width_px: int, height_px: int) -> bytes:
        map_Dhw, outputs = maps()
        box = (width_px // 6, height_px // 10, 5 * width_px // 6, 9 * height_px // 10)
        mapped = MappedImage(map_Dhw, box, (width_px, height_px), encoder.spec.border)
        return base64.b64encode(mapped.picture(outputs[0].contrast_hw))

    def in_size(size_px: tuple[int, int]) -> Callable[[], object]:
        return lambda: picture(*size_px)

    return {
        "none": lambda: encoder.encode(frame_13SS),
        "array": lambda: [output.map_hw.tolist() for output in maps()[1]],
        **{f"png {name}": in_size(size_px) for name, size_px in SIZES.items()},
    }


def _in_turns(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds that each way takes more than the first, within a turn."""
    names = list(ways)
    added: dict[str, list[float]] = {name: [] for name in names[1:]}
    for turn in range(TURNS + WARM_UP):
        taken = {}
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began_s = time.process_time()
            ways[name]()
            taken[name] = time.process_time() - began_s
        if turn >= WARM_UP:
            for name, values in added.items():
                values.append(taken[name] - taken[names[0]])
    return {name: statistics.median(values) for name, values in added.items()}
