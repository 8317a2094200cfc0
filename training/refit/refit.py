"""A bundle whose checkpoint is gone -> a bundle with another read-out, input size or border.

The trunk stays as it was trained. The read-out is fitted on what the quantised trunk gives of
corpus frames as the service prepares them, and of further views of them; or it only gets
another centre. A second network may be set beside the trunk.

Shape suffixes: N frames, S encoder side, D embedding width, K pooled features.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from service.arrays import Floats, Pixels
from service.embedding.bundle import Manifest, present_precisions, read_manifest
from service.errors import InputError
from service.imaging.analysis.preprocess import SQUASH_REDUCED, PreprocessSpec, normalise
from training.bundle.card import SECOND_NETWORK
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
from training.bundle.recovered import RecoveredNetworks, read_networks
from training.catalogue.contents import claim_folder, content_of, content_of_file
from training.catalogue.manifest import ManifestRow
from training.networks.lite_trunk import ARCHITECTURE as LITE
from training.networks.lite_trunk import WIDTH as LITE_WIDTH
from training.networks.lite_trunk import lite_blocks, load_lite_trunk
from training.networks.readout import (
    WIDTH_TO_STAGE3,
    Readout,
    ReadoutConfig,
    fit_readout,
    join_readouts,
)
from training.refit.corpus_views import read_views, view_frames

LITE_WEIGHTS = "ImageNet EfficientNet-Lite2, Apache-2.0"
LITE_VIEWS = ("served", "flipped", "augmented1")  # what the read-out of the second is fitted on
ReadViews: TypeAlias = Callable[[Sequence[str]], list[Floats]]


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
        lite_share: of a second network in the squared length of the embedding.
    """

    side_px: int = 160
    border: float = 0.1
    resize: str = SQUASH_REDUCED
    views: tuple[str, ...] = ("served", "augmented1", "augmented2", "whole", "margins1")
    readout: ReadoutConfig | None = field(default_factory=ReadoutConfig)
    lite_share: float = 0.3


@dataclass(frozen=True, slots=True)
class RefitData:
    """The frames of a refit.

    Attributes:
        corpus: fits the read-out and the ranges of int8.
        unseen: real frames outside the corpus, for the fidelity of each precision.
        golden: frames that may be given away.
        lite_weights: ImageNet weights of a second network, see ``load_lite_trunk``; None keeps
            that of the source, if it has one.
    """

    corpus: Sequence[ManifestRow]
    unseen: Sequence[Pixels]
    golden: Sequence[Pixels]
    lite_weights: Path | None = None


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
    networks = _networks(source, manifest, data.lite_weights)
    dim = manifest.dim if config.readout is None else config.readout.dim
    made_of = {
        "trunk_of": manifest.encoder_id,
        "side_px": config.side_px,
        "border": config.border,
        "resize": config.resize,
        "dim": dim,
        "frames": len(data.corpus),
        "content": content_of(data.corpus),
        "second_network": _second(networks, data.lite_weights),
    }
    claim_folder(run / "refit.json", "refit", made_of)
    calibration = calibration_inputs(data.corpus, spec)
    _write_trunk(networks, config.side_px, dim, calibration, run)
    pool, exact_pool = (open_pooled(run / NETWORKS[name]) for name in ("int8", "fp32"))

    def read(views: Sequence[str]) -> list[Floats]:
        return read_views(data.corpus, views, pool, spec, run / "views")

    is_kept = data.lite_weights is None and config.readout is None
    readout = networks.readout if is_kept else _fitted(networks, config, read)
    about = {**_facts_of(manifest, config), **_lite_facts(manifest, data.lite_weights, config)}
    out.mkdir(parents=True, exist_ok=True)
    # Rounding moves all features of a channel alike, and the int8 network gets the mean of the
    # fp32 one at last. So the centre of both is that of the exact features.
    (exact_NK,) = read_views(data.corpus, ("served",), exact_pool, spec, run / "exact_views")
    readout = _centred_on(readout.weights_DK, exact_NK)
    for precision in ("fp32", "int8"):
        shutil.copyfile(run / NETWORKS[precision], out / NETWORKS[precision])
        set_readout(out / NETWORKS[precision], readout)
    return finish_bundle(manifest, data, spec, calibration, facts, about, dim, out)


def _networks(source: Path, manifest: Manifest, lite_weights: Path | None) -> RecoveredNetworks:
    """The networks of the source, with the second one that is given."""
    found = read_networks(float_network(source, manifest))
    if lite_weights is None:
        return found
    if found.lite is not None:
        raise InputError("the source has a second network already")
    return replace(found, lite=load_lite_trunk(lite_weights, manifest.spec))


def _second(networks: RecoveredNetworks, lite_weights: Path | None) -> bool | str:
    """Which second network there is: none, that of the source, or the digest of a given one."""
    return networks.lite is not None if lite_weights is None else content_of_file(lite_weights)


def _facts_of(manifest: Manifest, config: RefitConfig) -> dict[str, Any]:
    """What the new manifest says of the read-out."""
    if config.readout is None:
        return {key: manifest.about[key] for key in ("read_out",) if key in manifest.about}
    return {"read_out": {"views": list(config.views), **asdict(config.readout)}}


def _lite_facts(
    manifest: Manifest, lite_weights: Path | None, config: RefitConfig
) -> dict[str, Any]:
    """What the new manifest says of the second network."""
    if lite_weights is None:
        return {k: manifest.about[k] for k in (SECOND_NETWORK,) if k in manifest.about}
    named = {"architecture": LITE, "initial_weights": LITE_WEIGHTS}
    return {SECOND_NETWORK: {**named, "share": config.lite_share, "views": list(LITE_VIEWS)}}


def _centred_on(weights_DK: Floats, first_NK: Floats) -> Readout:
    """The read-out with another centre.

    Another input moves all embeddings alike: off the origin, all cosines would be larger.
    """
    mean_K = first_NK.mean(0, dtype=np.float64)
    return Readout(weights_DK, (-weights_DK @ mean_K).astype(np.float32))


def _fitted(networks: RecoveredNetworks, config: RefitConfig, read: ReadViews) -> Readout:
    """The read-out of the trunk, fitted or kept, joined with one of the second network."""
    views = LITE_VIEWS if config.readout is None else config.views
    pooled = read(views)
    trunk_views = [view_NK[:, :WIDTH_TO_STAGE3] for view_NK in pooled]
    if config.readout is None:
        readout = _centred_on(networks.readout.weights_DK, trunk_views[0])
    else:
        readout = fit_readout(trunk_views[0], config.readout, trunk_views[1:])
    if networks.lite is None:
        return readout
    lite_views = [view_NK[:, WIDTH_TO_STAGE3:] for view_NK in pooled]
    dim = len(readout.bias_D)
    settings = replace(config.readout or ReadoutConfig(), dim=dim)
    lite = fit_readout(lite_views[0], settings, lite_views[1:], lite_blocks())
    shares = (1 - config.lite_share, config.lite_share)
    return join_readouts((readout, lite), (trunk_views[0], lite_views[0]), shares, dim)


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
    networks: RecoveredNetworks, side_px: int, dim: int, calibration: Floats, run: Path
) -> None:
    """The quantised networks, with an empty read-out of the width that is wanted."""
    if (run / NETWORKS["int8"]).exists():
        return
    width = WIDTH_TO_STAGE3 + (0 if networks.lite is None else LITE_WIDTH)
    empty = Readout(np.eye(dim, width, dtype=np.float32), np.zeros(dim, np.float32))
    student = assemble(networks.trunk, empty, networks.lite).requires_grad_(False)
    write_quantised(student, side_px, calibration, run)
