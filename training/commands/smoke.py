"""``python -m training smoke``: proves on any machine that the way is open from end to end."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.smoke import smoke as walk


def smoke(
    folder: Annotated[
        Path | None, typer.Option(help="Keep run and bundle here; default: thrown away.")
    ] = None,
) -> None:
    """Simulated frames -> distil -> evaluate -> export -> served; minutes on 2 CPU cores."""
    console = Console(soft_wrap=True)
    started = time.perf_counter()

    def say(what: str) -> None:
        console.print(f"[{time.perf_counter() - started:5.1f} s] {what}", markup=False)

    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        walk(folder, say)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            walk(Path(scratch), say)
    say("smoke passed")
