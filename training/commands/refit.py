"""``python -m training refit``: an encoder bundle -> the same trunk with another read-out."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from service.embedding.bundle import SHIPPED_BUNDLE, read_manifest
from service.imaging.formats.decode import decode
from training.bundle.export import ExportFacts, copy_precisions
from training.catalogue.manifest import (
    MAX_PIXELS,
    corpus_facts,
    load_frames,
)
from training.catalogue.manifest import (
    read_manifest as read_rows,
)
from training.commands.export import GOLDEN_FRAMES
from training.commands.options import ManifestPath
from training.refit.refit import RefitConfig, RefitData
from training.refit.refit import refit as write_refit

log = logging.getLogger("training")


def refit(
    manifest: ManifestPath,
    run: Annotated[Path, typer.Option(help="Folder for what an interrupted run goes on from.")],
    golden: Annotated[Path, typer.Option(help="Folder of PNG frames that may be given away.")],
    out: Annotated[Path, typer.Option(help="Folder to write the full bundle to.")],
    shipped: Annotated[Path, typer.Option(help="Folder to write int8 and fp16 to, as they ship.")],
    version: Annotated[str, typer.Option(help="Version of the encoder.")],
    source: Annotated[Path, typer.Option(help="Bundle with the trunk.")] = SHIPPED_BUNDLE,
    unseen: Annotated[int, typer.Option(help="Bench frames to measure fidelity on.")] = 256,
) -> None:
    """Fit the read-out of a bundle again on corpus frames as the service prepares them."""
    rows = read_rows(manifest)
    corpus = [row for row in rows if row.use == "corpus"]
    bench = [row for row in rows if row.use == "bench"]
    bench = bench[:: max(1, len(bench) // unseen)][:unseen]
    before = read_manifest(source)
    facts = ExportFacts(
        version,
        before.interim,
        corpus_facts(corpus),
        before.about["teacher"],
        before.about["initial_weights"],
    )
    files = sorted(golden.rglob("*.png"))
    samples = [decode(f.read_bytes(), max_pixels=MAX_PIXELS).pixels_HW for f in files]
    data = RefitData(
        corpus,
        load_frames(bench),
        samples[:: max(1, len(samples) // GOLDEN_FRAMES)][:GOLDEN_FRAMES],
    )
    full = write_refit(source, data, RefitConfig(), facts, run, out)
    precisions = (full.default_precision, "fp16")
    encoder_id = copy_precisions(out, shipped, facts, precisions=precisions).encoder_id
    log.info("refitted", extra={"encoder_id": encoder_id, **full.about["fidelity"]})
