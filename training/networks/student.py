"""The student: a pre-activation ResNet-50 (v2) and a linear projection of its pooled maps.

It may end at stage 3, whose maps carry most of the embedding. ``training.networks.readout`` says
how maps become the embedding.

Shape suffixes: B batch, S input side, C channels, h w map height and width, D embedding width.
"""

import re
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from service.errors import InputError
from training.networks.config import TRUNK
from training.networks.lite_trunk import LiteTrunk, pool_lite_features, stack_lite_maps
from training.networks.readout import pool_features, stack_feature_maps
from training.networks.saved_files import read_weights
from training.networks.timm_models import RANDOM, create

ARCHITECTURE = TRUNK
_GLUON = re.compile(r"resnetv24_(?:stage(\d)_)?(conv|batchnorm)(\d+)_(\w+)")
_NORM_FIELDS = {"gamma": "weight", "beta": "bias"}


class Trunk(nn.Module):
    """ResNet-50 v2 with an input batch-norm; gives the activated maps of its last two stages.

    Args:
        stages: 4, or 3 for a network that ends with stage 3 and the norm that reads it.
    """

    stages: nn.Sequential

    def __init__(self, stages: int = 4) -> None:
        super().__init__()
        network = create(ARCHITECTURE, RANDOM)
        self.stem = nn.Sequential(
            nn.BatchNorm2d(3),
            network.stem.conv,
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = network.stages[:stages]
        self.norm: nn.Module = network.norm if stages == 4 else network.stages[3].blocks[0].norm1

    @property
    def ends_at_stage3(self) -> bool:
        """Whether there is no stage 4."""
        return len(self.stages) == 3

    @property
    def stage4(self) -> nn.Module:
        """The last stage of four: the part that cached runs train."""
        return self.stages[3]

    @property
    def stage3_norm(self) -> nn.Module:
        """Batch-norm and ReLU over the stage 3 stream; where it goes on, stage 4's first norm."""
        if self.ends_at_stage3:
            return self.norm
        blocks: Any = self.stages[3].blocks
        norm: nn.Module = blocks[0].norm1
        return norm

    def prefix(self, frames_B3SS: Tensor) -> Tensor:
        """Stem to stage 3: the residual stream (B, 1024, S/16, S/16), before any norm."""
        maps: Tensor = self.stem(frames_B3SS)
        for index in range(3):
            maps = self.stages[index](maps)
        return maps

    def suffix(self, stream_BChw: Tensor) -> tuple[Tensor, Tensor]:
        """Activated maps of stage 3 (B, 1024, 2h, 2w) and stage 4 (B, 2048, h, w).

        A network that ends at stage 3 gives its maps twice.
        """
        stage3 = self.stage3_norm(stream_BChw)
        if self.ends_at_stage3:
            return stage3, stage3
        return stage3, self.norm(self.stage4(stream_BChw))

    def forward(self, frames_B3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Activated maps of the last two stages."""
        return self.suffix(self.prefix(frames_B3SS))

    def read(self, frames_B3SS: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the read-out takes: stage 3 normalised but before its ReLU, stage 4 activated."""
        return self.read_stream(self.prefix(frames_B3SS))

    def read_stream(self, stream_BChw: Tensor) -> tuple[Tensor, Tensor | None]:
        """As ``read``, from what ``prefix`` gave."""
        scale_C, shift_C = affine_of(self.stage3_norm)
        # Not the norm's own output: after quantisation that one has lost what is below 0.
        stage3 = stream_BChw * scale_C[:, None, None] + shift_C[:, None, None]
        return stage3, None if self.ends_at_stage3 else self.norm(self.stage4(stream_BChw))


def affine_of(norm: Any) -> tuple[Tensor, Tensor]:
    """scale_C and shift_C of a batch-norm in eval mode, or of the 1x1 layer that replaced it."""
    if isinstance(norm, nn.Sequential):
        layer: Any = norm[0]
        return layer.weight[:, 0, 0, 0], layer.bias
    scale_C = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return scale_C, norm.bias.detach() - norm.running_mean * scale_C


class Student(nn.Module):
    """Trunk and linear projection (a 1x1 layer): what is exported as the encoder.

    A second network may stand beside the trunk, whose features follow those of the trunk.
    """

    def __init__(
        self, trunk: nn.Module, projection: nn.Conv2d, lite: LiteTrunk | None = None
    ) -> None:
        super().__init__()
        self.trunk = cast(Trunk, trunk)  # or another backbone; only equalising needs this one
        self.projection = projection
        self.lite = lite

    def forward(self, frames_B3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``embedding`` (B, D), unit length, and ``feature_map`` (B, D, h, w)."""
        stage3, stage4 = self.trunk.read(frames_B3SS)
        layer: Any = self.projection
        weights_DK, bias_D = layer.weight[:, :, 0, 0], layer.bias
        # The embedding does without the maps: where only it is asked for, they cost nothing.
        pooled_BK = pool_features(stage3, stage4)
        maps_BKhw = stack_feature_maps(stage3, stage4)
        if self.lite is not None:
            lite_maps = self.lite(frames_B3SS)
            pooled_BK = torch.cat([pooled_BK, pool_lite_features(lite_maps)], dim=1)
            maps_BKhw = torch.cat([maps_BKhw, stack_lite_maps(lite_maps)], dim=1)
        rows_BD = (weights_DK @ pooled_BK[:, :, None])[:, :, 0] + bias_D
        embedding = functional.normalize(rows_BD, dim=1)
        maps_BDL = weights_DK @ maps_BKhw.flatten(2)
        feature_map = maps_BDL.reshape(-1, len(bias_D), *maps_BKhw.shape[2:])
        feature_map = feature_map + bias_D[:, None, None]
        return embedding, feature_map


def load_imagenet_trunk(path: Path, stages: int = 4) -> Trunk:
    """Return a trunk with ImageNet stem to stage 3 (and first norm of stage 4), rest random.

    Args:
        path: safetensors with Gluon's names.

    Raises:
        InputError: the file cannot be read, or a weight of those parts is missing or has another
            shape.
    """
    trunk = Trunk(stages)
    stored = {_timm_name(k, stages): v for k, v in read_weights(path).items()}
    pretrained = {name for name in trunk.state_dict() if _is_pretrained(name, stages)}
    missing = pretrained - set(stored)
    if missing:
        raise InputError(f"{path.name} lacks {len(missing)} weights, such as {min(missing)}")
    try:
        trunk.load_state_dict({name: stored[name] for name in pretrained}, strict=False)
    except RuntimeError as error:
        raise InputError(f"{path.name} holds weights of other shapes") from error
    return trunk


def _is_pretrained(name: str, stages: int) -> bool:
    if name.endswith("num_batches_tracked"):
        return False
    prefixes = ("stem.", "stages.0.", "stages.1.", "stages.2.", _stage3_norm(stages))
    return name.startswith(prefixes)


def _stage3_norm(stages: int) -> str:
    return "norm." if stages == 3 else "stages.3.blocks.0.norm1."


def _timm_name(gluon: str, stages: int) -> str:
    """Translate a Gluon parameter name; the first block's fourth convolution is its shortcut."""
    match = _GLUON.fullmatch(gluon)
    if match is None:
        return gluon
    stage, kind, index, field = match[1], match[2], int(match[3]), match[4]
    field = _NORM_FIELDS.get(field, field)
    if stage is None:
        place = {"batchnorm0": "stem.0", "conv0": "stem.1", "batchnorm1": "stem.2"}
        return f"{place.get(f'{kind}{index}', 'unused')}.{field}"
    if kind == "batchnorm" and (int(stage), index) == (4, 0):
        return f"{_stage3_norm(stages)}{field}"
    if kind == "batchnorm":
        return f"stages.{int(stage) - 1}.blocks.{index // 3}.norm{index % 3 + 1}.{field}"
    if index == 3:
        return f"stages.{int(stage) - 1}.blocks.0.downsample.conv.{field}"
    order = index if index < 3 else index - 1
    return f"stages.{int(stage) - 1}.blocks.{order // 3}.conv{order % 3 + 1}.{field}"
