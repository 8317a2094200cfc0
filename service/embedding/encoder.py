"""The encoder: a verified bundle, run by ONNX Runtime on the CPU.

Shape suffixes: B batch, T golden frames, S encoder side, D embedding width, h w places.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from service.arrays import Floats
from service.embedding.bundle import (
    CARD_NAME,
    GOLDEN_COSINE,
    GOLDEN_NAME,
    RUNTIME,
    ULTRASOUND_NAME,
    Manifest,
    read_manifest,
    require_precision,
    verify_files,
)
from service.embedding.onnx_session import open_session
from service.embedding.ultrasound_gate import UltrasoundTest, read_ultrasound_test
from service.errors import ArtifactMismatch
from service.imaging.analysis.preprocess import PreprocessSpec, normalise

INPUT_NAME, OUTPUT_NAME = "frames", "embedding"
MAP_NAME = "feature_map"
MAPS_INPUT = "maps"  # newer networks compute the map only when this is True


class Encoder(Protocol):
    """What the pipeline needs of an encoder."""

    @property
    def encoder_id(self) -> str:
        """Same id, same embedding."""

    @property
    def dim(self) -> int:
        """D."""

    @property
    def spec(self) -> PreprocessSpec:
        """The input that it expects."""

    @property
    def manifest(self) -> Manifest | None:
        """Of its bundle, if it came from one."""

    @property
    def card(self) -> str:
        """Its model card, Markdown."""

    @property
    def ultrasound(self) -> UltrasoundTest | None:
        """Separates ultrasound from other pictures; None where it was not measured."""

    @property
    def lanes(self) -> Sequence["Encoder"]:
        """The same network on fewer cores each, for parallel passes; may be empty."""

    def encode(self, frames_B3SS: Floats) -> Floats:
        """Preprocessed frames, float32 (B, 3, S, S) -> unit embeddings, float32 (B, D)."""

    def encode_mapped(self, frames_B3SS: Floats) -> tuple[Floats, Floats]:
        """The embeddings (B, D) and the feature maps, float32 (B, D, h, w).

        The mean of a map over its places has the direction of its embedding. Maps cost extra
        time, so ``encode`` does not compute them where the network allows that.
        """


class OnnxEncoder:
    """One network of a bundle in ONNX Runtime."""

    def __init__(
        self,
        session: Any,
        manifest: Manifest,
        card: str,
        precision: str,
        ultrasound: UltrasoundTest | None = None,
        lanes: Sequence["OnnxEncoder"] = (),
    ) -> None:
        self._session = session
        self.manifest = manifest
        self.encoder_id = manifest.encoder_id
        self.dim = manifest.dim
        self.spec = manifest.spec
        self.card = card
        self.precision = precision
        self.ultrasound = ultrasound
        self.lanes = tuple(lanes)
        optional = session.get_overridable_initializers()
        self._has_switch = any(entry.name == MAPS_INPUT for entry in optional)

    def encode(self, frames_B3SS: Floats) -> Floats:
        """See ``Encoder``."""
        (embeddings_BD,) = self._session.run([OUTPUT_NAME], {INPUT_NAME: frames_B3SS})
        return np.asarray(embeddings_BD)

    def encode_mapped(self, frames_B3SS: Floats) -> tuple[Floats, Floats]:
        """See ``Encoder``."""
        inputs = {INPUT_NAME: frames_B3SS}
        if self._has_switch:
            inputs[MAPS_INPUT] = np.array(True)
        embeddings_BD, maps_BDhw = self._session.run([OUTPUT_NAME, MAP_NAME], inputs)
        return embeddings_BD, maps_BDhw


def load_encoder(
    folder: Path, *, precision: str = "auto", threads: int = 0, with_lanes: bool = False
) -> OnnxEncoder:
    """Verify a bundle and open one of its networks.

    Args:
        folder: of the bundle.
        precision: a key of ``manifest.networks``; ``auto`` = the default of the bundle.
        threads: of one forward pass; 0 = every core.
        with_lanes: open the network again for two parallel passes on half of the threads each,
            which takes about 100 MB; without effect on a single thread.

    Raises:
        ArtifactMismatch: a file is missing or differs from the manifest, the precision is not
            in the folder of the bundle, the network does not open, or it does not give its golden
            embeddings.
    """
    manifest = read_manifest(folder)
    precision = manifest.default_precision if precision == "auto" else precision
    require_precision(folder, manifest, precision)
    verify_files(folder, manifest)
    network = folder / manifest.networks[precision]
    session = open_session(network, threads)
    card = (folder / CARD_NAME).read_text(encoding="utf-8")
    test = ultrasound_test_of(folder)
    halves = _open_halves(network, threads) if with_lanes else []
    lanes = [OnnxEncoder(half, manifest, card, precision, test) for half in halves]
    encoder = OnnxEncoder(session, manifest, card, precision, test, lanes)
    for variant in (encoder, *lanes):
        _check_golden(variant, folder / GOLDEN_NAME)
    return encoder


def ultrasound_test_of(folder: Path) -> UltrasoundTest | None:
    """The test of a bundle, without its network; None = it has none. Raises ArtifactMismatch."""
    manifest = read_manifest(folder)
    if all(file.name != ULTRASOUND_NAME for file in manifest.files):
        return None
    return read_ultrasound_test(folder / ULTRASOUND_NAME, manifest.dim, manifest.encoder_id)


def _open_halves(path: Path, threads: int) -> list[Any]:
    """Two sessions with half of the threads each; one session twice when half is one thread."""
    whole = threads or _cores()
    if whole < 2:
        return []
    half = open_session(path, whole // 2)
    # A session of one thread has no pool: the passes of two callers run on their own threads.
    return [half, half if whole < 4 else open_session(path, whole // 2)]


def _cores() -> int:
    """Cores that this process may use, where the system reports them (Linux)."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_golden(encoder: OnnxEncoder, path: Path) -> None:
    """Run the golden frames and compare; this also warms up the network."""
    try:
        with np.load(path, allow_pickle=False) as golden:
            frames_TSS = golden["frames_TSS"]
            expected_TD = golden[f"embeddings_{encoder.precision}_TD"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactMismatch(f"{path.name} lacks frames or embeddings") from error
    try:
        actual_TD = encoder.encode(normalise(frames_TSS, encoder.spec))
    except Exception as error:  # ONNX Runtime raises many types, none of one base
        raise ArtifactMismatch("the network does not run on its golden frames") from error
    if actual_TD.shape != expected_TD.shape or actual_TD.shape[1] != encoder.dim:
        raise ArtifactMismatch(
            f"expected golden embeddings of shape {expected_TD.shape}, got {actual_TD.shape}"
        )
    cosine = float((actual_TD * expected_TD).sum(1).min())
    of_bundle = encoder.manifest.golden_cosine.get(encoder.precision, {})
    min_cosine = of_bundle.get(RUNTIME, GOLDEN_COSINE.get(encoder.precision, 0.999))
    if not cosine >= min_cosine:
        raise ArtifactMismatch(f"expected golden cosine of at least {min_cosine}, got {cosine:.4f}")
