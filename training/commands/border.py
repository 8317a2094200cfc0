"""``python -m training border``: the networks of a bundle with another border of their input."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from service.embedding.bundle import SHIPPED_BUNDLE
from training.bundle.export import with_border

log = logging.getLogger("training")


def border(
    share: Annotated[float, typer.Argument(help="Black on each side, share of the region.")],
    out: Annotated[Path, typer.Option(help="Folder to write the bundle to.")],
    version: Annotated[str, typer.Option(help="Version of the encoder.")],
    source: Annotated[Path, typer.Option(help="Bundle with the networks.")] = SHIPPED_BUNDLE,
) -> None:
    """Write a bundle whose regions are embedded with a black border."""
    manifest = with_border(source, out, share, version)
    log.info("written", extra={"encoder_id": manifest.encoder_id})
