"""``python -m training distil``: frames and a configuration -> a run folder."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import SHIPPED_CONFIG, ConfigName
from training.distil.config import load_config_with_weights, resize_run
from training.distil.ranks import join_ranks
from training.distil.runs import corpus_frames, distil_frames, simulated_frames
from training.networks.timm_models import RANDOM

log = logging.getLogger("training")


def distil(
    manifest: Annotated[
        Path | None, typer.Option(help="manifest.csv naming the corpus frames.")
    ] = None,
    student: Annotated[
        str, typer.Option(help="Where the student starts: a safetensors file, a hub id, random.")
    ] = "",
    teacher: Annotated[
        str, typer.Option(help="Teacher weights: a safetensors file, a hub id, random.")
    ] = "",
    run: Annotated[
        Path | None, typer.Option(help="Folder for cache, checkpoints, metrics and curves.")
    ] = None,
    config_name: ConfigName = SHIPPED_CONFIG,
    limit: Annotated[int, typer.Option(help="Use only so many frames; 0 = all.")] = 0,
    simulated: Annotated[bool, typer.Option(help="Simulated frames instead of a corpus.")] = False,
    random_teacher: Annotated[
        bool, typer.Option(help="Teachers of random weights: proves the way, teaches nothing.")
    ] = False,
    steps: Annotated[int, typer.Option(help="Steps of the run; 0 = as configured.")] = 0,
    batch: Annotated[int, typer.Option(help="Views per step; 0 = as configured.")] = 0,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard files as well.")] = False,
) -> None:
    """Distil teachers into a student. Interrupted runs resume; under torchrun on many devices."""
    config = load_config_with_weights(config_name, student, RANDOM if random_teacher else teacher)
    config = resize_run(config, steps=steps, batch=batch)
    frames = simulated_frames(limit) if simulated else corpus_frames(manifest, config, limit)
    folder = run or Path("runs") / Path(config_name).stem
    with join_ranks() as ranks:
        losses = distil_frames(frames, config, folder, ranks=ranks, tensorboard=tensorboard)
    if ranks.leads:
        facts = {"frames": len(frames), "steps": len(losses), "run": folder.name}
        log.info("distilled", extra={**facts, "first": losses[0], "last": losses[-1]})
