"""What one distillation run is: a frozen tree, made by a function, written beside its result."""

from dataclasses import dataclass, field

from service.imaging.preprocess import PreprocessSpec
from training.augment import AugmentConfig
from training.readout import ReadoutConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """Settings of one run.

    Attributes:
        views: augmented views per frame; view 0 is the frame itself.
        epochs: passes over all views.
        batch: views per step.
        learning_rate: peak, after ``warmup`` of all steps, then cosine to 0.
        readout: how maps become the embedding.
        bf16: autocast to bfloat16; slower than float32 on CPUs without AMX tiles.
    """

    seed: int = 0
    views: int = 6
    epochs: int = 8
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup: float = 0.05
    clip_norm: float = 1.0
    imagenet_weight: float = 0.5
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    bf16: bool = False
    teacher_architecture: str = "vit_small_patch14_dinov2"
    teacher_blocks: tuple[int, ...] = (5, 8, 11)
    spec: PreprocessSpec = field(
        default_factory=lambda: PreprocessSpec(224, IMAGENET_MEAN, IMAGENET_STD)
    )
    augment: AugmentConfig = field(default_factory=AugmentConfig)


def interim_cpu() -> DistillConfig:
    """Distil ViT-S/14 into stage 4 of ResNet-50 v2 on 1.9 k frames. About 1.5 h on 2 CPU cores.

    Command: ``python -m training distil --manifest ... --student ... --teacher ... --run ...``
    """
    return DistillConfig()


def smoke_cpu() -> DistillConfig:
    """Two steps on a few frames, to prove that the loop runs; teaches nothing."""
    return DistillConfig(views=2, epochs=1, batch=4, readout=ReadoutConfig(dim=16))


CONFIGS = {"interim_cpu": interim_cpu, "smoke_cpu": smoke_cpu}
