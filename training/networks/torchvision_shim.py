"""Let timm be imported beside a torchvision that was built for another torch.

A CPU build of torch next to a CUDA build of torchvision is common where an index holds no CPU
build of torchvision. Importing it then fails with ``operator torchvision::nms does not exist``,
because its compiled library did not load. timm needs only its Python parts, so declaring the
two missing operator schemas is enough. Does nothing where the import works.
"""

import importlib
import importlib.util
import sys
from typing import Any

_SCHEMAS = ("nms", "qnms")
_KEEP: list[Any] = []  # a torch.library.Library undoes its definitions when collected


def allow_unmatched_torchvision() -> None:
    """Make ``import timm`` work whether or not torchvision's compiled library loads.

    Raises:
        ImportError: torchvision fails for another reason than the missing operators.
    """
    if _KEEP or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise ImportError("torchvision cannot be imported") from error
        _forget_half_imported()
        _declare_operators()
        importlib.import_module("torchvision")


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]


def _declare_operators() -> None:
    import torch

    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in _SCHEMAS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEEP.append(library)
