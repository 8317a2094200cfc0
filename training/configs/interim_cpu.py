"""Distil ViT-S/14 and the ImageNet trunk into stage 4 of ResNet-50 v2 on 1.9 k frames.

Targets are cached over 6 views a frame. About 1.5 h on 2 CPU cores in float32.

Command: ``python -m training distil --manifest manifest.csv --student trunk.safetensors
--teacher vit.safetensors --run runs/interim``
"""

from training.distil.config import DistillConfig


def config() -> DistillConfig:
    """Return the configuration of the interim encoder."""
    return DistillConfig()
