"""``python -m training refit``: an encoder bundle -> the same trunk with another read-out."""

import logging
from dataclasses import replace
from pathlib import Path

from service.embedding.bundle import SHIPPED_BUNDLE, Manifest, read_manifest
from training.bundle.export import ExportFacts, copy_precisions
from training.catalogue.manifest import corpus_facts, load_frames
from training.commands.export import corpus_and_unseen, golden_frames
from training.commands.options import (
    BundleFolder,
    EncoderVersion,
    GoldenFolder,
    KeepReadout,
    LiteWeights,
    ManifestPath,
    NearDuplicateCosine,
    ShippedFolder,
    SourceBundle,
    UnseenFrames,
    WorkFolder,
)
from training.refit.refit import LITE_WEIGHTS, RefitConfig, RefitData
from training.refit.refit import refit as write_refit

log = logging.getLogger("training")


def refit(
    manifest: ManifestPath,
    run: WorkFolder,
    golden: GoldenFolder,
    out: BundleFolder,
    shipped: ShippedFolder,
    version: EncoderVersion,
    source: SourceBundle = SHIPPED_BUNDLE,
    unseen: UnseenFrames = 256,
    keep_read_out: KeepReadout = False,
    lite_weights: LiteWeights = None,
    near_duplicate_cosine: NearDuplicateCosine = None,
) -> None:
    """Fit the read-out of a bundle again on corpus frames as the service prepares them."""
    data, facts = read_inputs(manifest, golden, source, version, unseen, near_duplicate_cosine)
    config = RefitConfig()
    if keep_read_out:
        config = replace(config, readout=None)
    if keep_read_out and lite_weights is None:
        data, facts = only_of(read_manifest(source), data, facts)
    if lite_weights is not None:  # all frames of the manifest fit its read-out
        data = replace(data, lite_weights=lite_weights)
        facts = replace(facts, initial_weights=f"{facts.initial_weights}; {LITE_WEIGHTS}")
    full = write_refit(source, data, config, facts, run, out)
    ship(full, out, shipped, facts)


def read_inputs(
    manifest: Path,
    golden: Path,
    source: Path,
    version: str,
    unseen: int,
    near_duplicate_cosine: float | None = None,
) -> tuple[RefitData, ExportFacts]:
    """The frames of a bundle that is made from another, and the facts that it keeps of it.

    Args:
        near_duplicate_cosine: of the new bundle; None = that of the source.

    Raises:
        Conflict: the corpus knows an evaluation frame, its subject or its likeness.
        InputError: a manifest or frame cannot be read, the manifest has no corpus or no bench
            frames, or ``golden`` holds no PNG frame.
    """
    samples = golden_frames(golden)
    corpus, bench = corpus_and_unseen(manifest, unseen)
    before = read_manifest(source)
    facts = ExportFacts(
        version,
        before.interim,
        corpus_facts(corpus),
        before.about["teacher"],
        before.about["initial_weights"],
        before.near_duplicate_cosine if near_duplicate_cosine is None else near_duplicate_cosine,
    )
    return RefitData(corpus, load_frames(bench), samples), facts


def only_of(before: Manifest, data: RefitData, facts: ExportFacts) -> tuple[RefitData, ExportFacts]:
    """Only the corpus that a bundle names: nothing of the new one is learnt from other frames."""
    named = {one["dataset"] for one in before.about["corpus"]}
    corpus = [row for row in data.corpus if row.dataset in named]
    return replace(data, corpus=corpus), replace(facts, corpus=tuple(before.about["corpus"]))


def ship(full: Manifest, out: Path, shipped: Path, facts: ExportFacts) -> None:
    """Copy the precisions that ship."""
    precisions = (full.default_precision, "fp16")
    encoder_id = copy_precisions(out, shipped, facts, precisions=precisions).encoder_id
    log.info("written", extra={"encoder_id": encoder_id, **full.about["fidelity"]})
