"""The encoder up to 0.3.0: ViT-S/14 into stage 4 of a ResNet-50 v2, on 1.9 k frames and two cores.

Stem to stage 3 keep their ImageNet weights, whose texture features no corpus of this size could
teach; stage 4 starts from nothing and learns to predict the transformer's tokens on views that
the physics of ultrasound changed. Views and targets are cached: 5 views of each frame.
Measured on 2 cores with AVX512-BF16: about 20 minutes of caching and 20 of training.

Command: ``python -m training distil --config ship_cpu --manifest manifest.csv
--student resnet50v2_trunk.safetensors --teacher vit_s14.safetensors --run runs/ship``
"""

from training.distil.config import DistillConfig
from training.networks.config import TeacherConfig


def config() -> DistillConfig:
    """Return the configuration of encoder 0.3.0."""
    return DistillConfig(
        views=5,
        epochs=4,
        serve_px=192,  # as accurate as 224 on the held-out sets, in three quarters of the time
        teachers=(TeacherConfig("vit_small_patch14_dinov2", blocks=(5, 8, 11)),),
        checkpoint_every=100,
    )
