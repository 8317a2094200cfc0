"""The encoder bundle, format 1: its manifest, and the verification of its files.

Nothing here runs the network or reads a pickle.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from service.errors import ArtifactMismatch, InputError
from service.imaging.analysis.preprocess import PreprocessSpec

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
CARD_NAME = "MODEL_CARD.md"
GOLDEN_NAME = "golden.npz"
ULTRASOUND_NAME = "ultrasound.npz"  # optional: separates ultrasound from other pictures
# Minimum cosine with the golden embedding where the manifest has none. Kernels differ between
# processors; a wrong network, a wrong preprocessing or a broken int8 kernel falls far below.
GOLDEN_COSINE = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.99}
# Cosine of near-duplicates where the manifest has none; docs/measurements/few-shot-learning.md.
NEAR_DUPLICATE_COSINE = 0.9
RUNTIME = "onnxruntime"  # as manifests name the one that is used here
SHIPPED_BUNDLE = Path(__file__).with_name("default_bundle")


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of a bundle; ``name`` is relative to its folder."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A bundle's ``manifest.json``, checked.

    Attributes:
        encoder_id: digest of network files and preprocessing: same id, same embedding.
        dim: D, width of the embedding.
        feature_map: (D, h, w) of the ``feature_map`` output.
        networks: precision -> file name; ``default_precision`` is one of them.
        interim: whether the encoder is a stand-in.
        golden_cosine: precision -> runtime -> least cosine with the golden embeddings; empty in
            bundles before 0.5.0.
        near_duplicate_cosine: from which frames of this encoder are near-duplicates; None = the
            manifest does not say, and ``near_duplicate_cosine()`` gives what holds.
        about: everything else, verbatim: teacher, student, corpus, licences, fidelity, numbers.
    """

    name: str
    version: str
    interim: bool
    encoder_id: str
    architecture: str
    dim: int
    feature_map: tuple[int, int, int]
    spec: PreprocessSpec
    networks: Mapping[str, str]
    default_precision: str
    files: tuple[BundleFile, ...]
    golden_cosine: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    near_duplicate_cosine: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The JSON object that ``parse_manifest`` reads back to an equal Manifest."""
        fields = asdict(self)
        spec = {**fields.pop("spec"), "channels": 3}
        if self.near_duplicate_cosine is None:
            del fields["near_duplicate_cosine"]
        return {"format_version": FORMAT_VERSION, **fields, "input": spec}


def parse_manifest(document: Any) -> Manifest:
    """Check a decoded ``manifest.json``.

    Raises:
        ArtifactMismatch: the format version is another one, a field is missing or wrong, or the
            ``encoder_id`` does not belong to the listed files and the preprocessing.
    """
    if not isinstance(document, dict):
        raise ArtifactMismatch("expected the manifest to be a JSON object")
    if document.get("format_version") != FORMAT_VERSION:
        raise ArtifactMismatch(
            f"expected bundle format {FORMAT_VERSION}, got {document.get('format_version')!r}"
        )
    try:
        manifest = _from_fields(document)
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise ArtifactMismatch(f"the manifest has a missing or wrong field: {error}") from error
    _check_names(manifest)
    expected = encoder_id_of(manifest.files, manifest.networks, manifest.spec)
    if manifest.encoder_id != expected:
        raise ArtifactMismatch(f"expected encoder_id {expected}, got {manifest.encoder_id}")
    return manifest


def _from_fields(document: dict[str, Any]) -> Manifest:
    spec = document["input"]
    map_d, map_h, map_w = document["feature_map"]
    duplicates = document.get("near_duplicate_cosine")
    return Manifest(
        name=str(document["name"]),
        version=str(document["version"]),
        interim=bool(document["interim"]),
        encoder_id=str(document["encoder_id"]),
        architecture=str(document["architecture"]),
        dim=int(document["dim"]),
        feature_map=(int(map_d), int(map_h), int(map_w)),
        spec=PreprocessSpec(
            int(spec["side_px"]),
            tuple(spec["mean"]),
            tuple(spec["std"]),
            str(spec["resize"]),
            float(spec.get("border", 0.0)),  # absent before 0.5.0
        ),
        networks={str(k): str(v) for k, v in document["networks"].items()},
        default_precision=str(document["default_precision"]),
        files=tuple(
            BundleFile(str(f["name"]), int(f["bytes"]), str(f["sha256"])) for f in document["files"]
        ),
        golden_cosine={
            str(precision): {str(runtime): _cosine(value) for runtime, value in by_runtime.items()}
            for precision, by_runtime in document.get("golden_cosine", {}).items()
        },
        near_duplicate_cosine=None if duplicates is None else _cosine(duplicates),
        about=document.get("about", {}),
    )


def _cosine(value: Any) -> float:
    cosine = float(value)
    if not 0 < cosine <= 1:
        raise ValueError(f"expected a cosine in 0..1, got {cosine}")
    return cosine


def _check_names(manifest: Manifest) -> None:
    listed = {file.name for file in manifest.files}
    for name in listed:
        if name.startswith(("/", "\\")) or ".." in Path(name).parts:
            raise ArtifactMismatch("the manifest lists a file outside the folder of the bundle")
    missing = ({*manifest.networks.values(), GOLDEN_NAME, CARD_NAME}) - listed
    if missing:
        raise ArtifactMismatch(f"the manifest does not list {min(missing)}")
    if manifest.default_precision not in manifest.networks:
        raise ArtifactMismatch(
            f"expected a default precision of {sorted(manifest.networks)}, "
            f"got {manifest.default_precision!r}"
        )


def near_duplicate_cosine(manifest: Manifest | None) -> float:
    """The cosine from which frames of an encoder are near-duplicates, stated or not."""
    stated = None if manifest is None else manifest.near_duplicate_cosine
    return NEAR_DUPLICATE_COSINE if stated is None else stated


def encoder_id_of(
    files: tuple[BundleFile, ...], networks: Mapping[str, str], spec: PreprocessSpec
) -> str:
    """Digest of the network files and the preprocessing fields, as ``enc_`` + 24 hex digits."""
    by_name = {file.name: file.sha256 for file in files}
    border = [spec.border] if spec.border else []  # so that earlier bundles keep their id
    facts = {
        "networks": {precision: by_name.get(name) for precision, name in networks.items()},
        "input": [spec.side_px, list(spec.mean), list(spec.std), spec.resize, *border],
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return "enc_" + hashlib.sha256(text.encode()).hexdigest()[:24]


def describe_file(folder: Path, name: str) -> BundleFile:
    """Measure one file of a bundle that is being written."""
    data = (folder / name).read_bytes()
    return BundleFile(name, len(data), hashlib.sha256(data).hexdigest())


def read_manifest(folder: Path) -> Manifest:
    """Read and check ``manifest.json`` of a bundle, and no other file. Raises ArtifactMismatch."""
    try:
        document = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactMismatch(f"the bundle has no readable {MANIFEST_NAME}") from error
    return parse_manifest(document)


def present_precisions(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """The precisions whose networks lie in the folder.

    A network may be absent: installed packages leave out the one that is not served by default.
    """
    return tuple(p for p, name in manifest.networks.items() if (folder / name).is_file())


def require_precision(folder: Path, manifest: Manifest, precision: str) -> None:
    """Raises ArtifactMismatch: the network is not of this bundle, or not in this folder."""
    if precision not in manifest.networks:
        expected = sorted(manifest.networks)
        raise ArtifactMismatch(f"expected a precision of {expected}, got {precision!r}")
    present = present_precisions(folder, manifest)
    if precision not in present:
        raise ArtifactMismatch(
            f"the folder of the bundle has the networks {sorted(present)} and not {precision}: an "
            f"installed package leaves it out, so name a whole bundle of version {manifest.version}"
        )


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare every listed file with its length and sha256.

    A network that is absent is passed over; ``require_precision`` demands the one that is used.

    Raises:
        ArtifactMismatch: a file is missing or differs; the message gives both values.
    """
    present = present_precisions(folder, manifest)
    absent = {name for precision, name in manifest.networks.items() if precision not in present}
    for file in manifest.files:
        if file.name in absent:
            continue
        try:
            actual = describe_file(folder, file.name)
        except OSError as error:
            raise ArtifactMismatch(f"{file.name} of the bundle cannot be read") from error
        if actual != file:
            raise ArtifactMismatch(
                f"{file.name}: expected {file.bytes} bytes, sha256 {file.sha256}; "
                f"got {actual.bytes} bytes, sha256 {actual.sha256}"
            )
