"""``python -m training export``: a finished run -> an encoder bundle."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from service.arrays import Pixels
from service.errors import InputError
from service.imaging.formats.decode import decode
from training.bundle.export import ExportFacts, copy_precisions, load_run
from training.bundle.export import export as write_bundle
from training.catalogue.leaks import read_apart
from training.catalogue.manifest import (
    MAX_PIXELS,
    ManifestRow,
    corpus_facts,
    load_frames,
    read_manifest,
)
from training.commands.options import (
    SHIPPED_CONFIG,
    ConfigName,
    ManifestPath,
    NearDuplicateCosine,
    RunFolder,
    UnseenFrames,
)
from training.distil.config import DistillConfig, load_config
from training.distil.runs import corpus_rows

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
    unseen: UnseenFrames = 256,
    near_duplicate_cosine: NearDuplicateCosine = None,
) -> None:
    """Write the encoder bundle of a finished run, and the part of it that ships.

    Raises:
        Conflict: the corpus, on which the read-out is fitted, knows an evaluation frame.
        InputError: no corpus, bench or golden frames, or a run of another configuration.
    """
    config = load_config(config_name)
    corpus, bench = corpus_and_unseen(manifest, unseen, config)
    facts = ExportFacts(
        version, interim, corpus_facts(corpus), teacher, initial, near_duplicate_cosine
    )
    samples = golden_frames(golden)
    student, ran = load_run(run, config)
    full = write_bundle(
        student,
        config,
        corpus=load_frames(corpus),
        unseen=load_frames(bench),
        golden=samples,
        facts=facts,
        out=out,
        ran=ran,
    )
    precisions = (full.default_precision, "fp16")
    encoder_id = copy_precisions(out, shipped, facts, precisions=precisions).encoder_id
    log.info("exported", extra={"encoder_id": encoder_id, **full.about["fidelity"]})


def corpus_and_unseen(
    manifest: Path, unseen: int, config: DistillConfig | None = None
) -> tuple[list[ManifestRow], list[ManifestRow]]:
    """The rows that a read-out is fitted on, and about ``unseen`` bench rows to test it on.

    Args:
        config: whose sets make the corpus; None = all.

    Raises:
        Conflict: the corpus knows an evaluation frame, its subject or its likeness.
        InputError: the manifest cannot be read, or there is no row of one kind.
    """
    corpus, bench = read_apart(read_manifest(manifest))
    if config is not None:
        corpus = corpus_rows(corpus, config)
    if not corpus or not bench:
        raise InputError("expected corpus frames and bench frames in the manifest")
    return corpus, bench[:: max(1, len(bench) // unseen)][:unseen]


def golden_frames(folder: Path) -> list[Pixels]:
    """A few of the PNG frames of a folder, uint8 (H, W) each.

    Raises:
        InputError: it holds none, or one does not decode.
    """
    files = sorted(folder.rglob("*.png"))
    if not files:
        raise InputError("expected PNG frames in the folder of golden frames")
    frames = [decode(f.read_bytes(), max_pixels=MAX_PIXELS).pixels_HW for f in files]
    return frames[:: max(1, len(frames) // GOLDEN_FRAMES)][:GOLDEN_FRAMES]
