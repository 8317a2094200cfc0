"""A bundle -> one whose last blocks and read-out were taught the mean of many views.

``training.refit.tail_training`` says what is learnt and how.
"""

from dataclasses import asdict, replace
from pathlib import Path

from service.embedding.bundle import Manifest, read_manifest
from service.errors import InputError
from training.bundle.deploy import assemble
from training.bundle.export import ExportFacts, write_quantised
from training.bundle.recovered import read_trunk
from training.catalogue.contents import claim_folder, content_of
from training.refit.refit import (
    RefitData,
    calibration_inputs,
    finish_bundle,
    float_network,
)
from training.refit.tail_training import SelfDistilConfig, cache_streams, train_tail
from training.refit.trunk_tail import TrunkTail, open_beginning


def self_distil(
    source: Path,
    data: RefitData,
    config: SelfDistilConfig,
    facts: ExportFacts,
    run: Path,
    out: Path,
) -> Manifest:
    """Write the bundle folder ``out`` with all three precisions and return its manifest.

    Args:
        source: a bundle with a float network of a ResNet-50 v2 that ends at stage 3.
        run: keeps streams and checkpoint, so that an interrupted run goes on from them.

    Raises:
        InputError: the source holds no such network, a frame does not decode, there are fewer
            frames than a batch, or ``run`` is of another configuration, source or corpus.
    """
    before = read_manifest(source)
    if len(data.corpus) < config.batch:
        raise InputError(f"expected at least {config.batch} corpus frames, got {len(data.corpus)}")
    streams_of = {
        "trunk_of": before.encoder_id,
        "side_px": config.side_px,
        "border": config.border,
        "blocks": config.blocks,
        "frames": len(data.corpus),
        "content": content_of(data.corpus),
    }
    claim_folder(run / "self_distil.json", "self-distillation", streams_of)
    spec = replace(before.spec, side_px=config.side_px, border=config.border)
    trunk, readout = read_trunk(float_network(source, before))
    begin = open_beginning(trunk, config.blocks, config.side_px, run / "beginning.onnx")
    views = (*config.views, *config.target_views)
    streams = cache_streams(data.corpus, views, begin, readout, spec, run / "streams")
    tail = TrunkTail(trunk, readout, config.blocks)
    losses = train_tail(tail, streams, config, run)
    taught, readout = tail.join(trunk)
    calibration = calibration_inputs(data.corpus, spec)
    out.mkdir(parents=True, exist_ok=True)
    write_quantised(assemble(taught, readout), config.side_px, calibration, out)
    about = {"self_distillation": {**asdict(config), "last_loss": round(losses[-1], 4)}}
    dim = len(readout.bias_D)
    return finish_bundle(before, data, spec, calibration, facts, about, dim, out)
