"""What predictions answer, as the OpenAPI document tells it."""

from typing import Literal

from pydantic import Field

from service.api.answers import ENCODER, Answer, ImageSeen, Problem


class Abstention(Answer):
    """Why the label should not be used."""

    because: Literal["not_ultrasound", "far_from_every_class", "ambiguous"]
    between: list[str] | None = Field(description="The two classes of an ambiguous item.")


class DecisionAnswer(Answer):
    """What one threshold decides; several classes may be called, or none."""

    label: str
    probability: float
    threshold: float
    called: bool = Field(description="The probability is at or above the threshold.")
    set_by: Literal["request", "version"]


class HeatmapAnswer(Answer):
    """Where the logits come from; softmax((image_terms + biases) / temperature) is the answer."""

    label: str = Field(description="Class that the PNG shows.")
    image_terms: dict[str, float] = Field(description="The mean of each class's map, exactly.")
    biases: dict[str, float]
    temperature: float
    maps: dict[str, list[list[float]]] | None = Field(
        description="Rows of places that tile the whole frame, per class; null for a PNG."
    )
    png: str | None = Field(
        description="Base64: the frame with orange where it speaks for the class rather than "
        "for the others, blue where against; null for arrays."
    )


class CineFrame(Answer):
    """What one frame gives to the answer of its cine."""

    index: int = Field(description="Of the item of the request, or of the frame in its file.")
    region: int = Field(description="Of the frame, numbered as in its image's regions.")
    copies: int = Field(description="Frames that it stands for, itself included.")
    probabilities: dict[str, float] = Field(description="Of the frame alone.")
    image_term: float = Field(description="The mean over frames is that of the cine's logit.")
    speaks_for: float = Field(description="Image term less the mean of the other classes'.")


class Evidence(Answer):
    """A labelled example that resembles the item."""

    example_id: str
    label: str | None
    similarity: float = Field(ge=-1.001, le=1.001, description="Cosine.")
    collection: str | None
    scan_id: str | None = Field(description="Null for an upload.")
    thumbnail: str | None = Field(description="Path of a small JPEG; null for an upload.")


class Said(Answer):
    """What a classifier says of one embedding."""

    label: str | None = Field(
        None, description="The most probable class, also when abstained.", examples=["benign"]
    )
    probabilities: dict[str, float] | None = Field(
        None, examples=[{"benign": 0.83, "malignant": 0.17}]
    )
    abstained: Abstention | None = None
    prediction_set: list[str] | None = Field(
        None, description="Holds the true class with the asked coverage."
    )
    distance: float | None = Field(None, description="To the nearest example, 1 - cosine.")
    distance_percentile: float | None = Field(
        None, description="Share of the examples' own distances that are smaller, percent."
    )
    ultrasound_score: float | None = Field(
        None, description="Above 0 = rather ultrasound, logits; null when the encoder cannot tell."
    )
    decisions: list[DecisionAnswer] | None = Field(
        None, description="One per class with a threshold; empty without thresholds."
    )
    nearest: list[Evidence] | None = None
    heatmap: HeatmapAnswer | None = None


class PredictedItem(Said):
    """The class of one image, clip or stored scan, or ``problem``."""

    scan_id: str | None = None
    no_heatmap_because: str | None = Field(None, description="Where one was asked for.")
    image: ImageSeen | None = None
    problem: Problem | None = None
    frames: list[CineFrame] | None = Field(None, description="Of a clip, in order.")
    carried_by: list[int] | None = Field(
        None, description="Frames that give half of all that speaks for the label."
    )


class CineSaid(Said):
    """One answer for all items as frames of a cine."""

    frames: list[CineFrame] = Field(description="Of the cine's label, in order.")
    carried_by: list[int] = Field(
        description="Items that give half of all that speaks for the label, strongest first."
    )
    left_out: list[int] = Field(description="Items that failed.")


class SetsSaid(Answer):
    """What the prediction sets promise, or why there are none."""

    coverage: float
    per_class: bool = Field(description="Each class has the coverage for itself.")
    not_enough_because: str | None
    missing: dict[str, int] = Field(description="Class: independent examples that are lacking.")


class PredictionsAnswer(Answer):
    """One item per image or scan, in order; the classifier's own accuracy beside them."""

    classifier: str = Field(examples=["finding"])
    classifier_id: str
    version: int
    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    calibrated: bool
    not_calibrated_because: str | None
    prediction_sets: SetsSaid
    balanced_accuracy: float | None
    interval_95: list[float] | None
    warnings: list[str]
    cine: CineSaid | None = Field(description="When the request asks for it.")
    items: list[PredictedItem]
