"""Predictions on the wire: one shape for single-label and multi-label classifiers."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias

from pydantic import Field

from service.api.shapes.base import (
    Answer,
    Base64Image,
    Body,
    CollectionName,
    EncodedAnswer,
    Identifier,
    ImageAnswer,
    Problem,
    Rounded,
    Share,
    Similarity,
    example_of,
)
from service.api.shapes.classifier_shapes import Accuracy, Kind
from service.api.shapes.report_shapes import MULTI_LABEL_ONLY, SINGLE_LABEL_ONLY, VersionReport
from service.api.shapes.version_shapes import LabelledSummary
from service.classifiers.prediction import (
    Heatmap,
    LoadedClassifier,
    PredictedItem,
    PredictedItems,
)

# The fields of an item beside its prediction, or why there is no prediction.
ItemFacts: TypeAlias = Mapping[str, Any] | Problem


class PredictImagesBody(Body):
    """Images as JSON."""

    model_config = example_of({"images": ["iVBORw0KGgo..."]})

    images: list[Base64Image] = Field(min_length=1)


class PredictScansBody(Body):
    """Predict stored scans instead of uploads."""

    model_config = example_of({"collection": "liver", "scan_ids": ["scan-1", "scan-2"]})

    collection: CollectionName
    scan_ids: list[Identifier] = Field(min_length=1)


class OutputAnswer(Answer):
    """A class of a single-label classifier, or a label of a multi-label one."""

    label: str = Field(examples=["benign"])
    probability: Share = Field(
        description="Probabilities of classes sum to 1; those of labels are independent."
    )
    threshold: float | None = Field(
        description="Null for a class that is called if it is the most probable and no class "
        "reaches a threshold of its own."
    )
    called: bool | None = Field(
        description="Whether the probability reaches the threshold, or without one the class is "
        "the answer; null when abstained."
    )
    set_by: Literal["request", "version", "default"] = Field(description="Source of the threshold.")
    abstained_because: Literal["ambiguous"] | None = Field(
        description="Only for a label that is too near its threshold."
    )
    prediction_set: list[Literal["absent", "present"]] | None = Field(
        description="Only for a label: what can be true at the coverage."
    )


class AbstentionAnswer(Answer):
    """Why the classifier abstained."""

    because: Literal["blank", "frozen", "not_ultrasound", "far_from_every_example", "ambiguous"]
    between: list[str] | None = Field(description="The two classes of an ambiguous item.")


class NearestExample(LabelledSummary):
    """A labelled example that resembles the item."""

    similarity: Similarity = Field(description="Cosine.")


class HeatmapOutput(Answer):
    """The part of an output that comes from each place of the frame."""

    label: str
    image_logit: float = Field(description="The mean of the map.")
    bias: float
    temperature: float
    map: list[list[float]] | None = Field(
        description="Rows of places that tile the box; null for a PNG."
    )


class HeatmapAnswer(Answer):
    """Where the probabilities come from.

    They are the softmax over the classes of (image_logit + bias) / temperature; for a label, the
    sigmoid of the same.
    """

    label: str = Field(description="Class or label that the PNG shows.")
    box: list[int] = Field(
        description="x0, y0, x1, y1 in pixels of the frame, half open: the used region.",
        examples=[[120, 60, 800, 518]],
    )
    rows: int
    columns: int
    outputs: list[HeatmapOutput]
    png: str | None = Field(
        description="Base64: a transparent picture to lay over the frame, of its width and height "
        "(of at most 4,096 px). Orange is evidence for the class rather than for the others, "
        "blue is evidence against; null for arrays."
    )

    @classmethod
    def of(cls, heatmap: Heatmap) -> Self:
        """The answer for a heat map."""
        rows, columns = heatmap.maps[0].map_hw.shape
        is_array = heatmap.png is None
        return cls(
            label=heatmap.label,
            box=list(heatmap.box),
            rows=rows,
            columns=columns,
            outputs=[
                HeatmapOutput.of_record(output, map=output.map_hw.tolist() if is_array else None)
                for output in heatmap.maps
            ],
            png=None if heatmap.png is None else base64.b64encode(heatmap.png).decode(),
        )


class FrameOutputAnswer(Answer):
    """The contribution of a frame to an output of its cine."""

    label: str
    probability: Share = Field(description="Probability from the frame alone.")
    image_logit: float = Field(description="The mean over frames is the image_logit of the cine.")
    contribution: float = Field(description="Evidence for the output rather than for the others.")


class FrameAnswer(Answer):
    """A frame of a cine."""

    index: int = Field(
        description="Number of the item in the request, or of the frame in its file."
    )
    region: int = Field(description="Number of the region in the image's list, from 0.")
    copies: int = Field(description="Number of frames that it represents, itself included.")
    outputs: list[FrameOutputAnswer]


class KeyFramesAnswer(Answer):
    """The fewest frames that hold half of the evidence for an output, strongest first."""

    label: str
    frames: list[int]


class PredictionFields(Answer):
    """What a classifier predicts. When it abstains, ``label`` and every ``called`` are null."""

    prediction_id: str = Field(
        description="Names this prediction in an outcome; predictions are not stored.",
        examples=["prd_5f2b1c0d9e8a74630011"],
    )
    decision: Literal["called", "abstained"]
    label: str | None = Field(
        description="The called class, of several the one that exceeds its threshold most; null "
        "when abstained, when thresholds call no class, and for a multi-label classifier.",
        examples=["benign"],
    )
    most_probable: str = Field(description="Most probable class or label, also when abstained.")
    outputs: list[OutputAnswer] = Field(description="Every class or label, in order.")
    prediction_set: list[str] | None = Field(
        description="Classes or labels that can be true at the coverage; null: too few examples."
    )
    abstained: AbstentionAnswer | None
    distance: Rounded | None = Field(description="Distance to the nearest example, 1 - cosine.")
    distance_percentile: float | None = Field(
        description="Percentage of the examples whose own distance is smaller."
    )
    ultrasound_score: Rounded | None = Field(
        description="Logit, above 0 for ultrasound; null when the encoder cannot tell."
    )
    nearest: list[NearestExample]
    heatmap: HeatmapAnswer | None
    no_heatmap_because: str | None = Field(
        description="Null unless a heat map was requested and there is none."
    )
    frames: list[FrameAnswer] | None = Field(description="Only for a clip or cine, in order.")
    key_frames: list[KeyFramesAnswer] | None = Field(
        description="Only for a clip or cine: the frames that explain each output."
    )

    @classmethod
    def of(cls, item: PredictedItem, kind: str, **others: Any) -> Self:
        """The answer for an item of a version of this kind; ``others`` are further fields."""
        return cls.of_record(
            item.prediction,
            prediction_id=item.prediction_id,
            ultrasound_score=item.ultrasound_score,
            nearest=[
                NearestExample.of(neighbour.example, kind, similarity=neighbour.similarity)
                for neighbour in item.nearest
            ],
            heatmap=item.heatmap and HeatmapAnswer.of(item.heatmap),
            no_heatmap_because=item.no_heatmap_because,
            frames=item.frames or None,
            key_frames=item.key_frames or None,
            **others,
        )


class PredictionItem(PredictionFields):
    """The prediction for an image, clip or stored scan."""

    scan_id: str | None = Field(description="Only for a stored scan.")
    image: ImageAnswer | None = Field(description="Only for an upload.")


class FailedItem(Answer):
    """An image that could not be predicted."""

    problem: Problem


class CinePrediction(PredictionFields):
    """The prediction for all items as frames of one cine."""

    left_out: list[int] = Field(description="Numbers of the items that failed.")


class PredictionSetsAnswer(Answer):
    """What the prediction sets guarantee, or why there are none."""

    label: str | None = Field(description=MULTI_LABEL_ONLY)
    per_class: bool = Field(
        description="Whether each class, or presence and absence, has the coverage by itself."
    )
    not_enough_because: str | None
    missing: dict[str, int] = Field(description="Class -> independent examples still needed.")


class PredictionsAnswer(EncodedAnswer):
    """One item per image or scan, in order, with the accuracy of the classifier."""

    classifier: str = Field(examples=["finding"])
    classifier_id: str
    version: int
    kind: Kind
    calibrated: bool = Field(description="Whether the probabilities of every output are.")
    not_calibrated_because: str | None
    accuracy: Accuracy = Field(
        description="high: from seven views of each item, as the version was fitted."
    )
    coverage: float
    prediction_sets: list[PredictionSetsAnswer] = Field(
        description="One per label; exactly one for a single-label classifier."
    )
    balanced_accuracy: float | None = Field(description="Mean over labels.")
    interval_95: list[float] | None = Field(description=SINGLE_LABEL_ONLY)
    warnings: list[str]
    items: list[PredictionItem | FailedItem]
    cine: CinePrediction | None = Field(description="Only with `cine=true`.")

    @classmethod
    def of(
        cls,
        loaded: LoadedClassifier,
        predicted: PredictedItems,
        facts: Sequence[ItemFacts],
        coverage: float,
    ) -> Self:
        """The answer for predicted items; ``facts`` belong to each of them."""
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
        return cls.of_record(
            version,
            classifier=loaded.classifier.name,
            classifier_id=loaded.classifier.classifier_id,
            version=version.number,
            dim=model.width,
            calibrated=model.not_calibrated_because is None,
            not_calibrated_because=model.not_calibrated_because,
            accuracy="high" if loaded.asks_views else "standard",
            coverage=coverage,
            prediction_sets=[
                PredictionSetsAnswer.of_record(sets, label=label)
                for label, sets in predicted.sets.items()
            ],
            balanced_accuracy=report and report.balanced_accuracy,
            interval_95=report and report.interval_95,
            warnings=report.warnings if report else [],
            items=items,
            cine=cine and CinePrediction.of(cine, version.kind, left_out=failed),
        )
