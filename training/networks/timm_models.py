"""timm networks with weights: from a local safetensors file first, else from a hub, or random."""

from pathlib import Path
from typing import Any

from torch import nn

from service.errors import InputError
from training.networks.saved_files import read_weights
from training.networks.torchvision_shim import allow_unmatched_torchvision

RANDOM, PRETRAINED, HUB = "random", "pretrained", "hf-hub:"


def create(architecture: str, weights: str, *, allow_head: bool = False, **options: Any) -> Any:
    """Build a timm network without classifier and fill it.

    Args:
        weights: path of a safetensors file (loaded strictly, no pickle), ``hf-hub:...``,
            ``pretrained`` (timm's tag of the architecture), or ``random``.
        allow_head: weights of a classifier in the file are left out instead of refused.

    Returns:
        The network; ``pretrained_cfg`` of it says what timm declares.

    Raises:
        InputError: no such architecture, a file that does not hold exactly its weights, or a hub
            that is out of reach.
    """
    if not weights:
        raise InputError(f"expected weights of {architecture}: a file, a hub id or 'random'")
    if weights == PRETRAINED or weights.startswith(HUB):
        return _from_hub(architecture, weights, options)
    network = _build(architecture, options)
    if weights != RANDOM:
        load_strictly(network, Path(weights), of=architecture, allow_head=allow_head)
    return network


def load_strictly(network: nn.Module, path: Path, *, of: str, allow_head: bool = False) -> None:
    """Fill every weight from a safetensors file.

    Raises:
        InputError: the file cannot be read, or a weight is missing, extra or of another shape.
    """
    stored = read_weights(path)
    if allow_head:
        stored = {k: v for k, v in stored.items() if not k.startswith(("fc.", "head.fc."))}
    try:
        network.load_state_dict(stored, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise InputError(
            f"{path.name} does not hold the weights of {of}: {first[0].strip()[:200]}"
        ) from error


def _build(name: str, options: dict[str, Any], *, pretrained: bool = False) -> Any:
    allow_unmatched_torchvision()
    import timm

    if not name.startswith(HUB) and not timm.is_model(name):
        raise InputError(f"timm has no architecture {name!r}")
    return timm.create_model(name, num_classes=0, pretrained=pretrained, **options)


def _from_hub(architecture: str, weights: str, options: dict[str, Any]) -> Any:
    name = architecture if weights == PRETRAINED else weights
    try:
        network = _build(name, options, pretrained=True)
    # The hub's client raises OSError, ValueError and RuntimeError for gates, names and cables.
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"the weights of {name} cannot be fetched ({type(error).__name__}); accept their "
            "licence and log in where they are gated, or fetch them elsewhere and give the path "
            "of the safetensors file"
        ) from error
    built = str((network.pretrained_cfg or {}).get("architecture", architecture))
    if built != architecture.split(".")[0]:
        raise InputError(f"expected weights of {architecture}, got those of {built}")
    return network
