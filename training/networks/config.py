"""Settings of teacher and student networks, and how their inputs are normalised."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Triple: TypeAlias = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
IMAGENET_TRUNK = "imagenet_trunk"
TRUNK = "resnetv2_50"  # the architecture of our own, which alone may end at stage 3


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """One frozen teacher.

    Attributes:
        architecture: a timm name, or ``imagenet_trunk``: a frozen copy of the student's own
            first three stages as they were before training.
        weights: path of a safetensors file, ``hf-hub:...`` or ``pretrained`` (timm's own tag of
            the architecture), or ``random``. Empty: given on the command line.
        blocks: what is read: blocks of a transformer, stages of a ConvNet, from 0.
        tokens: of each block of a transformer: class token, mean patch token, or both in turn.
        weight: of this teacher's losses in the sum.
        mean: normalisation it was trained with; None = as timm declares. To state it is needed
            where timm's differs from the student's.
        side_px: side of its input; 0 = the student's, rounded to whole patches.
        options: further arguments of ``timm.create_model``.
    """

    architecture: str
    weights: str = ""
    blocks: tuple[int, ...] = ()
    tokens: Literal["cls", "mean", "cls+mean"] = "cls+mean"
    weight: float = 1.0
    mean: Triple | None = None
    std: Triple | None = None
    side_px: int = 0
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """The network that is trained.

    Attributes:
        architecture: ``resnetv2_50`` (with input norm, as its ImageNet file wants) or another
            timm ConvNet, such as ``resnet50``.
        weights: as of a teacher; ``random`` starts from nothing.
        train: which parts learn; the others stay as they were, norms included.
        freeze_norms: keep running means and variances of all batch-norms as they are.
        options: further arguments of ``timm.create_model``.
        stages: 4, or 3 for a network that ends with stage 3; only ``resnetv2_50`` can, and it is
            trained as a whole, on views drawn online.
    """

    architecture: str = TRUNK
    weights: str = ""
    train: Literal["all", "stage4", "stage3+4"] = "stage4"
    freeze_norms: bool = False
    options: tuple[tuple[str, Any], ...] = ()
    stages: Literal[3, 4] = 4
