"""A trained student -> the same function in a form that quantises and runs fast.

Norms of a post-activation ResNet fold into the convolutions before them. Pre-activation networks
keep batch-norms that stand after additions. Those cannot be folded into a convolution before
them, and a runtime computes them in float between int8 convolutions. Here every foldable norm is
folded and every lone one becomes a depth-wise 1x1 convolution, which quantises like any other.
The input norm moves into the preprocessing constants.

Shape suffix: C channels.
"""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.networks.backbones import AnyBackbone
from training.networks.lite_trunk import LiteTrunk
from training.networks.readout import Readout
from training.networks.student import Student, Trunk, affine_of


def assemble(trunk: AnyBackbone, readout: Readout, lite: LiteTrunk | None = None) -> Student:
    """Return the student in eval mode with the read-out as its 1x1 convolution.

    Args:
        lite: the second network, of whose features the last columns of the read-out are.
    """
    dim, width = readout.weights_DK.shape
    layer = nn.Conv2d(width, dim, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(readout.weights_DK)[:, :, None, None])
        layer.bias.copy_(torch.from_numpy(readout.bias_D))  # type: ignore[union-attr]
    return Student(trunk, layer, lite).eval()


def fold_norms(student: Student, spec: PreprocessSpec) -> tuple[Student, PreprocessSpec]:
    """Return an equal student without batch-norms, and the preprocessing it wants.

    Norms of a post-activation network stand behind a convolution each and vanish in it; where
    some do not (other timm networks), the runtime computes them as they are.

    Raises:
        InputError: the input norm flips a channel's sign, so that no ``std`` above 0 holds it.
    """
    student = copy.deepcopy(student).eval()
    trunk: nn.Module = student.trunk
    if not isinstance(trunk, Trunk):
        _fold_followers(trunk)
        return student.requires_grad_(False), spec
    stem: Any = student.trunk.stem
    spec = _absorb_input_norm(spec, stem[0])
    fused = fuse_conv_bn_eval(stem[1], stem[2])
    student.trunk.stem = nn.Sequential(fused, nn.ReLU(), stem[4])
    for stage in student.trunk.stages:
        blocks: Any = stage.blocks
        for block in blocks:
            _fold_block(block)
    student.trunk.norm = _lone_norm(student.trunk.norm)
    return student.requires_grad_(False), spec


def _absorb_input_norm(spec: PreprocessSpec, norm: nn.BatchNorm2d) -> PreprocessSpec:
    """(x - mean) / std then the norm's scale and shift = (x - mean') / std'."""
    scale_C, shift_C = (t.double().numpy() for t in affine_of(norm))
    if scale_C.min() <= 0:
        raise InputError("expected the input norm to keep the sign of every channel")
    std_C = np.asarray(spec.std) / scale_C
    mean_C = np.asarray(spec.mean) - shift_C * std_C
    mean, std = (tuple(float(v) for v in values) for values in (mean_C, std_C))
    return replace(spec, mean=mean, std=std)  # type: ignore[arg-type]


def _fold_followers(module: nn.Module) -> None:
    """Fold each batch-norm that is named or placed right behind a convolution into it.

    ResNets of timm run ``conv<n>`` then ``bn<n>``, and sequences run in their order.
    """
    for child in module.children():
        _fold_followers(child)
    children = dict(module.named_children())
    if isinstance(module, nn.Sequential):
        pairs = list(zip(children, list(children)[1:], strict=False))
    else:
        pairs = [(name, f"bn{name[4:]}") for name in children if name.startswith("conv")]
    for before, after in pairs:
        conv, norm = children[before], children.get(after)
        owner, key = (
            (conv, str(len(conv) - 1)) if isinstance(conv, nn.Sequential) else (module, before)
        )
        last = getattr(owner, key)
        if isinstance(last, nn.Conv2d) and type(norm) is nn.BatchNorm2d:
            setattr(owner, key, fuse_conv_bn_eval(last, norm))
            setattr(module, after, nn.Identity())


def _fold_block(block: Any) -> None:
    block.norm1 = _lone_norm(block.norm1)
    for conv, norm in (("conv1", "norm2"), ("conv2", "norm3")):
        setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
        setattr(block, norm, nn.ReLU())


def _lone_norm(norm: Any) -> nn.Sequential:
    """Batch-norm + ReLU as a depth-wise 1x1 convolution + ReLU."""
    scale_C, shift_C = affine_of(norm)
    layer = nn.Conv2d(len(scale_C), len(scale_C), 1, groups=len(scale_C))
    with torch.no_grad():
        layer.weight.copy_(scale_C[:, None, None, None])
        layer.bias.copy_(shift_C)  # type: ignore[union-attr]
    return nn.Sequential(layer, nn.ReLU())
