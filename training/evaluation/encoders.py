"""The encoders that can be evaluated, behind one interface: frames in, features out.

The only module of the evaluation that knows how networks are built and loaded.

Shape suffixes: B batch, N frames, S encoder side, D feature width.
"""

import hashlib
import json
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from service.embedding.bundle import (
    present_precisions,
    read_manifest,
    require_precision,
    verify_files,
)
from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.bundle.export import encoder_inputs, fit_student_readout, load_run, serving_config
from training.bundle.onnx_files import OUTPUTS, open_network
from training.distil.checkpoint import CHECKPOINT_NAME
from training.distil.config import DistillConfig
from training.evaluation.protocol import Floats
from training.evaluation.sets import Frames
from training.networks.backbones import AnyBackbone
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD, TeacherConfig
from training.networks.readout import Readout, pool_features
from training.networks.student import Trunk, load_imagenet_trunk
from training.networks.teacher import build_teacher
from training.networks.timm_models import RANDOM, create

BATCH = 16
PIXELS = 32
TEACHER = ("vit_small_patch14_dinov2", (5, 8, 11))
PAPER_TEACHER = "vit_base_patch16_dinov3"
PIXEL_SPEC = PreprocessSpec(PIXELS, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
IMAGENET_SPEC = PreprocessSpec(224, IMAGENET_MEAN, IMAGENET_STD)


class FrameEncoder(Protocol):
    """What the evaluation needs of an encoder.

    Attributes:
        name: short, unique within one evaluation; the key of its results.
        key: digest of weights and preprocessing: same key, same features.
        spec: how it wants its input.
        path: of its weights; None when it has none.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def spec(self) -> PreprocessSpec: ...  # noqa: D102
    @property
    def path(self) -> Path | None: ...  # noqa: D102

    def forward(self, inputs_B3SS: npt.NDArray[np.float32]) -> Floats:
        """Preprocessed frames -> features_BD, float32."""


def embed(encoder: FrameEncoder, frames: Frames, *, batch: int = BATCH) -> Floats:
    """features_ND, float32, of whole frames, preprocessed as the service does."""
    parts = []
    for start in range(0, len(frames), batch):
        parts.append(encoder.forward(encoder_inputs(frames[start : start + batch], encoder.spec)))
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class BundleEncoder:
    """One network of an exported bundle, in ONNX Runtime, as the service runs it."""

    name: str
    key: str
    spec: PreprocessSpec
    path: Path
    session: Any

    def forward(self, inputs_B3SS: npt.NDArray[np.float32]) -> Floats:
        """Unit-length embeddings, float32 (B, D)."""
        embeddings_BD: Floats = self.session.run([OUTPUTS[0]], {"frames": inputs_B3SS})[0]
        return embeddings_BD


@dataclass(frozen=True, eq=False)
class TorchEncoder:
    """A PyTorch network in eval mode, float32.

    Attributes:
        parameters: of the part that runs.
    """

    name: str
    key: str
    spec: PreprocessSpec
    path: Path | None
    network: nn.Module
    parameters: int

    @torch.inference_mode()
    def forward(self, inputs_B3SS: npt.NDArray[np.float32]) -> Floats:
        """What the network gives, float32 (B, D)."""
        inputs = torch.from_numpy(inputs_B3SS).contiguous(memory_format=torch.channels_last)
        rows_BD: Floats = self.network(inputs).float().numpy()
        return rows_BD


@dataclass(frozen=True)
class PixelEncoder:
    """The frame itself, scaled down: the lowest baseline."""

    name: str = "pixels"
    key: str = f"pixels{PIXELS}"
    spec: PreprocessSpec = PIXEL_SPEC
    path: Path | None = None

    def forward(self, inputs_B3SS: npt.NDArray[np.float32]) -> Floats:
        """Intensities in [0, 1], float32 (B, 1024)."""
        return inputs_B3SS[:, 0].reshape(len(inputs_B3SS), -1)


def bundle_encoders(
    folder: Path, precisions: Sequence[str] = (), *, prefix: str = "bundle"
) -> list[BundleEncoder]:
    """The networks of a bundle, named ``<prefix>_<precision>``; the default precision first.

    Args:
        folder: of the bundle; every file in it is verified.
        precisions: which of them; all that are there when empty.

    Raises:
        ArtifactMismatch: the bundle is damaged, or a precision is not in its folder.
    """
    manifest = read_manifest(folder)
    wanted = precisions or present_precisions(folder, manifest)
    for name in wanted:
        require_precision(folder, manifest, name)
    verify_files(folder, manifest)
    chosen = sorted(wanted, key=lambda name: (name != manifest.default_precision, name))
    return [
        BundleEncoder(
            f"{prefix}_{name}",
            _key("bundle", folder / manifest.networks[name], manifest.spec),
            manifest.spec,
            folder / manifest.networks[name],
            open_network(folder / manifest.networks[name], torch.get_num_threads()),
        )
        for name in chosen
    ]


def most_exact(precisions: Container[str]) -> str | None:
    """The precision that others of a bundle are held against: fp32, else fp16, else none."""
    return next((name for name in ("fp32", "fp16") if name in precisions), None)


def teacher(path: Path) -> TorchEncoder:
    """The ViT-S/14 teacher: class and mean patch token of blocks 5, 8 and 11, D = 2304.

    Raises:
        InputError: the file does not hold its weights.
    """
    architecture, blocks = TEACHER
    network = build_teacher(TeacherConfig(architecture, str(path), blocks), IMAGENET_SPEC)
    key = _key(f"{architecture}{blocks}", path, IMAGENET_SPEC)
    return TorchEncoder("teacher", key, IMAGENET_SPEC, path, network, _size(network))


class PooledStage3(nn.Module):
    """Spatial mean of the activated stage 3 maps of a trunk: D = 1024."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, frames_B3SS: Tensor) -> Tensor:
        """(B, 1024)."""
        maps: Tensor = self.trunk.stage3_norm(self.trunk.prefix(frames_B3SS))
        return maps.mean((2, 3))


def imagenet_trunk(path: Path) -> TorchEncoder:
    """The ImageNet ResNet-50 v2 up to stage 3: the baseline that every student starts from.

    Raises:
        InputError: the file lacks weights of those stages.
    """
    trunk = load_imagenet_trunk(path).eval()
    used = _size(trunk) - _size(trunk.stage4) - _size(trunk.norm) + _size(trunk.stage3_norm)
    key = _key("stage3", path, IMAGENET_SPEC)
    return TorchEncoder("imagenet_trunk", key, IMAGENET_SPEC, path, PooledStage3(trunk), used)


def random_resnet50(seed: int = 0) -> TorchEncoder:
    """ResNet-50 of random weights: what the architecture gives without any training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # timm starts the last norm of every block at 0, which would switch all blocks off.
        network = create("resnet50", RANDOM, zero_init_last=False).eval()
    key = f"random{seed}-{torch.__version__}".replace("+", "-")
    return TorchEncoder("random_resnet50", key, IMAGENET_SPEC, None, network, _size(network))


def paper_teacher() -> TorchEncoder:
    """DINOv3 ViT-B/16 of random weights at 224 px, for its cost only."""
    network = create(PAPER_TEACHER, RANDOM).eval()
    return TorchEncoder("dinov3_vitb16", "none", IMAGENET_SPEC, None, network, _size(network))


class PooledStudent(nn.Module):
    """Student and read-out of a run that was not exported yet."""

    def __init__(self, student: AnyBackbone, readout: Readout) -> None:
        super().__init__()
        self.student = student
        self.register_buffer("weights_DK", torch.from_numpy(readout.weights_DK))
        self.register_buffer("bias_D", torch.from_numpy(readout.bias_D))

    def forward(self, frames_B3SS: Tensor) -> Tensor:
        """(B, D), not of unit length."""
        pooled_BK = pool_features(*self.student.read(frames_B3SS))
        return nn.functional.linear(pooled_BK, self.weights_DK, self.bias_D)  # type: ignore[arg-type]


def checkpoint(run: Path, corpus: Frames, config: DistillConfig) -> TorchEncoder:
    """The student of a training run, its read-out fitted on the corpus as the export does.

    Raises:
        InputError: the folder holds no finished run of ``config``, or too few corpus frames.
    """
    path = run / CHECKPOINT_NAME
    student, _ = load_run(run, config)
    config = serving_config(config)
    readout = fit_student_readout(student, corpus, config)
    network = PooledStudent(student, readout).eval()
    fitted = hashlib.sha256(readout.weights_DK.tobytes()).hexdigest()
    key = _key(fitted, path, config.spec)
    count = _size(network) + readout.weights_DK.size + readout.bias_D.size
    return TorchEncoder("checkpoint", key, config.spec, path, network, count)


def _size(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def _key(kind: str, path: Path, spec: PreprocessSpec) -> str:
    try:
        weights = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path.name} cannot be read") from error
    facts = json.dumps([kind, weights, asdict(spec)])
    return hashlib.sha256(facts.encode()).hexdigest()[:24]
