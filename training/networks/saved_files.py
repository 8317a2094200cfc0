"""Files that ``torch.save`` or safetensors wrote, read without running what is in them."""

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from service.errors import InputError


def read_saved(path: Path) -> dict[str, Any]:
    """The dictionary that ``torch.save`` wrote, its tensors on the CPU.

    Raises:
        InputError: the file is missing, damaged, or holds no dictionary of plain values.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    # Damaged files raise whatever the bytes happen to mean to pickle, zip and torch.
    except (
        *(OSError, RuntimeError, EOFError, ValueError),
        *(pickle.UnpicklingError, AttributeError, LookupError),
    ) as error:
        raise InputError(f"{path.name} cannot be read as a file of torch") from error
    if not isinstance(saved, dict):
        raise InputError(f"{path.name} cannot be read as a file of torch: it holds no dictionary")
    return saved


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, as float32.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return {name: tensor.float() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path.name} cannot be read as safetensors") from error
