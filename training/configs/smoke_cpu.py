"""Two dozen online steps with a tiny teacher of random weights; proves that the way is open.

Seconds on 2 CPU cores; teaches nothing. The loss must fall and is compared with a golden list,
so precision is float32 and the seed fixed. Command: ``python -m training smoke``.
"""

from service.imaging.analysis.preprocess import PreprocessSpec
from training.distil.config import DistillConfig, LossConfig
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD, StudentConfig, TeacherConfig
from training.networks.readout import ReadoutConfig


def config() -> DistillConfig:
    """Return the smallest run that passes through every part of the online loop."""
    return DistillConfig(
        mode="online",
        steps=24,
        batch=8,
        learning_rate=5e-4,
        warmup=0.25,
        mixup=0.2,
        student=StudentConfig("resnet50", weights="random", train="all"),
        teachers=(
            TeacherConfig(
                "test_vit", weights="random", blocks=(2, 5), mean=(0.5,) * 3, std=(0.5,) * 3
            ),
        ),
        losses=LossConfig(
            regression=1.0, queue=0.1, relational=0.1, queue_rows=32, statistics_rows=32
        ),
        spec=PreprocessSpec(64, IMAGENET_MEAN, IMAGENET_STD),
        readout=ReadoutConfig(dim=32),
        bf16=False,
        load_px=72,
        log_every=1,
        checkpoint_every=24,
    )
