"""A bundle whose checkpoint is gone -> a bundle with another read-out, input size or border.

The trunk stays as it was trained. The read-out is fitted on what the quantised trunk gives of
corpus frames as the service prepares them, and of further views of them; or it only gets
another centre.

Shape suffixes: N frames, S encoder side.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from service.arrays import Floats, Pixels
from service.embedding.bundle import Manifest, present_precisions, read_manifest
from service.errors import InputError
from service.imaging.analysis.preprocess import SQUASH_REDUCED, PreprocessSpec, normalise
from training.bundle.deploy import assemble
from training.bundle.export import (
    CALIBRATION_FRAMES,
    NETWORKS,
    ExportFacts,
    encoder_inputs,
    finish_networks,
    measure_fidelity,
    write_golden,
    write_manifest,
    write_quantised,
)
from training.bundle.onnx_files import open_pooled
from training.bundle.onnx_readout import set_readout
from training.bundle.recovered import read_trunk
from training.catalogue.manifest import ManifestRow
from training.networks.readout import Readout, ReadoutConfig, fit_readout
from training.refit.corpus_views import read_views, view_frames


@dataclass(frozen=True, slots=True)
class RefitConfig:
    """What a refit changes.

    Attributes:
        side_px: S.
        border: see ``PreprocessSpec``.
        resize: see ``PreprocessSpec``.
        views: see ``read_views``; the first is what the read-out is centred on.
        readout: how pooled features become the embedding; None keeps the read-out of the source
            and centres it anew.
    """

    side_px: int = 160
    border: float = 0.1
    resize: str = SQUASH_REDUCED
    views: tuple[str, ...] = ("served", "augmented1", "augmented2", "whole", "margins1")
    readout: ReadoutConfig | None = field(default_factory=ReadoutConfig)


@dataclass(frozen=True, slots=True)
class RefitData:
    """The frames of a refit.

    Attributes:
        corpus: fits the read-out and the ranges of int8.
        unseen: real frames outside the corpus, for the fidelity of each precision.
        golden: frames that may be given away.
    """

    corpus: Sequence[ManifestRow]
    unseen: Sequence[Pixels]
    golden: Sequence[Pixels]


def refit(
    source: Path, data: RefitData, config: RefitConfig, facts: ExportFacts, run: Path, out: Path
) -> Manifest:
    """Write the bundle folder ``out`` with all three precisions and return its manifest.

    Args:
        source: a bundle with a float network of a ResNet-50 v2 that ends at stage 3.
        run: keeps the quantised trunk and the pooled features, so that an interrupted run, or one
            with another read-out of the same width, goes on from them.

    Raises:
        InputError: the source holds no such network, a frame does not decode, or ``run`` is of
            another trunk, width, side, border or corpus.
    """
    manifest = read_manifest(source)
    spec = replace(
        manifest.spec, side_px=config.side_px, border=config.border, resize=config.resize
    )
    dim = manifest.dim if config.readout is None else config.readout.dim
    made_of = {
        "trunk_of": manifest.encoder_id,
        "side_px": config.side_px,
        "border": config.border,
        "resize": config.resize,
        "dim": dim,
        "frames": len(data.corpus),
    }
    claim_run(run / "refit.json", "refit", made_of)
    calibration = calibration_inputs(data.corpus, spec)
    _write_trunk(source, manifest, config.side_px, dim, calibration, run)
    readout, about = _readout(source, manifest, data.corpus, config, spec, run)
    out.mkdir(parents=True, exist_ok=True)
    for precision in ("fp32", "int8"):
        shutil.copyfile(run / NETWORKS[precision], out / NETWORKS[precision])
        set_readout(out / NETWORKS[precision], readout)
    return finish_bundle(manifest, data, spec, calibration, facts, about, dim, out)


def _readout(
    source: Path,
    manifest: Manifest,
    corpus: Sequence[ManifestRow],
    config: RefitConfig,
    spec: PreprocessSpec,
    run: Path,
) -> tuple[Readout, dict[str, Any]]:
    """The read-out of the new bundle, and what its manifest says of it."""
    pool = open_pooled(run / NETWORKS["int8"])
    if config.readout is None:
        weights_DK = read_trunk(float_network(source, manifest))[1].weights_DK
        (first_NK,) = read_views(corpus, config.views[:1], pool, spec, run / "views")
        # Another input moves all embeddings alike: off the origin, all cosines would be larger.
        mean_K = first_NK.mean(0, dtype=np.float64)
        bias_D = (-weights_DK @ mean_K).astype(np.float32)
        kept = {key: manifest.about[key] for key in ("read_out",) if key in manifest.about}
        return Readout(weights_DK, bias_D), kept
    first_NK, *others = read_views(corpus, config.views, pool, spec, run / "views")
    about = {"read_out": {"views": list(config.views), **asdict(config.readout)}}
    return fit_readout(first_NK, config.readout, others), about


def finish_bundle(
    before: Manifest,
    data: RefitData,
    spec: PreprocessSpec,
    calibration: Floats,
    facts: ExportFacts,
    about: dict[str, Any],
    dim: int,
    out: Path,
) -> Manifest:
    """Make a bundle of what ``write_quantised`` left in ``out``, and return its manifest.

    Args:
        before: of the bundle that the trunk comes from.
        about: what is new in this one.
        dim: D.
    """
    finish_networks(calibration, out)
    write_golden(out, NETWORKS, data.golden, spec)
    inputs = encoder_inputs(data.unseen, spec)
    kept = {key: before.about[key] for key in ("architecture", "stages", "config")}
    facts_of_bundle = {
        **kept,
        "teacher": facts.teacher,
        "initial_weights": facts.initial_weights,
        "corpus": list(facts.corpus),
        "fidelity": measure_fidelity(out, NETWORKS, inputs),
        **about,
        "trunk_of": before.version,
    }
    side = spec.side_px // 32
    shape = (dim, side, side)
    return write_manifest(out, NETWORKS, spec, facts, facts_of_bundle, shape, default="int8")


def claim_run(file: Path, what: str, facts: Mapping[str, Any]) -> None:
    """Note in the folder of a run what its files depend on. Raises InputError: they are others."""
    if file.exists() and json.loads(file.read_text()) != facts:
        raise InputError(f"the folder of the run holds another {what}; use another one")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(facts))


def calibration_inputs(corpus: Sequence[ManifestRow], spec: PreprocessSpec) -> Floats:
    """Corpus frames for the ranges of int8, as they are served and, every other one, whole."""
    chosen = corpus[:: max(1, len(corpus) // CALIBRATION_FRAMES)][:CALIBRATION_FRAMES]
    paths = [row.path for row in chosen]
    frames = view_frames(paths[::2], 0, "served", spec) + view_frames(paths[1::2], 0, "whole", spec)
    return normalise(np.stack(frames), spec)


def float_network(source: Path, manifest: Manifest) -> Path:
    """The network of a bundle that its trunk can be read from. Raises InputError: it has none."""
    present = present_precisions(source, manifest)
    names = [manifest.networks[p] for p in ("fp32", "fp16") if p in present]
    if not names:
        raise InputError(
            "the folder of the bundle holds no float network to read the trunk from; an installed "
            "package leaves it out, the repository has it"
        )
    return source / names[0]


def _write_trunk(
    source: Path, manifest: Manifest, side_px: int, dim: int, calibration: Floats, run: Path
) -> None:
    """The quantised trunk, with an empty read-out of the width that is wanted."""
    if (run / NETWORKS["int8"]).exists():
        return
    trunk, before = read_trunk(float_network(source, manifest))
    width = before.weights_DK.shape[1]
    empty = Readout(np.eye(dim, width, dtype=np.float32), np.zeros(dim, np.float32))
    student = assemble(trunk, empty).requires_grad_(False)
    write_quantised(student, side_px, calibration, run)
