"""``python -m training export``: a finished run -> an encoder bundle."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from service.imaging.formats.decode import decode
from training.bundle.export import ExportFacts, copy_precisions, load_student
from training.bundle.export import export as write_bundle
from training.catalogue.manifest import MAX_PIXELS, corpus_facts, load_frames, read_manifest
from training.commands.options import (
    SHIPPED_CONFIG,
    ConfigName,
    ManifestPath,
    NearDuplicateCosine,
    RunFolder,
)
from training.distil.config import load_config

log = logging.getLogger("training")
GOLDEN_FRAMES = 6


def export(
    manifest: ManifestPath,
    run: RunFolder,
    golden: Annotated[Path, typer.Option(help="Folder of PNG frames that may be given away.")],
    out: Annotated[Path, typer.Option(help="Folder to write the full bundle to.")],
    shipped: Annotated[
        Path, typer.Option(help="Folder for int8 and fp16, as the repository has it.")
    ],
    teacher: Annotated[str, typer.Option(help="Name and licence of the teacher.")],
    initial: Annotated[str, typer.Option(help="Name and licence of the initial weights.")],
    config_name: ConfigName = SHIPPED_CONFIG,
    version: Annotated[str, typer.Option(help="Version of the encoder.")] = "0.1.0",
    interim: Annotated[bool, typer.Option(help="Say that it is a stand-in.")] = True,
    unseen: Annotated[int, typer.Option(help="Bench frames to measure fidelity on.")] = 256,
    near_duplicate_cosine: NearDuplicateCosine = None,
) -> None:
    """Write the encoder bundle of a finished run, and the part of it that ships."""
    config = load_config(config_name)
    rows = read_manifest(manifest)
    corpus = [row for row in rows if row.use == "corpus"]
    bench = [row for row in rows if row.use == "bench"]
    bench = bench[:: max(1, len(bench) // unseen)][:unseen]
    facts = ExportFacts(
        version, interim, corpus_facts(corpus), teacher, initial, near_duplicate_cosine
    )
    files = sorted(golden.rglob("*.png"))
    samples = [decode(f.read_bytes(), max_pixels=MAX_PIXELS).pixels_HW for f in files]
    full = write_bundle(
        load_student(run / "checkpoint.pt", config.student),
        config,
        corpus=load_frames(corpus),
        unseen=load_frames(bench),
        golden=samples[:: max(1, len(samples) // GOLDEN_FRAMES)][:GOLDEN_FRAMES],
        facts=facts,
        out=out,
    )
    precisions = (full.default_precision, "fp16")
    encoder_id = copy_precisions(out, shipped, facts, precisions=precisions).encoder_id
    log.info("exported", extra={"encoder_id": encoder_id, **full.about["fidelity"]})
