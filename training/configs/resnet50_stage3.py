"""The trunk of the shipped encoder: a ResNet-50 to stage 3, taught by a ViT-S/14 and itself.

The student starts from its ImageNet weights and all of it learns, from three things at once, on
views that the physics of ultrasound changed and that are drawn anew at every step: to predict the
transformer's tokens (distillation), to find the other view of a frame among the other frames
(self-supervision), and to read of a view what it read before training (so that ImageNet's texture
features stay). There is no stage 4: trained from nothing on so few frames it added nothing.
Measured on an H200 that two other such runs shared: 170 s.

Command: ``python -m training distil --config resnet50_stage3 --manifest manifest.csv
--student resnet50v2_trunk.safetensors --teacher vit_s14.safetensors --run runs/ship``
"""

from service.imaging.analysis.preprocess import PreprocessSpec
from training.distil.config import DistillConfig, LossConfig
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD, StudentConfig, TeacherConfig


def config() -> DistillConfig:
    """Return the configuration of the trunk of the shipped encoder."""
    return DistillConfig(
        mode="online",
        steps=600,
        batch=256,
        learning_rate=2e-4,
        head_rate=5.0,
        student=StudentConfig(stages=3, train="all", freeze_norms=True),
        teachers=(TeacherConfig("vit_small_patch14_dinov2", blocks=(5, 8, 11), side_px=224),),
        losses=LossConfig(
            regression=0.5, contrastive=0.5, feature_preservation=1.0, statistics_rows=1024
        ),
        spec=PreprocessSpec(160, IMAGENET_MEAN, IMAGENET_STD),
        workers=16,
        checkpoint_every=500,
    )
