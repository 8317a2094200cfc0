"""A run that takes moments: small networks of random weights, and few rows."""

from service.imaging.analysis.preprocess import PreprocessSpec
from training.distil.config import DistillConfig, LossConfig
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD, StudentConfig, TeacherConfig

SMALL_RUN = DistillConfig(
    mode="online",
    steps=1,
    batch=4,
    student=StudentConfig("test_resnet", weights="random", train="all"),
    teachers=(TeacherConfig("test_vit", "random", mean=(0.5,) * 3, std=(0.5,) * 3),),
    losses=LossConfig(statistics_rows=4),
    spec=PreprocessSpec(64, IMAGENET_MEAN, IMAGENET_STD),
    bf16=False,
    load_px=72,
)
