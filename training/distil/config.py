"""Settings of a distillation run: a frozen tree that is written beside its result.

Named configurations are modules of ``training/configs``, each with a function ``config()``.
"""

import dataclasses
import importlib
import json
import runpy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.augmentation.config import AugmentationConfig
from training.networks.config import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    IMAGENET_TRUNK,
    TRUNK,
    StudentConfig,
    TeacherConfig,
)
from training.networks.readout import ReadoutConfig

CONFIG_PACKAGE = "training.configs"


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the losses of every teacher; 0 leaves one out.

    Attributes:
        regression: cosine + smooth-L1 on standardised global targets.
        cosine_weight: share of the cosine in ``regression``.
        queue: KL of similarities to a queue of earlier teacher rows.
        relational: KL of similarities between places of one image (dense targets).
        queue_rows: K; filled with real rows before the first step.
        temperature: of both divergences.
        statistics_rows: least number of rows that give an online target's mean and spread.
        contrastive: self-supervision without a teacher: two views of a frame find each other in the
            batch, which then holds half as many frames, each twice.
        feature_preservation: cosine + smooth-L1 between what the read-out takes and what it took
            before training, each feature in units of the batch; of students that end at stage 3.
    """

    regression: float = 1.0
    cosine_weight: float = 0.9
    queue: float = 0.0
    relational: float = 0.0
    queue_rows: int = 2048
    temperature: float = 0.07
    statistics_rows: int = 512
    contrastive: float = 0.0
    contrastive_temperature: float = 0.2
    feature_preservation: float = 0.0


DEFAULT_TEACHER = TeacherConfig("vit_small_patch14_dinov2", blocks=(5, 8, 11))


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """Settings of one run.

    Attributes:
        mode: ``cached`` computes targets and the frozen part once per view; ``online`` draws a
            new view every time and shows the same one to teachers and student.
        views: cached views per frame; view 0 is the frame itself.
        steps: of the whole run; 0 = as many as ``epochs`` asks for.
        batch: views per step, over all processes together.
        learning_rate: peak, after ``warmup`` of all steps, then cosine to 0.
        head_rate: learning rate of the heads, which start from nothing, in units of the student's.
        weight_decay: of weights that are matrices; none on norms and biases.
        mixup: both parameters of the Beta distribution of the one share per batch; 0 = none, as
            in cached runs.
        spec: how the student wants its input while it learns.
        serve_px: side of its input when it is served; 0 = as it learnt. Smaller is faster.
        readout: how maps become the embedding.
        bf16: autocast to bfloat16; None = where the processor computes in it.
        load_px: side to which frames are brought before augmentation.
        workers: threads that decode.
        corpus: names of the catalogue's sets; empty = whatever the manifest holds.
    """

    mode: Literal["cached", "online"] = "cached"
    seed: int = 0
    views: int = 6
    epochs: int = 8
    steps: int = 0
    batch: int = 64
    learning_rate: float = 1e-3
    head_rate: float = 1.0
    weight_decay: float = 0.02
    warmup: float = 0.05
    clip_norm: float = 1.0
    mixup: float = 0.0
    student: StudentConfig = field(default_factory=StudentConfig)
    teachers: tuple[TeacherConfig, ...] = (DEFAULT_TEACHER,)
    losses: LossConfig = field(default_factory=LossConfig)
    spec: PreprocessSpec = field(
        default_factory=lambda: PreprocessSpec(224, IMAGENET_MEAN, IMAGENET_STD)
    )
    serve_px: int = 0
    augment: AugmentationConfig = field(default_factory=AugmentationConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    bf16: bool | None = None
    load_px: int = 256
    workers: int = 2
    checkpoint_every: int = 500
    log_every: int = 10
    corpus: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        student, losses = self.student, self.losses
        trained_whole = (student.architecture, self.mode, student.train) == (TRUNK, "online", "all")
        enough_views = self.mode == "online" or self.views >= 2
        rules = {
            f"expected mode cached or online, got {self.mode!r}": self.mode in ("cached", "online"),
            f"expected train all, stage4 or stage3+4, got {student.train!r}": student.train
            in ("all", "stage4", "stage3+4"),
            f"expected train stage4 in a cached run, got {student.train}; or use mode online": (
                self.mode != "cached" or student.train == "stage4"
            ),
            "expected batch, epochs and views of at least 1 and steps of 0 or more": (
                min(self.batch, self.epochs, self.views) >= 1 and self.steps >= 0
            ),
            "expected no mixup in a cached run, whose views are stored; or use mode online": (
                self.mode != "cached" or self.mixup == 0
            ),
            "expected at least one teacher": bool(self.teachers),
            "expected at least one loss with a weight above 0": (
                max(losses.regression, losses.queue, losses.relational) > 0
            ),
            f"expected 3 or 4 stages of the student, got {student.stages}": student.stages
            in (3, 4),
            "expected a student of 3 stages where its features are kept": (
                losses.feature_preservation <= 0 or student.stages == 3
            ),
            f"expected {TRUNK}, mode online and train all of a student of 3 stages, got "
            f"{student.architecture}, {self.mode} and {student.train}": (
                student.stages == 4 or trained_whole
            ),
            "the contrastive loss needs an even batch and, where cached, at least 2 views": (
                losses.contrastive <= 0 or (self.batch % 2 == 0 and enough_views)
            ),
        }
        broken = [message for message, holds in rules.items() if not holds]
        if broken:
            raise InputError(broken[0])

    @property
    def frames_per_step(self) -> int:
        """Different frames that the batch of a step is drawn for, over all processes."""
        return self.batch // 2 if self.losses.contrastive > 0 else self.batch

    def to_json(self) -> dict[str, Any]:
        """Every field, as JSON reads it back."""
        fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return fields


def load_config(name_or_path: str) -> DistillConfig:
    """Run ``config()`` of a module of ``training/configs``, or of a .py file of the user's.

    Raises:
        InputError: there is no such module or file, or it has no ``config()`` that gives a
            ``DistillConfig``.
    """
    if name_or_path.endswith(".py"):
        if not Path(name_or_path).is_file():
            raise InputError(f"there is no configuration file {Path(name_or_path).name}")
        function = runpy.run_path(name_or_path).get("config")
    elif name_or_path in config_names():
        module = importlib.import_module(f"{CONFIG_PACKAGE}.{name_or_path}")
        function = getattr(module, "config", None)
    else:
        raise InputError(
            f"expected one of {', '.join(config_names())} or a .py file, got {name_or_path!r}"
        )
    config = function() if callable(function) else None
    if not isinstance(config, DistillConfig):
        raise InputError(f"{name_or_path}: expected a function config() -> DistillConfig")
    return config


def load_config_with_weights(name: str, student: str, teacher: str) -> DistillConfig:
    """A named configuration with the weights that were given for it.

    Raises:
        InputError: no such configuration.
    """
    config = load_config(name)
    teachers = tuple(_with_weights(original, teacher) for original in config.teachers)
    if student:
        start = dataclasses.replace(config.student, weights=student)
        config = dataclasses.replace(config, student=start)
    return dataclasses.replace(config, teachers=teachers)


def resize_run(config: DistillConfig, *, steps: int = 0, batch: int = 0) -> DistillConfig:
    """The same run with other steps or batch, 0 = as they are; queues keep as many batches."""
    if batch:
        losses = config.losses
        share = batch / config.batch
        losses = dataclasses.replace(
            losses,
            queue_rows=max(batch, round(losses.queue_rows * share)),
            statistics_rows=max(batch, round(losses.statistics_rows * share)),
        )
        config = dataclasses.replace(config, batch=batch, losses=losses)
    return dataclasses.replace(config, steps=steps or config.steps)


def config_names() -> tuple[str, ...]:
    """Names of the configurations of ``training/configs``, sorted."""
    folder = Path(__file__).parents[1] / "configs"
    return tuple(sorted(f.stem for f in folder.glob("*.py") if f.stem != "__init__"))


def _with_weights(config: TeacherConfig, weights: str) -> TeacherConfig:
    """Give the weights to every teacher that is not a copy of the student."""
    if config.architecture == IMAGENET_TRUNK or not weights:
        return config
    return dataclasses.replace(config, weights=weights)
