"""The encoder: a verified bundle, run by ONNX Runtime on the CPU.

Shape suffixes: B batch, T golden frames, S encoder side, D embedding width, h w places.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from service.embedding.bundle import (
    CARD_NAME,
    GOLDEN_NAME,
    ULTRASOUND_NAME,
    Manifest,
    read_manifest,
    verify_files,
)
from service.embedding.onnx_session import open_session
from service.embedding.ultrasound_gate import UltrasoundTest, read_ultrasound_test
from service.errors import ArtifactMismatch
from service.imaging.analysis.preprocess import PreprocessSpec, normalise

Floats: TypeAlias = npt.NDArray[np.float32]

# Least cosine with the golden embedding. Kernels differ between processors; a wrong network,
# a wrong preprocessing or a broken int8 kernel falls far below.
GOLDEN_COSINE = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.99}
INPUT_NAME, OUTPUT_NAME = "frames", "embedding"
MAP_NAME = "feature_map"
MAPS_INPUT = "maps"  # newer networks compute the map only when this is True


class Encoder(Protocol):
    """What the corridor needs of an encoder."""

    @property
    def encoder_id(self) -> str:
        """Same id, same embedding."""

    @property
    def dim(self) -> int:
        """D."""

    @property
    def spec(self) -> PreprocessSpec:
        """How it wants its input."""

    @property
    def manifest(self) -> Manifest | None:
        """Of its bundle, if it came from one."""

    @property
    def card(self) -> str:
        """Its model card, Markdown."""

    @property
    def ultrasound(self) -> UltrasoundTest | None:
        """Tells ultrasound from other pictures; None where none was measured for it."""

    @property
    def lanes(self) -> Sequence["Encoder"]:
        """The same network on fewer cores each, for passes side by side; may be empty."""

    def encode(self, frames_B3SS: Floats) -> Floats:
        """Preprocessed frames, float32 (B, 3, S, S) -> unit embeddings, float32 (B, D)."""

    def encode_mapped(self, frames_B3SS: Floats) -> tuple[Floats, Floats]:
        """The embeddings (B, D), and the feature maps float32 (B, D, h, w) they are means of.

        The mean of a map over its places has the direction of its embedding. Maps cost extra:
        ``encode`` does not compute them where the network can go without.
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
        self._manifest = manifest
        self._card = card
        self.precision = precision
        self.ultrasound = ultrasound
        self.lanes = tuple(lanes)
        self._asks = any(
            found.name == MAPS_INPUT for found in session.get_overridable_initializers()
        )

    @property
    def encoder_id(self) -> str:
        """Of the manifest and the precision that runs."""
        return self._manifest.encoder_id

    @property
    def dim(self) -> int:
        """D."""
        return self._manifest.dim

    @property
    def spec(self) -> PreprocessSpec:
        """Of the manifest."""
        return self._manifest.spec

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        return self._manifest

    @property
    def card(self) -> str:
        """Model card, Markdown."""
        return self._card

    def encode(self, frames_B3SS: Floats) -> Floats:
        """Preprocessed frames, float32 (B, 3, S, S) -> unit embeddings, float32 (B, D)."""
        (embeddings_BD,) = self._session.run([OUTPUT_NAME], {INPUT_NAME: frames_B3SS})
        result: Floats = embeddings_BD
        return result

    def encode_mapped(self, frames_B3SS: Floats) -> tuple[Floats, Floats]:
        """Embeddings (B, D) and feature maps (B, D, h, w); see ``Encoder``."""
        given = {INPUT_NAME: frames_B3SS}
        if self._asks:
            given[MAPS_INPUT] = np.array(True)
        embeddings_BD, maps_BDhw = self._session.run([OUTPUT_NAME, MAP_NAME], given)
        return embeddings_BD, maps_BDhw


def load_encoder(
    folder: Path, *, precision: str = "auto", threads: int = 0, with_lanes: bool = False
) -> OnnxEncoder:
    """Verify a bundle and open one of its networks.

    Args:
        folder: of the bundle.
        precision: a key of ``manifest.networks``; ``auto`` = the bundle's default.
        threads: of one forward pass; 0 = every core.
        with_lanes: open the network once more for two passes side by side, on half of the
            threads each; about 100 MB of memory. None are opened for a single thread.

    Raises:
        ArtifactMismatch: a file is missing or differs from the manifest, the precision is not
            in the bundle, the network does not open, or it does not give its golden embeddings.
    """
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    chosen = manifest.default_precision if precision == "auto" else precision
    if chosen not in manifest.networks:
        raise ArtifactMismatch(f"expected one of {sorted(manifest.networks)}, got {chosen!r}")
    session = open_session(folder / manifest.networks[chosen], threads)
    card = (folder / CARD_NAME).read_text(encoding="utf-8")
    test = None
    if any(file.name == ULTRASOUND_NAME for file in manifest.files):
        test = read_ultrasound_test(folder / ULTRASOUND_NAME, manifest.dim)
    halves = _open_halves(folder / manifest.networks[chosen], threads) if with_lanes else []
    lanes = [OnnxEncoder(half, manifest, card, chosen, test) for half in halves]
    encoder = OnnxEncoder(session, manifest, card, chosen, test, lanes)
    for each in (encoder, *lanes):
        _check_golden(each, folder / GOLDEN_NAME)
    return encoder


def _open_halves(path: Path, threads: int) -> list[Any]:
    """Two sessions of half of the threads each; the same one twice where that is one thread."""
    whole = threads or _cores()
    if whole < 2:
        return []
    half = open_session(path, whole // 2)
    # A session of one thread has no pool: passes of two callers run on their own threads.
    return [half, half if whole < 4 else open_session(path, whole // 2)]


def _cores() -> int:
    """Those that this process may use, where the system tells (Linux)."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_golden(encoder: OnnxEncoder, path: Path) -> None:
    """Run the golden frames and compare; this warms the network up as well."""
    try:
        with np.load(path, allow_pickle=False) as golden:
            frames_TSS = golden["frames_TSS"]
            expected_TD = golden[f"embeddings_{encoder.precision}_TD"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactMismatch(f"{path.name} lacks frames or embeddings") from error
    try:
        given_TD = encoder.encode(normalise(frames_TSS, encoder.spec))
    except Exception as error:  # ONNX Runtime raises many types, none of one base
        raise ArtifactMismatch("the network does not run on its golden frames") from error
    if given_TD.shape != expected_TD.shape or given_TD.shape[1] != encoder.dim:
        raise ArtifactMismatch(
            f"expected golden embeddings of shape {expected_TD.shape}, got {given_TD.shape}"
        )
    cosine = float((given_TD * expected_TD).sum(1).min())
    least = GOLDEN_COSINE.get(encoder.precision, 0.999)
    if not cosine >= least:
        raise ArtifactMismatch(f"expected golden cosine of at least {least}, got {cosine:.4f}")
