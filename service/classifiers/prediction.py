"""Predict with a version, and explain by examples, heat maps and frames.

Shape suffixes: Q queries, T frames of a cine, D embedding width, h w places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Doubles, Floats
from service.catalog.ids import new_ids
from service.classifiers.loaded import LoadedClassifier, Neighbour
from service.errors import InputError, ViewsMissing
from service.fewshot.attribution import (
    CineAttribution,
    OutputMap,
    cine_attribution,
    output_maps,
)
from service.fewshot.classifier import Prediction, Unusable
from service.fewshot.conformal import PredictionSets

__all__ = ["LoadedClassifier", "Neighbour", "PredictionSets"]

HeatmapKind: TypeAlias = Literal["none", "array", "png"]
ABSTAIN_ON: tuple[Unusable, ...] = ("blank", "frozen")  # findings of the quality checks
SEVERAL_PICTURES = "the file was embedded as the mean of several pictures: upload one of them"


class FrameMap(Protocol):
    """The feature map of an embedded region of a frame."""

    @property
    def map_Dhw(self) -> Floats:  # noqa: N802
        """(D, h, w) of the region; its mean over places has the direction of the embedding."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of what the places tile, in pixels of the frame, half open."""

    def picture(self, heat_hw: npt.NDArray[np.floating]) -> bytes:
        """Transparent PNG of the frame's size."""


class UltrasoundGate(Protocol):
    """Distinguishes ultrasound from other pictures."""

    def scores(self, embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
        """(N,) logits; above 0 = more likely ultrasound."""

    def passed(self, embeddings_ND: npt.NDArray[np.floating]) -> Bools:
        """(N,) whether each row counts as ultrasound."""


@dataclass(frozen=True, slots=True)
class QueryFrame:
    """A frame of a clip, or one region of it.

    Attributes:
        index: number of the frame in the file.
        copies: how many frames it stands for.
        views_D: the mean embedding of its views, for versions that are asked with it.
    """

    index: int
    embedding_D: Floats
    copies: int = 1
    region: int = 0
    views_D: Floats | None = None


@dataclass(frozen=True, slots=True)
class Acquisition:
    """How a file was recorded; ``machine`` is what it names, empty if nothing."""

    machine: str
    width_px: int
    height_px: int

    @property
    def size_name(self) -> str:
        """Such as ``800x600``."""
        return f"{self.width_px}x{self.height_px}"


@dataclass(frozen=True, slots=True)
class PredictionQuery:
    """One embedded item.

    Attributes:
        frames: of a clip, whose pooled embedding is ``embedding_D``; empty for a still.
        mapped: for a heat map; None where there is none.
        unmapped_because: why there is none.
        findings: of the quality checks on the picture.
        acquisition: None where it is not known.
        views_D: as of ``QueryFrame``.
    """

    embedding_D: Floats
    frames: tuple[QueryFrame, ...] = ()
    mapped: FrameMap | None = None
    unmapped_because: str = SEVERAL_PICTURES
    findings: frozenset[str] = frozenset()
    acquisition: Acquisition | None = None
    views_D: Floats | None = None


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """Options of a prediction.

    Attributes:
        coverage: of the prediction sets.
        nearest: number of labelled examples to show.
        heatmap_label: label of the pictures; None = the most probable one of each item.
        thresholds: class or label -> threshold; they override those of the version.
        ultrasound: None = the encoder has no gate.
        cine: the items are the frames of one cine, in order, which is predicted as well.
    """

    coverage: float
    nearest: int
    heatmap: HeatmapKind = "none"
    heatmap_label: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    ultrasound: UltrasoundGate | None = None
    cine: bool = False


@dataclass(frozen=True, slots=True)
class Heatmap:
    """The maps of all outputs; ``png`` shows that of ``label``, and is None for arrays.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the frame: the places of the maps tile it.
    """

    label: str
    box: tuple[int, int, int, int]
    maps: tuple[OutputMap, ...]
    png: bytes | None


@dataclass(frozen=True, slots=True)
class FrameOutput:
    """What one frame adds to one output.

    Attributes:
        probability: of the frame alone.
        image_logit: the mean over frames is the image term of the logit of the cine.
        contribution: how much it favours the output over the others.
    """

    label: str
    probability: float
    image_logit: float
    contribution: float


@dataclass(frozen=True, slots=True)
class PredictedFrame:
    """A frame of a cine, and what it adds to each output."""

    index: int
    region: int
    copies: int
    outputs: tuple[FrameOutput, ...]


@dataclass(frozen=True, slots=True)
class KeyFrames:
    """The fewest frames that give half of the contributions to an output, strongest first."""

    label: str
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PredictedItem:
    """The prediction of one item.

    Attributes:
        prediction_id: random; an outcome refers to it.
        frames, key_frames: of a clip; empty for a still.
        findings, acquisition: of the query.
    """

    prediction_id: str
    prediction: Prediction
    ultrasound_score: float | None
    nearest: tuple[Neighbour, ...]
    heatmap: Heatmap | None
    no_heatmap_because: str | None
    frames: tuple[PredictedFrame, ...]
    key_frames: tuple[KeyFrames, ...]
    findings: frozenset[str] = frozenset()
    acquisition: Acquisition | None = None


@dataclass(frozen=True, slots=True)
class PredictedItems:
    """One item per query, None for an item that failed; and the cine, if requested."""

    items: tuple[PredictedItem | None, ...]
    sets: Mapping[str | None, PredictionSets]
    cine: PredictedItem | None

    @property
    def answers(self) -> tuple[PredictedItem, ...]:
        """What was asked for: the cine as a whole, or each item that did not fail."""
        if self.cine is not None:
            return (self.cine,)
        return tuple(item for item in self.items if item is not None)


def predict(
    loaded: LoadedClassifier, queries: Sequence[PredictionQuery | None], request: PredictionRequest
) -> PredictedItems:
    """Predict all queries; None stands for an item that failed.

    Raises:
        InputError: a coverage outside 0.5 to 0.999, a threshold or heat map of an unknown class or
            label, or a cine without a readable frame.
        ViewsMissing: the version is asked with views, and a query has none.
    """
    if request.heatmap_label is not None:
        loaded.model.find(request.heatmap_label)
    items, sets = _predicted([query for query in queries if query is not None], loaded, request)
    predicted = iter(items)
    cine = None
    if request.cine:
        ((cine,), _) = _predicted([_cine_query(loaded, queries)], loaded, request)
    return PredictedItems(
        tuple(None if query is None else next(predicted) for query in queries), sets, cine
    )


def _cine_query(
    loaded: LoadedClassifier, queries: Sequence[PredictionQuery | None]
) -> PredictionQuery:
    """All items as the frames of one cine. Raises InputError: none was read."""
    frames = tuple(
        QueryFrame(index, query.embedding_D, views_D=query.views_D)
        for index, query in enumerate(queries)
        if query is not None
    )
    if not frames:
        raise InputError("expected at least one readable frame of the cine, got none")
    read = [query for query in queries if query is not None]
    copies = [1] * len(frames)
    embedding_D = cine_attribution(
        loaded.model, np.stack([frame.embedding_D for frame in frames]), copies
    ).embedding_D
    return PredictionQuery(
        embedding_D,
        frames,
        findings=frozenset.intersection(*(query.findings for query in read)),
        acquisition=read[0].acquisition,
        views_D=_attribution_of(loaded, frames).embedding_D if loaded.asks_views else None,
    )


def _asked_with(loaded: LoadedClassifier, query: PredictionQuery | QueryFrame) -> Floats:
    """The embedding that the heads of a version are asked with. Raises ViewsMissing."""
    if not loaded.asks_views:
        return query.embedding_D
    if query.views_D is None:
        raise ViewsMissing("the version is asked with views: send files, or scans with kept images")
    return query.views_D


def _predicted(
    queries: Sequence[PredictionQuery], loaded: LoadedClassifier, request: PredictionRequest
) -> tuple[list[PredictedItem], Mapping[str | None, PredictionSets]]:
    rows = [query.embedding_D for query in queries]
    # Without queries the response still describes the prediction sets.
    stacked_QD = np.stack(rows) if rows else np.eye(1, loaded.model.width, dtype=np.float32)
    embeddings_QD = stacked_QD.astype(np.float32)
    gate = request.ultrasound
    passed_Q = np.ones(len(queries), bool) if gate is None else gate.passed(embeddings_QD)
    asked = [_asked_with(loaded, query) for query in queries]
    predictions = loaded.model.predict(
        np.stack(asked).astype(np.float32) if asked else embeddings_QD,
        request.coverage,
        frames_ND=embeddings_QD,
        thresholds=request.thresholds,
        unusable_N=[_unusable(*pair) for pair in zip(queries, passed_Q, strict=False)] or [None],
    )
    scores = [None] * len(rows) if gate is None else gate.scores(embeddings_QD).tolist()
    ids = new_ids("prd", len(queries))
    items = [
        _item(loaded, query, (ids[row], predictions.rows[row]), scores[row], request)
        for row, query in enumerate(queries)
    ]
    return items, predictions.sets


def _unusable(query: PredictionQuery, is_ultrasound: np.bool_) -> Unusable | None:
    """A blank or frozen picture shows nothing to classify, whatever its embedding is near to."""
    for finding in ABSTAIN_ON:
        if finding in query.findings:
            return finding
    return None if is_ultrasound else "not_ultrasound"


def _item(
    loaded: LoadedClassifier,
    query: PredictionQuery,
    predicted: tuple[str, Prediction],
    ultrasound_score: float | None,
    request: PredictionRequest,
) -> PredictedItem:
    prediction_id, prediction = predicted
    frames, key_frames = _frames(loaded, query.frames)
    heatmap = None
    if query.mapped is not None and request.heatmap != "none":
        label = request.heatmap_label or prediction.most_probable
        heatmap = _heatmap(loaded, query.mapped, label, request.heatmap)
    lacks_heatmap = request.heatmap != "none" and query.mapped is None
    return PredictedItem(
        prediction_id=prediction_id,
        prediction=prediction,
        ultrasound_score=ultrasound_score,
        nearest=loaded.support.nearest(query.embedding_D, request.nearest),
        heatmap=heatmap,
        no_heatmap_because=query.unmapped_because if lacks_heatmap else None,
        frames=frames,
        key_frames=key_frames,
        findings=query.findings,
        acquisition=query.acquisition,
    )


def _heatmap(loaded: LoadedClassifier, mapped: FrameMap, label: str, kind: HeatmapKind) -> Heatmap:
    maps = output_maps(loaded.model, mapped.map_Dhw)
    if kind == "array":
        return Heatmap(label, mapped.box, maps, None)
    contrast_hw = next(output.contrast_hw for output in maps if output.label == label)
    return Heatmap(label, mapped.box, maps, mapped.picture(contrast_hw))


def _frames(
    loaded: LoadedClassifier, frames: Sequence[QueryFrame]
) -> tuple[tuple[PredictedFrame, ...], tuple[KeyFrames, ...]]:
    if not frames:
        return (), ()
    outputs = _attribution_of(loaded, frames).outputs
    predicted = tuple(
        PredictedFrame(
            frame.index,
            frame.region,
            frame.copies,
            tuple(
                FrameOutput(
                    output.label,
                    float(output.probabilities_T[t]),
                    float(output.image_logits_T[t]),
                    float(output.contributions_T[t]),
                )
                for output in outputs
            ),
        )
        for t, frame in enumerate(frames)
    )
    key_frames = tuple(
        KeyFrames(output.label, tuple(dict.fromkeys(frames[t].index for t in output.key_frames)))
        for output in outputs
    )
    return predicted, key_frames


def _attribution_of(loaded: LoadedClassifier, frames: Sequence[QueryFrame]) -> CineAttribution:
    embeddings_TD = np.stack([_asked_with(loaded, frame) for frame in frames])
    return cine_attribution(loaded.model, embeddings_TD, [frame.copies for frame in frames])
