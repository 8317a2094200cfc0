"""The JSON messages of a live stream, in both directions; frames are binary."""

from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar, get_args

from pydantic import Field, ValidationError

from service.api.shapes.base import (
    REGION_HELP,
    VERSION_NAME,
    Answer,
    Body,
    Problem,
    RegionChoice,
    Rounded,
    Share,
)
from service.api.shapes.classifier_shapes import Kind
from service.api.shapes.prediction_shapes import AbstentionAnswer
from service.api.shapes.report_shapes import VersionReport
from service.classifiers.prediction import LoadedClassifier
from service.classifiers.streaming.stream_records import (
    Steadiness,
    StreamAnswer,
    StreamReason,
)
from service.errors import InputError, ServiceError

StreamField: TypeAlias = Literal["outputs", "frame", "quality"]
MAX_FPS = 60.0
M = TypeVar("M", bound=Body)


class StreamHello(Body):
    """The first message of a client: what it wants to know of its frames."""

    type: Literal["hello"]
    version: Annotated[str, Field(pattern=VERSION_NAME)] = "published"
    coverage: Annotated[float, Field(ge=0.5, le=0.999)] = 0.9
    smoothing: bool = Field(True, description="False: each frame is answered alone.")
    max_fps: Annotated[float, Field(gt=0, le=MAX_FPS)] = Field(
        MAX_FPS, description="Decisions a second that are enough."
    )
    fields: Annotated[list[StreamField], Field(max_length=3)] = Field(
        ["outputs", "frame", "quality"], description="Parts of a decision beside the answer."
    )
    region: RegionChoice | None = Field(None, description=REGION_HELP)


class StreamReset(Body):
    """A client says that what comes now has nothing to do with what came: another patient."""

    type: Literal["reset"]


class SteadinessAnswer(Answer):
    """How answers are kept from flickering."""

    time_constant_s: float = Field(description="A frame that is older by it weighs 1/e.")
    correlation: float = Field(description="Of frames of one scene, 0 to 1.")
    enter_s: float = Field(description="How long another answer stands until it is given.")
    leave_s: float = Field(description="How long nothing is certain until the answer goes.")
    lifted_s: float = Field(description="How long there is no picture until the scene has ended.")

    @classmethod
    def of_steadiness(cls, steadiness: Steadiness) -> Self:
        """The answer for the constants of a stream."""
        return cls(
            time_constant_s=steadiness.averaging.time_constant_s,
            correlation=steadiness.averaging.correlation,
            enter_s=steadiness.enter_s,
            leave_s=steadiness.leave_s,
            lifted_s=steadiness.lifted_s,
        )


class StreamReady(Answer):
    """The answer to hello, and again when another version answers from now on."""

    type: Literal["ready"] = "ready"
    classifier: str
    classifier_id: str
    version: int
    kind: Kind
    labels: list[str] = Field(description="Classes or labels, in the order of the outputs.")
    calibrated: bool
    not_calibrated_because: str | None
    coverage: float
    balanced_accuracy: float | None
    interval_95: list[float] | None
    warnings: list[str]
    steadiness: SteadinessAnswer | None = Field(description="Null without smoothing.")
    max_frame_bytes: int
    max_pixels: int
    idle_s: float = Field(description="Longest pause between two frames.")

    @classmethod
    def of_loaded(
        cls,
        loaded: LoadedClassifier,
        hello: StreamHello,
        steadiness: Steadiness,
        *,
        max_frame_bytes: int,
        max_pixels: int,
        idle_s: float,
    ) -> Self:
        """The answer for a version that is ready to predict."""
        version, model = loaded.version, loaded.model
        report = VersionReport.of(version.report)
        steady = SteadinessAnswer.of_steadiness(steadiness) if hello.smoothing else None
        return cls(
            classifier=loaded.classifier.name,
            classifier_id=loaded.classifier.classifier_id,
            version=version.number,
            kind=version.kind,
            labels=list(model.labels),
            calibrated=model.not_calibrated_because is None,
            not_calibrated_because=model.not_calibrated_because,
            coverage=hello.coverage,
            balanced_accuracy=report.balanced_accuracy if report else None,
            interval_95=report.interval_95 if report else None,
            warnings=report.warnings if report else [],
            steadiness=steady,
            max_frame_bytes=max_frame_bytes,
            max_pixels=max_pixels,
            idle_s=idle_s,
        )


class StreamAbstention(Answer):
    """Why there is no answer."""

    because: StreamReason
    between: list[str] | None = Field(description="The two classes of an ambiguous answer.")


class StreamOutput(Answer):
    """A class or label after the last frames together, and by this frame alone."""

    label: str
    probability: Share
    frame_probability: Share


class StreamFramePart(Answer):
    """This frame alone, as ``predict`` answers it."""

    decision: Literal["called", "abstained"]
    label: str | None
    abstained: AbstentionAnswer | None
    ultrasound_score: Rounded | None


class StreamDecision(Answer):
    """The answer of the stream after a frame."""

    type: Literal["decision"] = "decision"
    sequence: int = Field(description="Of the frame.")
    client_time_ms: float = Field(description="Of the frame, as the client said it.")
    decision: Literal["called", "abstained"]
    label: str | None = Field(description="The held class; null for a multi-label classifier.")
    called: list[str] = Field(description="The held class or labels.")
    abstained: StreamAbstention | None
    held_s: Rounded = Field(description="For how long the answer has stood.")
    prediction_set: list[str] | None
    effective_frames: Rounded = Field(
        description="How many independent frames the last ones count as."
    )
    scene: int = Field(description="Number of the scene; 0 = nothing was seen yet.")
    prediction_id: str | None = Field(
        description="Only where this answer counts in the figures of the version in use: names it "
        "in an outcome."
    )
    latency_ms: Rounded = Field(description="From the arrival of the frame to this message.")
    dropped: int = Field(description="Frames that newer ones replaced, since the stream began.")
    outputs: list[StreamOutput] | None = None
    frame: StreamFramePart | None = None
    quality: list[str] | None = Field(None, description="Findings about the picture.")

    @classmethod
    def of_answer(cls, answer: StreamAnswer, **facts: object) -> Self:
        """The message for an answer; ``facts`` are the fields that it does not hold."""
        alone, smoothed = answer.frame, answer.smoothed
        is_called = answer.abstained is None
        frame = StreamFramePart(
            decision=alone.decision,
            label=alone.label,
            abstained=alone.abstained
            and AbstentionAnswer(
                because=alone.abstained.because,
                between=None if alone.abstained.between is None else list(alone.abstained.between),
            ),
            ultrasound_score=answer.ultrasound_score,
        )
        return cls.model_validate(
            {
                "decision": "called" if is_called else "abstained",
                "label": answer.label,
                "called": list(answer.called),
                "abstained": None
                if answer.abstained is None
                else StreamAbstention(
                    because=answer.abstained,
                    between=None if answer.between is None else list(answer.between),
                ),
                "held_s": answer.held_s,
                "prediction_set": smoothed.prediction_set and list(smoothed.prediction_set),
                "effective_frames": answer.effective_frames,
                "scene": answer.scene,
                "prediction_id": answer.counted and answer.counted.prediction_id,
                "outputs": [
                    StreamOutput(
                        label=output.label,
                        probability=output.probability,
                        frame_probability=single.probability,
                    )
                    for output, single in zip(smoothed.outputs, alone.outputs, strict=True)
                ],
                "frame": frame,
                **facts,
            }
        )


class StreamProblem(Answer):
    """Why a frame has no answer, or why the stream ends."""

    type: Literal["problem"] = "problem"
    sequence: int | None = Field(description="Of the frame; null: the stream ends.")
    retry_after_s: int | None = Field(description="Until then further frames are dropped.")
    problem: Problem

    @classmethod
    def of_error(cls, error: ServiceError, request_id: str, sequence: int | None = None) -> Self:
        """The message for an error."""
        return cls(
            sequence=sequence,
            retry_after_s=getattr(error, "retry_after_s", None),
            problem=Problem.of(error, request_id),
        )


def message_of(answer: Answer, without: frozenset[str] = frozenset()) -> str:
    """The text of a message, without some of its fields."""
    return answer.model_dump_json(exclude=set(without))


def parsed_hello(document: Any) -> StreamHello:
    """Raises InputError: it is no valid hello."""
    return _parsed(StreamHello, document)


def parsed_reset(document: Any) -> StreamReset:
    """Raises InputError: it is none."""
    return _parsed(StreamReset, document)


def _parsed(model: type[M], document: Any) -> M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        # Names and rules, no values.
        rules = [
            f"{'.'.join(map(str, failure['loc'][:1]))}: {failure['msg']}".removeprefix(": ")
            for failure in error.errors(include_input=False, include_url=False)[:5]
        ]
        kind = model.model_fields["type"].annotation
        raise InputError(f"expected {get_args(kind)[0]}: {'; '.join(rules)}") from None
