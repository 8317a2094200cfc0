"""``python -m training simulate``: write simulated frames, one folder per scene."""

from pathlib import Path
from typing import Annotated

import typer

from training.catalogue.simulator import write_samples


def simulate(
    folder: Annotated[Path, typer.Argument(help="Where to write, one folder per scene.")],
    per_class: Annotated[int, typer.Option(help="Frames per scene.")] = 10,
    seed: Annotated[int, typer.Option(help="The same seed gives the same frames.")] = 7,
) -> None:
    """Write simulated frames."""
    write_samples(folder, per_class=per_class, seed=seed)
