"""The frozen teacher: class token and mean patch token of several blocks, side by side.

Shape suffixes: B batch, S input side, D target width.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from service.errors import InputError
from training.torchvision_shim import allow_unmatched_torchvision


class Teacher(nn.Module):
    """A vision transformer of timm, read out at ``blocks``; never trained here."""

    def __init__(self, network: nn.Module, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.blocks = blocks

    @torch.inference_mode()
    def forward(self, frames_B3SS: Tensor) -> Tensor:
        """Return (B, D), D = 2 x width x number of blocks, after the final norm."""
        pairs = self.network.forward_intermediates(  # type: ignore[operator]
            frames_B3SS,
            indices=list(self.blocks),
            return_prefix_tokens=True,
            norm=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        parts = [part for patches, prefix in pairs for part in (prefix[:, 0], patches.mean(1))]
        return torch.cat(parts, dim=1)


def load_teacher(path: Path, *, architecture: str, blocks: tuple[int, ...]) -> Teacher:
    """Build the timm model and load its weights strictly from safetensors (no pickle).

    Raises:
        InputError: the file does not hold exactly the weights of the architecture.
    """
    allow_unmatched_torchvision()
    import timm

    options: dict[str, Any] = {"img_size": 518} if "dinov2" in architecture else {}
    network = timm.create_model(architecture, num_classes=0, dynamic_img_size=True, **options)
    try:
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()}, strict=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path.name} does not hold the weights of {architecture}") from error
    return Teacher(network, blocks)
