"""ViT-S/14 into stage 4 of a ResNet-50 v2, from cached targets, for a machine without a GPU.

Stem to stage 3 keep their ImageNet weights; stage 4 starts from random weights and learns to
predict the tokens of the transformer. Views and targets are cached: 5 views of each frame.
Measured on 2 cores with AVX512-BF16 and 1,900 frames: 20 minutes of caching, 20 of training.

Command: ``python -m training distil --config resnet50_stage4 --manifest manifest.csv
--student resnet50v2_trunk.safetensors --teacher vit_s14.safetensors --run runs/stage4``
"""

from training.distil.config import DistillConfig


def config() -> DistillConfig:
    """Return the configuration of a stage 4 trained on a CPU."""
    return DistillConfig(views=5, epochs=4, serve_px=192, checkpoint_every=100)
