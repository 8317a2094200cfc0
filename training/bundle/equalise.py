"""Even out channel ranges before int8, without changing the function.

One scale serves a whole activation tensor in int8, so a channel with a small range keeps few of
the 256 steps. ReLU commutes with positive scales, hence a channel may be made larger where it is
written and smaller where it is read (Nagel et al. 2019, "Data-free quantization through weight
equalization and bias correction"). In a pre-activation network this holds for the residual
stream as well: all blocks of a stage write to it, and only depth-wise norms read it.

Shape suffixes: B batch, C channels.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from training.networks.student import Student

_TINY = 1e-6


def equalise(student: Student, calibration_B3SS: Tensor, *, balance: float = 0.5) -> None:
    """Rescale a student made by ``fold_norms`` in place; outputs stay equal to rounding.

    Args:
        calibration_B3SS: preprocessed real frames; channel ranges come from them.
        balance: share of a channel's spread that is moved into the weights that read it, 0..1;
            free for the stream, whose readers are quantised per channel.
    """
    ranges = _channel_ranges(student, calibration_B3SS)
    stages: list[Any] = list(student.trunk.stages)
    readers_after: list[Any] = [stage.blocks[0].norm1 for stage in stages[1:]]
    _rescale_stem(student, stages[0].blocks[0].norm1, ranges)
    for index, stage in enumerate(stages):
        blocks = list(stage.blocks)
        after: Any = readers_after[index] if index + 1 < len(stages) else student.trunk.norm
        spread_C = torch.stack([ranges[block] for block in blocks]).amax(0)
        writers = [block.conv3 for block in blocks] + [blocks[0].downsample.conv]
        readers = [block.norm1[0] for block in blocks[1:]] + [after[0]]
        _move(1 / _relative(spread_C), writers, readers)
    for stage in stages:
        for block in stage.blocks:
            # The first norm of the last stage is read by the projection as well: leave it.
            shared = block.norm1 is student.trunk.stage3_norm
            _rescale_inside(block, ranges, balance, with_entry=not shared)


def _rescale_stem(student: Student, reader: Any, ranges: dict[Any, Tensor]) -> None:
    stem: Any = student.trunk.stem
    _move(1 / _relative(ranges[stem]), [stem[0]], [reader[0]])


def _rescale_inside(
    block: Any, ranges: dict[Any, Tensor], balance: float, *, with_entry: bool
) -> None:
    """norm1 -> conv1 -> conv2 -> conv3: balance activations against the weights that read them."""
    entry = [block.conv1] if block.downsample is None else [block.conv1, block.downsample.conv]
    steps = [
        (block.conv1, block.norm2, [block.conv2]),
        (block.conv2, block.norm3, [block.conv3]),
    ]
    if with_entry:
        steps.insert(0, (block.norm1[0], block.norm1, entry))
    for writer, activation, readers in steps:
        used_C = torch.stack([r.weight.abs().amax((0, 2, 3)) for r in readers]).amax(0)
        gain_C = _relative(used_C) ** (1 - balance) / _relative(ranges[activation]) ** balance
        _move(gain_C, [writer], readers)


def _relative(spread_C: Tensor) -> Tensor:
    """Spread over its geometric mean, dead channels as 1."""
    alive_C = spread_C > _TINY
    if not bool(alive_C.any()):
        return torch.ones_like(spread_C)
    centre = spread_C[alive_C].log().mean().exp()
    return torch.where(alive_C, spread_C / centre, torch.ones_like(spread_C)).clamp(1e-3, 1e3)


@torch.no_grad()
def _move(gain_C: Tensor, writers: Iterable[nn.Conv2d], readers: Iterable[nn.Conv2d]) -> None:
    """Multiply what writers give by ``gain_C`` and divide what readers take by it."""
    for writer in writers:
        writer.weight.mul_(gain_C[:, None, None, None])
        if writer.bias is not None:
            writer.bias.mul_(gain_C)
    for reader in readers:
        shape = (-1, 1, 1, 1) if reader.groups > 1 else (1, -1, 1, 1)
        reader.weight.div_(gain_C.reshape(shape))


@torch.inference_mode()
def _channel_ranges(student: Student, calibration_B3SS: Tensor) -> dict[Any, Tensor]:
    """Largest magnitude per channel of the stem, each block's sum and each inner ReLU."""
    ranges: dict[Any, Tensor] = {}

    def watch(module: Any, _inputs: Any, output: Tensor) -> None:
        peak_C = output.abs().amax((0, 2, 3))
        ranges[module] = torch.maximum(ranges[module], peak_C) if module in ranges else peak_C

    blocks: list[Any] = [b for s in student.trunk.stages for b in s.blocks]  # type: ignore[union-attr]
    watched = [
        student.trunk.stem,
        *blocks,
        *(n for b in blocks for n in (b.norm1, b.norm2, b.norm3)),
    ]
    handles = [module.register_forward_hook(watch) for module in watched]
    for start in range(0, len(calibration_B3SS), 16):
        student(calibration_B3SS[start : start + 16])
    for handle in handles:
        handle.remove()
    return {module: peak_C.clone() for module, peak_C in ranges.items()}
