"""The encoder: a verified bundle, run by ONNX Runtime on the CPU.

Shape suffixes: B batch, T golden frames, S encoder side, D embedding width, h w places.
"""

import os
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from service.encoding.manifest import (
    CARD_NAME,
    GOLDEN_NAME,
    ULTRASOUND_NAME,
    Manifest,
    read_manifest,
    verify_files,
)
from service.encoding.ultrasound import UltrasoundTest, read_ultrasound_test
from service.errors import ArtifactMismatch
from service.imaging.preprocess import PreprocessSpec, normalise

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

    def encode(self, frames_B3SS: Floats) -> Floats:
        """Preprocessed frames, float32 (B, 3, S, S) -> unit embeddings, float32 (B, D)."""

    def encode_mapped(self, frames_B3SS: Floats) -> tuple[Floats, Floats]:
        """The embeddings (B, D), and the feature maps float32 (B, D, h, w) they are means of.

        The mean of a map over its places has the direction of its embedding. Maps cost extra:
        ``encode`` does not compute them where the network can go without.
        """


class OnnxEncoder:
    """One network of a bundle in ONNX Runtime; ``encode`` is for one thread at a time."""

    def __init__(
        self,
        session: Any,
        manifest: Manifest,
        card: str,
        precision: str,
        ultrasound: UltrasoundTest | None = None,
    ) -> None:
        self._session = session
        self._manifest = manifest
        self._card = card
        self.precision = precision
        self.ultrasound = ultrasound
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


def load_encoder(folder: Path, *, precision: str = "auto", threads: int = 0) -> OnnxEncoder:
    """Verify a bundle and open one of its networks.

    Args:
        folder: of the bundle.
        precision: a key of ``manifest.networks``; ``auto`` = the bundle's default.
        threads: of one forward pass; 0 = every core.

    Raises:
        ArtifactMismatch: a file is missing or differs from the manifest, the precision is not
            in the bundle, the network does not open, or it does not give its golden embeddings.
    """
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    chosen = manifest.default_precision if precision == "auto" else precision
    if chosen not in manifest.networks:
        raise ArtifactMismatch(f"expected one of {sorted(manifest.networks)}, got {chosen!r}")
    session = _open(folder / manifest.networks[chosen], threads)
    card = (folder / CARD_NAME).read_text(encoding="utf-8")
    test = None
    if any(file.name == ULTRASOUND_NAME for file in manifest.files):
        test = read_ultrasound_test(folder / ULTRASOUND_NAME, manifest.dim)
    encoder = OnnxEncoder(session, manifest, card, chosen, test)
    _check_golden(encoder, folder / GOLDEN_NAME)
    return encoder


def _silent_onnxruntime() -> Any:
    """Import ONNX Runtime with its telemetry off.

    Since 1.29 the Linux wheels report to Microsoft unless this variable is set before the first
    import; they also leave a device id in the home folder (their Privacy.md).
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def _open(path: Path, threads: int) -> Any:
    onnxruntime = _silent_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would take the core that decodes the next frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many types, none of one base
        raise ArtifactMismatch(f"{path.name} does not open in ONNX Runtime") from error


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
