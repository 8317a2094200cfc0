"""Checkpoint -> encoder bundle, format 1.

Shape suffixes: N frames, T golden frames, S encoder side, D embedding width, K pooled features.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from service.arrays import Floats, Pixels
from service.embedding.bundle import (
    CARD_NAME,
    GOLDEN_COSINE,
    GOLDEN_NAME,
    MANIFEST_NAME,
    RUNTIME,
    Manifest,
    describe_file,
    encoder_id_of,
    read_manifest,
    require_precision,
    verify_files,
)
from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec, fit, normalise
from training.bundle.card import SECOND_NETWORK, card, ends_at_stage3, licences
from training.bundle.card import ExportFacts as ExportFacts
from training.bundle.deploy import assemble, fold_norms
from training.bundle.equalise import equalise
from training.bundle.onnx_branches import maps_on_request
from training.bundle.onnx_files import (
    convolutions_of,
    drop_traces,
    embed,
    first_convolutions,
    open_network,
    readout_nodes,
    refuse_padded_pools,
    write_fp16,
    write_fp32,
    write_int8,
)
from training.bundle.onnx_readout import correct_bias, quantise_readout
from training.distil.checkpoint import CHECKPOINT_NAME, read_settings, read_student
from training.distil.config import DistillConfig
from training.distil.ranks import supports_bf16
from training.distil.targets import make_views
from training.networks.backbones import AnyBackbone, empty_student
from training.networks.config import StudentConfig
from training.networks.readout import Readout, fit_readout, pool_features
from training.networks.student import ARCHITECTURE, Student, Trunk

Frames = Sequence[Pixels]
RUNTIMES = (RUNTIME, "onnxruntime-web")  # in which the networks are tested
FLOAT_CONVOLUTIONS = 6  # stem and first block: most of the int8 error for 12 % of the time
# The same of the second network: with them the mean cosine with fp32 is 0.997 instead of 0.985.
FLOAT_LITE_PARTS = ("lite.conv_stem.", "lite.blocks.0.", "lite.blocks.1.")
CALIBRATION_FRAMES = 96
NETWORKS = {precision: f"encoder.{precision}.onnx" for precision in ("fp32", "fp16", "int8")}
_BATCH = 32
_READ_WITH = ("student", "spec")  # of a configuration, to read what its run trained


def load_student(checkpoint: Path, config: StudentConfig) -> AnyBackbone:
    """The trained student of a run, in eval mode.

    Raises:
        InputError: the checkpoint is unreadable or of another architecture.
    """
    student = empty_student(config)
    try:
        student.load_state_dict(read_student(checkpoint))
    except RuntimeError as error:
        raise InputError(
            f"{checkpoint.name} is of another student: {config.architecture}"
        ) from error
    return student.eval()


def load_run(run: Path, config: DistillConfig) -> tuple[AnyBackbone, dict[str, Any]]:
    """The trained student of a run, in eval mode, and the settings it was trained with.

    These are the settings of the run itself: ``--steps`` and ``--batch`` are in no configuration.

    Raises:
        InputError: as ``load_student``, or the run had another student or input than ``config``.
    """
    path = run / CHECKPOINT_NAME
    student = load_student(path, config.student)
    wanted = config.to_json()
    ran = read_settings(path) or wanted
    differing = [name for name in _READ_WITH if _given(ran, name) != _given(wanted, name)]
    if differing:
        raise InputError(
            f"the run was made with another {', '.join(differing)} than the configuration says; "
            "name the configuration of the run"
        )
    return student, ran


def _given(settings: dict[str, Any], name: str) -> Any:
    """A setting, of the student without its initial weights: a command line may have given them."""
    value: Any = settings.get(name)
    return {k: v for k, v in value.items() if k != "weights"} if name == "student" else value


@torch.inference_mode()
def pooled_features(
    trunk: AnyBackbone, frames: Frames, config: DistillConfig, *, view: int = 0
) -> Floats:
    """pooled_NK of frames, float32; of their augmented view with that number, 0 = as they are.

    Views only say how far augmentation moves a frame, so they run in bfloat16 where that is fast.
    """
    fast = view > 0 and supports_bf16(torch.device("cpu"))
    parts = []
    for start in range(0, len(frames), _BATCH):
        views_BSS = make_views(frames[start : start + _BATCH], start, view, config)
        inputs = torch.from_numpy(normalise(views_BSS, config.spec))
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            stage3, stage4 = trunk.read(inputs)
        last = None if stage4 is None else stage4.float()
        parts.append(pool_features(stage3.float(), last).numpy())
    return np.concatenate(parts)


def serving_config(config: DistillConfig) -> DistillConfig:
    """The configuration at the side at which its encoder is served."""
    spec = replace(config.spec, side_px=config.serve_px or config.spec.side_px)
    return replace(config, spec=spec)


def fit_student_readout(trunk: AnyBackbone, corpus: Frames, config: DistillConfig) -> Readout:
    """The read-out of a trained student, from corpus frames and their augmented views."""
    count = config.readout.views if config.readout.augmentation_invariance > 0 else 0
    views = [pooled_features(trunk, corpus, config, view=number + 1) for number in range(count)]
    return fit_readout(pooled_features(trunk, corpus, config), config.readout, views)


def encoder_inputs(frames: Frames, spec: PreprocessSpec) -> Floats:
    """Whole frames as an encoder wants them, float32 (N, 3, S, S)."""
    return normalise(np.stack([fit(frame, spec) for frame in frames]), spec)


def export(
    trunk: AnyBackbone,
    config: DistillConfig,
    *,
    corpus: Frames,
    unseen: Frames,
    golden: Frames,
    facts: ExportFacts,
    out: Path,
    ran: dict[str, Any] | None = None,
) -> Manifest:
    """Write the bundle folder ``out`` with all three precisions and return its manifest.

    Args:
        corpus: real frames the encoder was trained on: projection and int8 ranges.
        unseen: real frames it was not trained on: fidelity of each precision.
        golden: frames that may be given away, stored in the bundle.
        ran: settings of the run, as ``load_run`` gives them; None = those of ``config``.
    """
    config = serving_config(config)
    out.mkdir(parents=True, exist_ok=True)
    readout = fit_student_readout(trunk, corpus, config)
    student, spec = fold_norms(assemble(trunk, readout), config.spec)
    chosen = corpus[:: max(1, len(corpus) // CALIBRATION_FRAMES)][:CALIBRATION_FRAMES]
    calibration = encoder_inputs(chosen, spec)
    if isinstance(trunk, Trunk):
        equalise(student, torch.from_numpy(calibration))
    write_quantised(student, spec.side_px, calibration, out)
    finish_networks(calibration, out)
    fidelity = measure_fidelity(out, NETWORKS, encoder_inputs(unseen, spec))
    write_golden(out, NETWORKS, golden, spec)
    about = {
        "architecture": config.student.architecture,
        "stages": config.student.stages,
        "teacher": facts.teacher,
        "initial_weights": facts.initial_weights,
        "corpus": list(facts.corpus),
        "fidelity": fidelity,
        "config": run_settings(config.to_json() if ran is None else ran),
    }
    side = spec.side_px // 32
    return write_manifest(
        out, NETWORKS, spec, facts, about, (config.readout.dim, side, side), default="int8"
    )


def run_settings(ran: dict[str, Any]) -> dict[str, Any]:
    """The fields of a run that decide its result, of all of them."""
    numbers = ("views", "epochs", "steps", "batch", "learning_rate")
    weights = ("regression", "queue", "relational", "contrastive", "feature_preservation")
    losses = {name: ran["losses"].get(name, 0.0) for name in weights}
    return {
        "mode": ran["mode"],
        "train": ran["student"]["train"],
        **{name: ran[name] for name in numbers},
        "losses": {name: weight for name, weight in losses.items() if weight > 0},
        "seed": ran["seed"],
    }


def write_quantised(student: Student, side_px: int, calibration: Floats, out: Path) -> None:
    """Write fp32, and int8 with a read-out that is still float, into ``out``."""
    fp32 = out / NETWORKS["fp32"]
    write_fp32(student, side_px, fp32)
    keep_float = (
        *first_convolutions(fp32, FLOAT_CONVOLUTIONS),
        *convolutions_of(fp32, FLOAT_LITE_PARTS),
        *readout_nodes(fp32),
    )
    write_int8(fp32, out / NETWORKS["int8"], calibration, keep_float=keep_float)


def finish_networks(calibration: Floats, out: Path) -> None:
    """Make all precisions of a bundle from what ``write_quantised`` wrote."""
    fp32, int8 = out / NETWORKS["fp32"], out / NETWORKS["int8"]
    write_fp16(fp32, out / NETWORKS["fp16"])
    quantise_readout(int8, calibration)
    correct_bias(int8, fp32, calibration)
    for name in NETWORKS.values():
        maps_on_request(out / name)
        refuse_padded_pools(out / name)


def measure_fidelity(
    folder: Path, networks: dict[str, str], inputs_N3SS: Floats
) -> dict[str, dict[str, float]]:
    """Cosine of each precision with fp32 on the same frames: mean and minimum."""
    reference_ND, _ = embed(open_network(folder / networks["fp32"]), inputs_N3SS)
    fidelity: dict[str, dict[str, float]] = {}
    for precision, name in networks.items():
        given_ND, _ = embed(open_network(folder / name), inputs_N3SS)
        cosine_N = (given_ND * reference_ND).sum(1)
        fidelity[precision] = {
            "frames": len(cosine_N),
            "mean_cosine": round(float(cosine_N.mean()), 5),
            "min_cosine": round(float(cosine_N.min()), 5),
        }
    return fidelity


def write_golden(out: Path, networks: dict[str, str], golden: Frames, spec: PreprocessSpec) -> None:
    """Store frames, as the encoder gets them, and the embeddings of each precision."""
    frames_TSS = np.stack([fit(frame, spec) for frame in golden])
    inputs = normalise(frames_TSS, spec)
    arrays = {
        f"embeddings_{precision}_TD": embed(open_network(out / name), inputs)[0]
        for precision, name in networks.items()
    }
    np.savez_compressed(out / GOLDEN_NAME, frames_TSS=frames_TSS, **arrays)  # type: ignore[arg-type]


def write_manifest(
    out: Path,
    networks: dict[str, str],
    spec: PreprocessSpec,
    facts: ExportFacts,
    about: dict[str, Any],
    feature_map: tuple[int, int, int],
    *,
    default: str,
) -> Manifest:
    """Write card, licences and manifest for the networks that lie in ``out``; check them."""
    (out / CARD_NAME).write_text(card(facts, about, networks, spec), encoding="utf-8")
    (out / "LICENSES").mkdir(exist_ok=True)
    (out / "LICENSES" / "README.md").write_text(licences(facts), encoding="utf-8")
    names = [*networks.values(), GOLDEN_NAME, CARD_NAME, "LICENSES/README.md"]
    files = tuple(describe_file(out, name) for name in names)
    manifest = Manifest(
        name="sonoprobe-encoder",
        version=facts.version,
        interim=facts.interim,
        encoder_id=encoder_id_of(files, networks, spec),
        architecture=_architecture(about),
        dim=feature_map[0],
        feature_map=feature_map,
        spec=spec,
        networks=networks,
        default_precision=default,
        files=files,
        golden_cosine={
            precision: dict.fromkeys(RUNTIMES, GOLDEN_COSINE[precision]) for precision in networks
        },
        near_duplicate_cosine=facts.near_duplicate_cosine,
        about=about,
    )
    (out / MANIFEST_NAME).write_text(json.dumps(manifest.to_json(), indent=1) + "\n")
    verify_files(out, read_manifest(out))
    return manifest


def _architecture(about: dict[str, Any]) -> str:
    student = about.get("architecture", ARCHITECTURE)
    with_norm = " with input norm" if student == ARCHITECTURE else ""
    stages = "up to stage 3" if ends_at_stage3(about) else "stages 3 and 4"
    beside = f" beside {about[SECOND_NETWORK]['architecture']}" if SECOND_NETWORK in about else ""
    return f"{student}{with_norm}, {stages}{beside}, projected"


def with_border(source: Path, out: Path, border: float, version: str) -> Manifest:
    """Write a bundle of the same networks that get their input with another border.

    What its exporter noted of the machine is left out.

    Benchmark numbers and the test for pictures that are no ultrasound are left out: they were
    measured with the border of the source.
    """
    before = read_manifest(source)
    about = dict(before.about)
    for measured in ("benchmark", "ultrasound_test"):
        about.pop(measured, None)
    facts = ExportFacts(
        version,
        before.interim,
        tuple(about["corpus"]),
        about["teacher"],
        about["initial_weights"],
        before.near_duplicate_cosine,
    )
    out.mkdir(parents=True, exist_ok=True)
    for precision in before.networks:
        require_precision(source, before, precision)
    for name in (*before.networks.values(), GOLDEN_NAME):
        shutil.copyfile(source / name, out / name)
    for name in before.networks.values():
        drop_traces(out / name)
    spec = replace(before.spec, border=border)
    default = before.default_precision
    shape = before.feature_map
    return write_manifest(out, dict(before.networks), spec, facts, about, shape, default=default)


def copy_precisions(
    source: Path, out: Path, facts: ExportFacts, *, precisions: Sequence[str]
) -> Manifest:
    """Copy a bundle with some precisions only, the first by default, as it ships in the package."""
    manifest = read_manifest(source)
    out.mkdir(parents=True, exist_ok=True)
    networks = {precision: manifest.networks[precision] for precision in precisions}
    for name in (*networks.values(), GOLDEN_NAME):
        shutil.copyfile(source / name, out / name)
    return write_manifest(
        out,
        networks,
        manifest.spec,
        facts,
        dict(manifest.about),
        manifest.feature_map,
        default=precisions[0],
    )
