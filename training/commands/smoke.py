"""``python -m training smoke``: distil, evaluate, export and serve simulated frames, in small.

Shape suffixes: N frames, D embedding width.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from service.embedding.bundle import Manifest
from service.errors import ArtifactMismatch
from service.imaging.analysis.preprocess import preprocess
from service.imaging.analysis.thumbnails import encode_png
from training.bundle.export import (
    ExportFacts,
    export,
    fit_student_readout,
    load_student,
    pooled_features,
)
from training.bundle.onnx_files import embed, open_network
from training.catalogue.simulator import SCENES, samples
from training.distil.checkpoint import CHECKPOINT_NAME
from training.distil.config import DistillConfig, load_config
from training.distil.ranks import Ranks
from training.distil.runs import distil_frames
from training.distil.sources import Frame
from training.evaluation.protocol import Floats, LabelledSet, shot_scores

CONFIG = "smoke_cpu"
CORPUS_PER_SCENE, TEST_PER_SCENE = 8, 8
SHOTS, SEEDS = 3, 3
LOSS_FALLS_TO = 0.8  # of the first steps' mean; 0.46 where it was written
SERVED_FRAMES = 4
SERVED_ATOL = 1e-3  # one runtime, batched otherwise
SERVE_TIMEOUT_S = 120
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SmokeReport:
    """Results of the smoke run.

    Attributes:
        losses: of every step.
        accuracy: balanced, percent, over random choices of labelled frames.
        fidelity: mean cosine of each precision with fp32.
        served_error: largest difference between a served embedding and the network's own.
    """

    losses: list[float]
    accuracy: float
    chance: float
    fidelity: dict[str, float]
    served_error: float


def smoke(
    folder: Annotated[
        Path | None, typer.Option(help="Keep run and bundle here; default: thrown away.")
    ] = None,
) -> None:
    """Simulated frames -> distil -> evaluate -> export -> served; minutes on 2 CPU cores."""
    console = Console(soft_wrap=True)
    started = time.perf_counter()

    def report(what: str) -> None:
        console.print(f"[{time.perf_counter() - started:5.1f} s] {what}", markup=False)

    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        run_smoke(folder, report)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            run_smoke(Path(scratch), report)
    report("smoke passed")


def run_smoke(folder: Path, report: Report) -> SmokeReport:
    """Go through every step in ``folder``; ``report`` is called with a line about each.

    Raises:
        ArtifactMismatch: the loss did not fall, few-shot accuracy is not above chance, or the
            service gives other embeddings than the network.
    """
    config = load_config(CONFIG)
    corpus = _frames(CORPUS_PER_SCENE, seed=11)[0]
    test_frames, labels = _frames(TEST_PER_SCENE, seed=12)
    report(f"simulated {len(corpus)} frames to learn from and {len(test_frames)} to evaluate on")
    losses = distil_frames(corpus, config, folder / "run", ranks=Ranks())
    first, last = float(np.mean(losses[:3])), float(np.mean(losses[-6:]))
    _demand(last < LOSS_FALLS_TO * first, f"the loss did not fall: {losses}")
    report(f"distilled {len(losses)} steps: loss {first:.3f} to {last:.3f}")
    accuracy = _few_shot_accuracy(folder, config, corpus, test_frames, labels)
    chance = 100 / len(SCENES)
    report(
        f"evaluated: {accuracy:.1f} % balanced accuracy at {SHOTS} shots (chance {chance:.1f} %)"
    )
    _demand(accuracy > chance, f"accuracy {accuracy:.1f} % is not above chance")
    manifest = _bundle(folder, config, corpus, test_frames)
    fidelity = {
        name: figures["mean_cosine"] for name, figures in manifest.about["fidelity"].items()
    }
    report(f"exported {manifest.encoder_id}: mean cosine with fp32 {fidelity}")
    error = _serve(
        folder, manifest, test_frames[:: len(test_frames) // SERVED_FRAMES][:SERVED_FRAMES]
    )
    report(f"served {SERVED_FRAMES} frames over HTTP: largest difference {error:.1e}")
    _demand(error < SERVED_ATOL, f"served embeddings differ by {error}")
    return SmokeReport(losses, accuracy, chance, fidelity, error)


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ArtifactMismatch(otherwise)


def _frames(per_scene: int, seed: int) -> tuple[list[Frame], list[str]]:
    frames = [frame for _, frame in samples(per_scene, seed)]
    return [frame.pixels_HW for frame in frames], [frame.scene for frame in frames]


def _few_shot_accuracy(
    folder: Path,
    config: DistillConfig,
    corpus: list[Frame],
    test_frames: list[Frame],
    labels: list[str],
) -> float:
    """Mean few-shot accuracy of the student; every simulated frame is its own group."""
    student = load_student(folder / "run" / CHECKPOINT_NAME, config.student)
    readout = fit_student_readout(student, corpus, config)
    features_ND: Floats = readout.embed(pooled_features(student, test_frames, config))
    groups = np.array([f"frame{index}" for index in range(len(labels))])
    labelled = LabelledSet("simulated", np.array(labels), groups, np.zeros(len(labels), bool))
    return float(np.mean(shot_scores(features_ND, labelled, SHOTS, SEEDS)))


def _bundle(
    folder: Path, config: DistillConfig, corpus: list[Frame], test_frames: list[Frame]
) -> Manifest:
    corpus_fact = {"dataset": "simulated", "licence": "Apache-2.0", "frames": str(len(corpus))}
    return export(
        load_student(folder / "run" / CHECKPOINT_NAME, config.student),
        config,
        corpus=corpus,
        unseen=test_frames,
        golden=corpus[:: len(corpus) // 4][:4],
        facts=ExportFacts("0.0.0", True, (corpus_fact,), "random weights", "random weights"),
        out=folder / "bundle",
    )


def _serve(folder: Path, manifest: Manifest, frames: list[Frame]) -> float:
    """Largest difference between what the service answers and what the network gives."""
    paths = []
    for index, frame in enumerate(frames):
        paths.append(folder / f"served{index}.png")
        paths[-1].write_bytes(encode_png(frame))
    # Whole frames, as the network below gets them: by default the service cuts to the scan.
    settings = {"SONOPROBE_BUNDLE_DIR": str(folder / "bundle"), "SONOPROBE_REGION": "none"}
    environment = os.environ | settings
    command = [sys.executable, "-m", "service", "embed", *map(str, paths)]
    process = subprocess.run(  # noqa: S603 - our own package
        command, env=environment, capture_output=True, text=True, timeout=SERVE_TIMEOUT_S,
        check=False,
    )  # fmt: skip
    _demand(process.returncode == 0, f"the service failed: {process.stderr.strip()[-500:]}")
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    _demand(
        {answer["encoder_id"] for answer in answers} == {manifest.encoder_id},
        "the service runs another encoder",
    )
    served_ND = np.array([answer["embedding"] for answer in answers])
    inputs = np.concatenate([preprocess(frame[None], manifest.spec) for frame in frames])
    network = folder / "bundle" / manifest.networks[manifest.default_precision]
    expected_ND, _ = embed(open_network(network), inputs)
    return float(np.abs(served_ND - expected_ND).max())
