"""Frozen teacher networks and the targets that they give for a view.

Every teacher gets the very view that the student sees, resized to whole patches of its own and
normalised as it was trained.

Shape suffixes: B batch, S side of the view, P side of the teacher's input, D target width,
E width of the dense target, h w its grid.
"""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.networks.backbones import AnyBackbone
from training.networks.config import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    IMAGENET_TRUNK,
    TeacherConfig,
    Triple,
)
from training.networks.timm_models import create

log = logging.getLogger(__name__)
_ANY_SIDE = ("vit_", "test_vit", "deit_", "deit3_", "eva02_")  # timm names that resize positions


@dataclass(frozen=True, slots=True)
class TeacherOutput:
    """Targets of a batch, float32, given by a teacher or predicted by the student's heads."""

    pooled_BD: Tensor
    dense_BEhw: Tensor


Reader: TypeAlias = Callable[[Any, Tensor], TeacherOutput]


@dataclass(frozen=True, slots=True)
class TransformerReader:
    """Tokens of several blocks after the final norm, side by side; patches of the last one."""

    blocks: tuple[int, ...]
    tokens: str = "cls+mean"

    def __call__(self, network: Any, inputs_B3PP: Tensor) -> TeacherOutput:
        """Register tokens (DINOv3 has four) are in neither target."""
        pairs = network.forward_intermediates(
            inputs_B3PP,
            indices=list(self.blocks),
            return_prefix_tokens=True,
            norm=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        parts: list[Tensor] = []
        for patches_BEhw, prefix_BRE in pairs:
            if self.tokens in ("cls", "cls+mean"):
                parts.append(prefix_BRE[:, 0])
            if self.tokens in ("mean", "cls+mean"):
                parts.append(patches_BEhw.mean((2, 3)))
        return TeacherOutput(torch.cat(parts, dim=1).float(), pairs[-1][0].float())


@dataclass(frozen=True, slots=True)
class StageReader:
    """Pooled maps of several stages of a ConvNet side by side; the map of the last one."""

    stages: tuple[int, ...]

    def __call__(self, network: Any, inputs_B3PP: Tensor) -> TeacherOutput:
        """Maps as timm gives them."""
        maps = network.forward_intermediates(
            inputs_B3PP, indices=list(self.stages), intermediates_only=True
        )
        pooled = [stage_BEhw.mean((2, 3)) for stage_BEhw in maps]
        return TeacherOutput(torch.cat(pooled, dim=1).float(), maps[-1].float())


def read_trunk(network: Any, inputs_B3PP: Tensor) -> TeacherOutput:
    """Activated stage 3 of a student, pooled and as a map."""
    return read_stream(network, network.prefix(inputs_B3PP))


def read_stream(network: Any, stream_BChw: Tensor) -> TeacherOutput:
    """As ``read_trunk``, from what ``network.prefix`` gave."""
    maps_BEhw = network.stage3_norm(stream_BChw.float()).float()
    return TeacherOutput(maps_BEhw.mean((2, 3)), maps_BEhw)


class Teacher(nn.Module):
    """A frozen network that gives targets.

    Attributes:
        spec: side and normalisation of its input.
        is_copy: the network is the student as it was before training.
    """

    def __init__(
        self,
        network: nn.Module,
        reader: Reader,
        spec: PreprocessSpec,
        *,
        weight: float = 1.0,
        is_copy: bool = False,
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.reader = reader
        self.spec = spec
        self.weight = weight
        self.is_copy = is_copy
        self.register_buffer("mean", torch.tensor(spec.mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).reshape(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode."""
        return super().train(False)

    @torch.inference_mode()
    def forward(self, inputs_B3PP: Tensor) -> Tensor:
        """Global target (B, D), float32, of input that is normalised already."""
        return self.reader(self.network, inputs_B3PP).pooled_BD

    @torch.no_grad()
    def observe(self, view_B1SS: Tensor) -> TeacherOutput:
        """Both targets of a view with intensities in [0, 1]."""
        return self.reader(self.network, prepare(view_B1SS, self))

    @torch.no_grad()
    def shapes(self) -> tuple[int, tuple[int, int, int]]:
        """D and (E, h, w), from one black view."""
        side = self.spec.side_px
        output = self.observe(torch.zeros(1, 1, side, side, device=self.get_buffer("mean").device))
        width, height, across = output.dense_BEhw.shape[1:]
        return output.pooled_BD.shape[1], (width, height, across)


def prepare(view_B1SS: Tensor, teacher: Teacher) -> Tensor:
    """Resize (bicubic, antialiased) and normalise a view as the teacher wants: (B, 3, P, P)."""
    side = teacher.spec.side_px
    if view_B1SS.shape[-1] != side:
        view_B1SS = functional.interpolate(
            view_B1SS.float(), (side, side), mode="bicubic", antialias=True, align_corners=False
        ).clamp(0, 1)
    planes: Tensor = (view_B1SS - teacher.get_buffer("mean")) / teacher.get_buffer("std")
    return planes


def build_teacher(
    config: TeacherConfig, student_spec: PreprocessSpec, *, student: AnyBackbone | None = None
) -> Teacher:
    """Build a teacher for students that want ``student_spec``.

    Args:
        student_spec: what the student sees; side and normalisation are compared with it.
        student: before training, for a teacher that is a copy of it.

    Raises:
        InputError: unreadable weights, no such block, or a normalisation that differs from the
            student's and is not stated in ``config``.
    """
    if config.architecture == IMAGENET_TRUNK:
        if student is None:
            raise InputError("expected the student that the teacher is a copy of")
        spec = _spec(config, student_spec, (student_spec.mean, student_spec.std), 1)
        network = copy.deepcopy(student)
        return Teacher(network, read_trunk, spec, weight=config.weight, is_copy=True)
    options = _options(config.architecture, config.options)
    network = create(config.architecture, config.weights, allow_head=True, **options)
    spec = _spec(config, student_spec, _declared(network), _patch(network))
    return Teacher(network, _reader(config, network), spec, weight=config.weight)


def _options(architecture: str, stated: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Transformers get sides other than the one they were trained on."""
    options: dict[str, Any] = {}
    if architecture.startswith(_ANY_SIDE):
        options["dynamic_img_size"] = True
    if "dinov2" in architecture:
        options["img_size"] = 518
    return options | dict(stated)


def _declared(network: Any) -> tuple[Triple, Triple]:
    facts = network.pretrained_cfg or {}
    return tuple(facts.get("mean", IMAGENET_MEAN)), tuple(facts.get("std", IMAGENET_STD))


def _patch(network: Any) -> int:
    embed: Any = getattr(network, "patch_embed", None)
    return int(embed.patch_size[0]) if hasattr(embed, "patch_size") else 32


def _spec(
    config: TeacherConfig, student: PreprocessSpec, declared: tuple[Triple, Triple], patch_px: int
) -> PreprocessSpec:
    """The input that the teacher wants; a difference from the student's must be stated."""
    stated = config.mean is not None and config.std is not None
    if not stated and declared != (student.mean, student.std):
        raise InputError(
            f"{config.architecture} declares mean {declared[0]} and std {declared[1]}, the "
            f"student {student.mean} and {student.std}: state mean and std of the teacher to say "
            "that this is meant"
        )
    mean, std = (config.mean, config.std) if config.mean and config.std else declared
    if (mean, std) != declared:
        log.warning(
            "teacher normalised otherwise than timm declares",
            extra={"teacher": config.architecture, "stated": [mean, std], "declared": declared},
        )
    side = config.side_px or max(1, round(student.side_px / patch_px)) * patch_px
    if side % patch_px:
        raise InputError(
            f"{config.architecture}: expected a side in whole patches of {patch_px}, got {side}"
        )
    return PreprocessSpec(side, mean, std)


def _reader(config: TeacherConfig, network: Any) -> Reader:
    """By blocks of a transformer or stages of a ConvNet; the last one when none is named."""
    blocks = getattr(network, "blocks", None)
    is_transformer = blocks is not None and hasattr(network, "num_prefix_tokens")
    count = len(blocks) if is_transformer and blocks is not None else len(network.feature_info)
    indices = config.blocks or (count - 1,)
    if not all(0 <= index < count for index in indices):
        raise InputError(f"{config.architecture} has blocks 0..{count - 1}, got {indices}")
    if not is_transformer:
        return StageReader(indices)
    if "cls" in config.tokens and network.num_prefix_tokens == 0:
        raise InputError(f"{config.architecture} has no class token; read tokens='mean'")
    return TransformerReader(indices, config.tokens)
