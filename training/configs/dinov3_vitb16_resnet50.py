"""The paper's run: DINOv3 ViT-B/16 into ResNet-50 on some forty public ultrasound sets.

The paper ("Domain-Constrained Distillation of DINOv3 into a Lightweight Foundation Model Toward
Point-of-Care Ultrasound", MIDL 2026) tells teacher, student, number of sets and that augmentation
follows the physics. Its losses, sets, image size, schedule and tables are not public, so those
are ours.

Command, on 8 GPUs::

    torchrun --nproc-per-node 8 -m training distil --config dinov3_vitb16_resnet50
        --manifest manifest.csv --teacher vit_base_patch16_dinov3.safetensors --run runs/paper

``--teacher`` takes a safetensors file in timm's naming; without it timm's weights are fetched
from the Hugging Face hub, where DINOv3's licence has to be accepted first (what is derived from
them carries that agreement). ``--student`` starts from an ImageNet ResNet-50 (file or hub id)
instead of from nothing. Frames of the sets in ``CORPUS`` come from ``training datasets``. The sets
that this project is evaluated on (BUSI, AUL, POCUS) and those that contain them are left out.
Several sets are non-commercial or state no licence: what is trained on them is for research.

Cost. A step of one view is a forward pass of the teacher and a forward and backward pass (three
forwards) of the student, in multiply-adds at 224 px: 17.6 G (85.6 M weights x 201 tokens = 17.2 G,
attention 12 x 2 x 201^2 x 768 = 0.7 G, less norms and biases) + 3 x 4.1 G = 29.9 G, that is 60
GFLOP. Measured on one H200 with the true architectures, random teacher weights and a batch of 256
(16 steps, all losses on): 0.23 s a step, 1,100 views per second, 66 TFLOP/s, 12.7 GiB. So the
100,000 steps of 1,024 views (102 M views, 6.1 EFLOP) are 26 hours of one such GPU, a little over
three on eight if they scale, and the decoding of 1,100 frames per second and GPU must keep up:
decode the corpus to small files once. On 2 CPU cores a batch of 2 takes seconds; the whole run
is out of reach there.

Expected numbers (estimated; nobody has them). Size is certain: 85.6 M / 23.5 M = 3.6 times fewer
parameters. For accuracy there is only a floor with a reason: on six held-out sets an ImageNet
trunk and a ViT-S teacher side by side, without any ultrasound training, were measured at 59.4 %
(10 shots) and 75.1 % (full probe) mean balanced accuracy, each alone at 59.1 / 74.1 % and
57.7 / 72.5 %. A student that has learnt from a stronger teacher on ultrasound should not fall
below that; how far above it comes has to be measured with ``python -m training evaluate``.
"""

from service.imaging.analysis.preprocess import PreprocessSpec
from training.distil.config import DistillConfig, LossConfig
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD, StudentConfig, TeacherConfig

CORPUS = (  # names of training/catalogue/datasets.toml
    "acouslic-ai", "african-fetal-planes", "b-mode-ceus-liver", "behsof", "bratious",
    "breast-lesions-usg", "breastvid", "bus-bra", "bus-uc", "bus-uclm", "busi-whu", "cactus",
    "ccaui", "ddti", "deepmtj", "echocp", "fass", "fatty-liver-byra", "fetal-planes-db", "focus",
    "fpus23", "fshd-heckmatt", "hc18", "intrapartum-video", "jnu-ifm", "knee-cohort", "lepset",
    "lumbar-spine-us-ct", "luss-phantom", "microseg", "mmotu-2d", "oasbud", "open-kidney",
    "prostate-mri-us-biopsy", "psfhs", "pu2756", "regensburg-appendicitis", "smc-lud",
    "stmus-nda", "tn3k", "tn5000", "us3m", "usenhance-2023",
)  # fmt: skip


def config() -> DistillConfig:
    """Return the full recipe: batch over all GPUs, online views, two kinds of target."""
    return DistillConfig(
        mode="online",
        steps=100_000,
        batch=1024,
        learning_rate=4e-4,  # 5e-4 x sqrt(batch / 1536)
        weight_decay=1e-6,  # batch-norm networks want almost none
        warmup=0.05,
        clip_norm=1.0,
        mixup=0.2,
        student=StudentConfig("resnet50", weights="random", train="all"),
        teachers=(
            TeacherConfig(
                "vit_base_patch16_dinov3",
                weights="hf-hub:timm/vit_base_patch16_dinov3.lvd1689m",
                blocks=(5, 8, 11),
            ),
        ),
        losses=LossConfig(
            regression=1.0, queue=1.0, relational=1.0, queue_rows=8192, statistics_rows=8192
        ),
        spec=PreprocessSpec(224, IMAGENET_MEAN, IMAGENET_STD),
        workers=16,
        checkpoint_every=2000,
        log_every=50,
        corpus=CORPUS,
    )
