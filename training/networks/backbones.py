"""Student networks: ConvNets that give the activated maps of their last two stages.

Shape suffixes: B batch, S input side, C channels, h w map height and width.
"""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from service.errors import InputError
from training.networks.config import StudentConfig
from training.networks.student import ARCHITECTURE, Trunk, load_imagenet_trunk
from training.networks.timm_models import create


class TimmBackbone(nn.Module):
    """A timm ConvNet, post-activation: its stages give activated maps as they are."""

    def __init__(self, network: Any, architecture: str) -> None:
        super().__init__()
        self.network = network
        self.architecture = architecture
        self.stage3_norm = nn.Identity()  # stage 3 comes activated
        self._last = len(network.feature_info) - 1

    @property
    def stages(self) -> tuple[nn.Module, nn.Module]:
        """Stage 3 and stage 4.

        Raises:
            InputError: the architecture does not name its stages in a known way.
        """
        network = self.network
        if hasattr(network, "layer4"):
            return network.layer3, network.layer4
        stages = getattr(network, "stages", None)
        if stages is None or len(stages) != 4:
            raise InputError(f"{self.architecture} has no four stages; train all of it online")
        return stages[2], stages[3]

    @property
    def stage4(self) -> nn.Module:
        """The last stage."""
        return self.stages[1]

    def prefix(self, frames_B3SS: Tensor) -> Tensor:
        """Activated stage 3."""
        (maps,) = self.network.forward_intermediates(
            frames_B3SS, indices=[self._last - 1], stop_early=True, intermediates_only=True
        )
        stage3: Tensor = maps
        return stage3

    def suffix(self, stream_BChw: Tensor) -> tuple[Tensor, Tensor]:
        """Stage 3 as given, and stage 4."""
        return stream_BChw, self.stage4(stream_BChw)

    def forward(self, frames_B3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Activated maps of the last two stages."""
        stage3, stage4 = self.network.forward_intermediates(
            frames_B3SS, indices=[self._last - 1, self._last], intermediates_only=True
        )
        return stage3, stage4

    def read(self, frames_B3SS: Tensor) -> tuple[Tensor, Tensor]:
        """As ``forward``: a post-activation network has no other maps."""
        maps: tuple[Tensor, Tensor] = self(frames_B3SS)
        return maps

    def read_stream(self, stream_BChw: Tensor) -> tuple[Tensor, Tensor]:
        """As ``suffix``."""
        return self.suffix(stream_BChw)


AnyBackbone = Trunk | TimmBackbone


def build_student(config: StudentConfig) -> AnyBackbone:
    """Build the student and load its initial weights.

    Raises:
        InputError: unknown architecture, or weights that do not fit it.
    """
    if config.architecture == ARCHITECTURE:
        if config.weights == "random":
            return Trunk(config.stages)
        if not config.weights:
            raise InputError(f"expected weights of {ARCHITECTURE}: a file or 'random'")
        return load_imagenet_trunk(Path(config.weights), config.stages)
    network = create(config.architecture, config.weights, allow_head=True, **dict(config.options))
    if getattr(network, "feature_info", None) is None or hasattr(network, "patch_embed"):
        raise InputError(f"{config.architecture} is no ConvNet with stages")
    return TimmBackbone(network, config.architecture)


def empty_student(config: StudentConfig) -> AnyBackbone:
    """The student with random weights, to load a checkpoint into."""
    if config.architecture == ARCHITECTURE:
        return Trunk(config.stages)
    network = create(config.architecture, "random", **dict(config.options))
    return TimmBackbone(network, config.architecture)


def choose_trained(student: AnyBackbone, config: StudentConfig) -> list[nn.Module]:
    """Make the chosen parts trainable, and only those; return them.

    The first norm of stage 4 of the v2 trunk is read by stage 3's maps as well and came with the
    ImageNet weights: it learns only when stage 3 does. At the end of a network it stays: the
    read-out takes it as it was.
    """
    student.requires_grad_(config.train == "all")
    parts = _parts(student, config.train)
    for part in parts:
        part.requires_grad_(True)
    if isinstance(student, Trunk) and _stage3_norm_stays(student, config):
        student.stage3_norm.requires_grad_(False)
    return parts


def train_mode(student: AnyBackbone, config: StudentConfig) -> None:
    """Put trained parts in train mode; norms of frozen parts keep their means and variances."""
    student.eval()
    for part in _parts(student, config.train):
        part.train()
    if isinstance(student, Trunk) and _stage3_norm_stays(student, config):
        student.stage3_norm.eval()
    if config.freeze_norms:
        for module in student.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _stage3_norm_stays(student: Trunk, config: StudentConfig) -> bool:
    return config.train == "stage4" or student.ends_at_stage3


def _parts(student: AnyBackbone, train: str) -> list[nn.Module]:
    if train == "all":
        return [student]
    if isinstance(student, Trunk):
        parts = [student.stage4, student.norm]
        return [student.stages[2], *parts] if train == "stage3+4" else parts
    stage3, stage4 = student.stages
    return [stage3, stage4] if train == "stage3+4" else [stage4]
