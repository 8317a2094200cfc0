"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

from typer import Option

ManifestPath: TypeAlias = Annotated[
    Path, Option(help="manifest.csv naming corpus and bench frames.")
]
RunFolder: TypeAlias = Annotated[Path, Option(help="Folder of the finished run.")]
ConfigName: TypeAlias = Annotated[
    str, Option("--config", help="Named config, or a .py file with config().")
]
SetNames: TypeAlias = Annotated[str, Option(help="Bench sets, comma-separated; empty = all.")]
SetLimit: TypeAlias = Annotated[int, Option(min=1, help="About so many frames per set.")]
Seeds: TypeAlias = Annotated[int, Option(min=2, help="Splits per number of shots.")]
SHIPPED_CONFIG = "resnet50_stage3"


def split_names(names: str) -> list[str]:
    """The names of a comma-separated option."""
    return [name for name in names.split(",") if name]
