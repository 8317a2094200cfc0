"""The end of a trunk, apart from its beginning: the part that self-distillation trains.

The beginning stays as it is, so a view passes it once, in ONNX Runtime, and what comes out is
kept on disk. A step of training then costs only the last blocks.

Shape suffixes: B batch, S side, C channels, h w map sides, K pooled features, D embedding width.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from service.arrays import Floats
from service.errors import InputError
from training.bundle.onnx_files import INPUT, open_network
from training.networks.onnx_export import export_onnx
from training.networks.readout import Readout, pool_features
from training.networks.student import Trunk

Beginning: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]
_OUTPUTS = ("stream", "pooled")


class TrunkTail(nn.Module):
    """The last blocks of stage 3, the norm behind them and the read-out, copied.

    Args:
        trunk: folded (``fold_norms``), ends at stage 3.
        blocks: how many of the blocks of stage 3, at least 1 and fewer than it has.

    Raises:
        InputError: there are not so many blocks.
    """

    def __init__(self, trunk: Trunk, readout: Readout, blocks: int) -> None:
        super().__init__()
        stage3 = list(_blocks(trunk))
        if not 1 <= blocks < len(stage3):
            raise InputError(f"expected 1 to {len(stage3) - 1} blocks to train, got {blocks}")
        self.blocks = nn.ModuleList(copy.deepcopy(block) for block in stage3[-blocks:])
        self.norm: Any = copy.deepcopy(trunk.norm)
        self.weights_DK = nn.Parameter(torch.from_numpy(readout.weights_DK.copy()))
        self.bias_D = nn.Parameter(torch.from_numpy(readout.bias_D.copy()))

    def forward(self, stream_BChw: Tensor) -> Tensor:
        """The embedding before its unit length, (B, D)."""
        for block in self.blocks:
            stream_BChw = block(stream_BChw)
        # norm[0]: without the ReLU behind it, as ``Trunk.read`` gives it.
        return pool_features(self.norm[0](stream_BChw), None) @ self.weights_DK.T + self.bias_D

    def join(self, trunk: Trunk) -> tuple[Trunk, Readout]:
        """A copy of the trunk that ends with this tail, and the read-out."""
        joined = copy.deepcopy(trunk)
        kept = list(_blocks(joined))[: -len(self.blocks)]
        stage3: Any = joined.stages[-1]
        stage3.blocks = nn.Sequential(*kept, *copy.deepcopy(self.blocks))
        joined.norm = copy.deepcopy(self.norm)
        weights_DK, bias_D = self.weights_DK.detach().numpy(), self.bias_D.detach().numpy()
        return joined.eval().requires_grad_(False), Readout(weights_DK.copy(), bias_D.copy())


class _Beginning(nn.Module):
    def __init__(self, trunk: Trunk, blocks: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.left = blocks

    def forward(self, frames_B3SS: Tensor) -> tuple[Tensor, Tensor]:
        maps: Tensor = self.trunk.stem(frames_B3SS)
        for stage in list(self.trunk.stages)[:-1]:
            maps = stage(maps)
        blocks = list(_blocks(self.trunk))
        for block in blocks[: -self.left]:
            maps = block(maps)
        stream_BChw = maps
        for block in blocks[-self.left :]:
            maps = block(maps)
        return stream_BChw, pool_features(self.trunk.read_stream(maps)[0], None)


def open_beginning(
    trunk: Trunk, blocks: int, side_px: int, path: Path, threads: int = 0
) -> Beginning:
    """A function from frames (B, 3, S, S) to the stream that enters a tail, and pooled features.

    Args:
        blocks: of the tail.
        path: where the network is written.
        threads: 0 = every core.

    Returns:
        stream_BChw that ``TrunkTail`` takes, and pooled_BK of the trunk as it is; float32.
    """
    export_onnx(
        _Beginning(trunk, blocks).eval(),
        torch.zeros(2, 3, side_px, side_px),
        path,
        input_name=INPUT,
        output_names=_OUTPUTS,
        free_axes={0: torch.export.Dim("n", min=1, max=4096)},
    )
    session = open_network(path, threads)

    def begin(frames_B3SS: Floats) -> tuple[Floats, Floats]:
        stream_BChw, pooled_BK = session.run(list(_OUTPUTS), {INPUT: frames_B3SS})
        return np.asarray(stream_BChw), np.asarray(pooled_BK)

    return begin


def _blocks(trunk: Trunk) -> nn.Sequential:
    stage3: Any = trunk.stages[-1]
    blocks: nn.Sequential = stage3.blocks
    return blocks
