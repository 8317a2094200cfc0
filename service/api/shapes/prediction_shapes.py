"""Predictions on the wire: one shape for single-label and multi-label classifiers."""

import base64
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, Self, TypeAlias, TypedDict, cast

from pydantic import Field, TypeAdapter

from service.api.shapes.base import (
    ENCODER,
    Answer,
    Base64Image,
    Body,
    Identifier,
    ImageSeen,
    Name,
    Problem,
    example_of,
)
from service.api.shapes.classifier_shapes import Kind
from service.api.shapes.report_shapes import VersionReport
from service.api.shapes.version_shapes import label_fields, thumbnail_path
from service.classifiers.prediction import (
    Heatmap,
    LoadedClassifier,
    Neighbour,
    PredictedItem,
    PredictedItems,
    PredictionSets,
)


class UploadFacts(TypedDict):
    """What is told of an item beside its prediction."""

    scan_id: str | None
    image: ImageSeen | None


ItemFacts: TypeAlias = UploadFacts | Problem


class PredictImagesBody(Body):
    """Images as JSON."""

    model_config = example_of({"images": ["iVBORw0KGgo..."]})

    images: list[Base64Image] = Field(min_length=1)


class PredictScansBody(Body):
    """Predict stored scans instead of uploads."""

    model_config = example_of({"collection": "liver", "scan_ids": ["scan-1", "scan-2"]})

    collection: Name
    scan_ids: list[Identifier] = Field(min_length=1)


class OutputAnswer(Answer):
    """One class of a single-label classifier, or one label of a multi-label one."""

    label: str = Field(examples=["benign"])
    probability: float = Field(
        ge=0, le=1, description="Of classes they sum to 1; labels are independent of each other."
    )
    threshold: float | None = Field(description="Null: the most probable class is called.")
    called: bool | None = Field(
        description="The probability is at or above the threshold; null when abstained."
    )
    set_by: Literal["request", "version", "default"] = Field(description="The threshold.")
    abstained_because: Literal["ambiguous"] | None = Field(
        description="Of a label: too near its threshold."
    )
    prediction_set: list[Literal["absent", "present"]] | None = Field(
        description="Of a label: what can be true at the coverage; both: cannot tell. Else null."
    )


class AbstentionAnswer(Answer):
    """Why no answer should be used."""

    because: Literal["not_ultrasound", "far_from_every_example", "ambiguous"]
    between: list[str] | None = Field(description="The two classes of an ambiguous item.")


class NearestExample(Answer):
    """A labelled example that resembles the item."""

    example_id: str
    label: str | None = Field(description="Its class; null of a multi-label classifier.")
    labels: list[str] | None = Field(description="Of a multi-label classifier; else null.")
    similarity: float = Field(ge=-1.001, le=1.001, description="Cosine.")
    collection: str | None
    scan_id: str | None = Field(description="Null for an upload.")
    thumbnail: str | None = Field(description="Path of a small JPEG; null for an upload.")

    @classmethod
    def of(cls, neighbour: Neighbour, kind: str) -> Self:
        """The shape of an example of a version of this kind."""
        example = neighbour.example
        collection, scan_id = example.scan or (None, None)
        label, labels = label_fields(example.label, kind)
        return cls(
            example_id=example.example_id,
            label=label,
            labels=labels,
            similarity=neighbour.similarity,
            collection=collection,
            scan_id=scan_id,
            thumbnail=thumbnail_path(example.scan),
        )


class HeatmapOutput(Answer):
    """Where one output comes from."""

    label: str
    image_logit: float = Field(description="The mean of the map.")
    bias: float
    temperature: float
    map: list[list[float]] | None = Field(
        description="Rows of places that tile the whole frame; null for a PNG."
    )


class HeatmapAnswer(Answer):
    """Where the probabilities come from.

    They are the softmax over the classes of (image_logit + bias) / temperature; of a label the
    sigmoid of the same.
    """

    label: str = Field(description="Class or label that the PNG shows.")
    rows: int
    columns: int
    outputs: list[HeatmapOutput]
    png: str | None = Field(
        description="Base64: the frame with orange where it speaks for the class rather than "
        "for the others, blue where against; null for arrays."
    )

    @classmethod
    def of(cls, heatmap: Heatmap) -> Self:
        """The shape of a heat map."""
        rows, columns = heatmap.maps[0].map_hw.shape
        is_array = heatmap.png is None
        return cls(
            label=heatmap.label,
            rows=rows,
            columns=columns,
            outputs=[
                HeatmapOutput(
                    label=output.label,
                    image_logit=output.image_logit,
                    bias=output.bias,
                    temperature=output.temperature,
                    map=output.map_hw.tolist() if is_array else None,
                )
                for output in heatmap.maps
            ],
            png=None if heatmap.png is None else base64.b64encode(heatmap.png).decode(),
        )


class FrameOutputAnswer(Answer):
    """What one frame gives to one output of its cine."""

    label: str
    probability: float = Field(description="Of the frame alone.")
    image_logit: float = Field(description="The mean over frames is that of the cine's logit.")
    contribution: float = Field(
        description="How much it speaks for the output rather than for the others."
    )


class FrameAnswer(Answer):
    """One frame of a cine."""

    index: int = Field(description="Of the item of the request, or of the frame in its file.")
    region: int = Field(description="Of the frame, numbered as in its image's regions.")
    copies: int = Field(description="Frames that it stands for, itself included.")
    outputs: list[FrameOutputAnswer]


class KeyFramesAnswer(Answer):
    """The fewest frames that give half of all that speaks for an output, strongest first."""

    label: str
    frames: list[int]


class PredictionFields(Answer):
    """What a classifier predicts. When it abstains, ``label`` and every ``called`` are null."""

    decision: Literal["called", "abstained"]
    label: str | None = Field(
        description="The called class; null when abstained, where thresholds call no class, and "
        "of a multi-label classifier.",
        examples=["benign"],
    )
    most_probable: str = Field(description="Class or label, also when abstained.")
    outputs: list[OutputAnswer] = Field(description="Every class or label, in order.")
    prediction_set: list[str] | None = Field(
        description="Classes or labels that can be true at the coverage; null: too few examples."
    )
    abstained: AbstentionAnswer | None
    distance: float | None = Field(description="To the nearest example, 1 - cosine.")
    distance_percentile: float | None = Field(
        description="Share of the examples' own distances that are smaller, percent."
    )
    ultrasound_score: float | None = Field(
        description="Above 0 = rather ultrasound, logits; null when the encoder cannot tell."
    )
    nearest: list[NearestExample]
    heatmap: HeatmapAnswer | None
    no_heatmap_because: str | None = Field(description="Where one was asked for.")
    frames: list[FrameAnswer] | None = Field(description="Of a clip or cine, in order.")
    key_frames: list[KeyFramesAnswer] | None = Field(
        description="Of a clip or cine: per output the frames that it comes from."
    )

    @classmethod
    def of(cls, item: PredictedItem, kind: str, **more: Any) -> Self:
        """The shape of a prediction of a version of this kind; ``more`` are fields beside it."""
        prediction = item.prediction
        return cls(
            decision=prediction.decision,
            label=prediction.label,
            most_probable=prediction.most_probable,
            outputs=_read(list[OutputAnswer], prediction.outputs),
            prediction_set=_read(list[str] | None, prediction.prediction_set),
            abstained=_read(AbstentionAnswer | None, prediction.abstained),
            distance=prediction.distance,
            distance_percentile=prediction.distance_percentile,
            ultrasound_score=item.ultrasound_score,
            nearest=[NearestExample.of(neighbour, kind) for neighbour in item.nearest],
            heatmap=item.heatmap and HeatmapAnswer.of(item.heatmap),
            no_heatmap_because=item.no_heatmap_because,
            frames=_read(list[FrameAnswer], item.frames) or None,
            key_frames=_read(list[KeyFramesAnswer], item.key_frames) or None,
            **more,
        )


class PredictionItem(PredictionFields):
    """The prediction of one image, clip or stored scan."""

    scan_id: str | None = Field(description="Of a stored scan.")
    image: ImageSeen | None = Field(description="Of an upload.")


class FailedItem(Answer):
    """An image that could not be predicted."""

    problem: Problem


class CinePrediction(PredictionFields):
    """One prediction for all items as frames of a cine."""

    left_out: list[int] = Field(description="Items that failed.")


class PredictionSetsAnswer(Answer):
    """What the prediction sets promise, or why there are none."""

    label: str | None = Field(description="Of a multi-label classifier; else null.")
    per_class: bool = Field(description="Each class, or presence and absence, has the coverage.")
    not_enough_because: str | None
    missing: dict[str, int] = Field(description="Class: independent examples that are lacking.")

    @classmethod
    def of(cls, label: str | None, sets: PredictionSets) -> Self:
        """The shape of the sets of one head."""
        return cls(
            label=label,
            per_class=sets.per_class,
            not_enough_because=sets.not_enough_because,
            missing=sets.missing,
        )


class PredictionsAnswer(Answer):
    """One item per image or scan, in order; the classifier's own accuracy beside them."""

    classifier: str = Field(examples=["finding"])
    classifier_id: str
    version: int
    kind: Kind
    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    calibrated: bool = Field(description="The probabilities of every class or label are.")
    not_calibrated_because: str | None
    coverage: float
    prediction_sets: list[PredictionSetsAnswer] = Field(
        description="One per label; one of a single-label classifier."
    )
    balanced_accuracy: float | None = Field(description="Mean over labels.")
    interval_95: list[float] | None = Field(description="Null of a multi-label classifier.")
    warnings: list[str]
    items: list[PredictionItem | FailedItem]
    cine: CinePrediction | None = Field(description="Of a request with `cine=true`; else null.")

    @classmethod
    def of(
        cls,
        loaded: LoadedClassifier,
        predicted: PredictedItems,
        facts: Sequence[ItemFacts],
        coverage: float,
    ) -> Self:
        """The shape of predictions; ``facts`` are of each item."""
        version, model = loaded.version, loaded.model
        report = VersionReport.of(version.report)
        items: list[PredictionItem | FailedItem] = [
            FailedItem(problem=of_item)
            if item is None or isinstance(of_item, Problem)
            else PredictionItem.of(item, version.kind, **of_item)
            for item, of_item in zip(predicted.items, facts, strict=True)
        ]
        failed = [index for index, item in enumerate(predicted.items) if item is None]
        cine = predicted.cine
        return cls(
            classifier=loaded.classifier.name,
            classifier_id=loaded.classifier.classifier_id,
            version=version.number,
            kind=cast(Kind, version.kind),
            encoder_id=version.encoder_id,
            dim=model.width,
            calibrated=model.not_calibrated_because is None,
            not_calibrated_because=model.not_calibrated_because,
            coverage=coverage,
            prediction_sets=[
                PredictionSetsAnswer.of(label, sets) for label, sets in predicted.sets.items()
            ],
            balanced_accuracy=report and report.balanced_accuracy,
            interval_95=report and report.interval_95,
            warnings=report.warnings if report else [],
            items=items,
            cine=cine and CinePrediction.of(cine, version.kind, left_out=failed),
        )


def _read(shape: Any, values: Any) -> Any:
    """Models of dataclasses with the same fields."""
    return _adapter(shape).validate_python(values, from_attributes=True)


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)
