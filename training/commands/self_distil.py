"""``python -m training self-distil``: teach the end of an encoder the mean of many views."""

from dataclasses import replace
from typing import Annotated

import typer

from service.embedding.bundle import SHIPPED_BUNDLE
from training.commands.options import (
    BundleFolder,
    EncoderVersion,
    GoldenFolder,
    ManifestPath,
    NearDuplicateCosine,
    ShippedFolder,
    SourceBundle,
    UnseenFrames,
    WorkFolder,
    split_names,
)
from training.commands.refit import read_inputs, ship
from training.refit.self_distil import self_distil as write_self_distilled
from training.refit.tail_training import SelfDistilConfig

_DEFAULTS = SelfDistilConfig()


def self_distil(
    manifest: ManifestPath,
    run: WorkFolder,
    golden: GoldenFolder,
    out: BundleFolder,
    shipped: ShippedFolder,
    version: EncoderVersion,
    source: SourceBundle = SHIPPED_BUNDLE,
    unseen: UnseenFrames = 256,
    views: Annotated[str, typer.Option(help="What the student sees, comma-separated.")] = ",".join(
        _DEFAULTS.views
    ),
    target_views: Annotated[
        str, typer.Option(help="Their mean is taught, comma-separated.")
    ] = ",".join(_DEFAULTS.target_views),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the corpus.")] = _DEFAULTS.epochs,
    blocks: Annotated[
        int, typer.Option(min=1, max=5, help="Last blocks of stage 3 that learn.")
    ] = _DEFAULTS.blocks,
    near_duplicate_cosine: NearDuplicateCosine = None,
) -> None:
    """Teach the last blocks of a bundle to give one view of a frame the mean of several."""
    data, facts = read_inputs(manifest, golden, source, version, unseen, near_duplicate_cosine)
    config = replace(
        _DEFAULTS,
        views=tuple(split_names(views)),
        target_views=tuple(split_names(target_views)),
        epochs=epochs,
        blocks=blocks,
    )
    full = write_self_distilled(source, data, config, facts, run, out)
    ship(full, out, shipped, facts)
