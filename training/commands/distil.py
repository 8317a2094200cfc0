"""``python -m training distil``: frames and a configuration -> a run folder."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.errors import InputError
from training.catalogue.leaks import check_disjoint
from training.catalogue.manifest import Row, load_frames, read_manifest
from training.distil.config import DistillConfig, load_config
from training.distil.ranks import is_first, joined
from training.distil.runs import DecodedFrames, distil_frames, simulated_frames
from training.distil.sources import Frame
from training.networks.config import IMAGENET_TRUNK, TeacherConfig
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
    config_name: Annotated[
        str, typer.Option("--config", help="Named config, or a .py file with config().")
    ] = "interim_cpu",
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
    config = chosen_config(config_name, student, RANDOM if random_teacher else teacher)
    config = resized(config, steps=steps, batch=batch)
    frames = simulated_frames(limit) if simulated else corpus_frames(manifest, config, limit)
    folder = run or Path("runs") / Path(config_name).stem
    with joined() as ranks:
        losses = distil_frames(frames, config, folder, ranks=ranks, tensorboard=tensorboard)
    if ranks.leads:
        facts = {"frames": len(frames), "steps": len(losses), "run": folder.name}
        log.info("distilled", extra={**facts, "first": losses[0], "last": losses[-1]})


def chosen_config(name: str, student: str, teacher: str) -> DistillConfig:
    """A named configuration with the weights that were given for it.

    Raises:
        InputError: no such configuration.
    """
    config = load_config(name)
    teachers = tuple(_given(each, teacher) for each in config.teachers)
    if student:
        start = dataclasses.replace(config.student, weights=student)
        config = dataclasses.replace(config, student=start)
    return dataclasses.replace(config, teachers=teachers)


def resized(config: DistillConfig, *, steps: int = 0, batch: int = 0) -> DistillConfig:
    """The same run with other steps or batch, 0 = as they are; queues keep as many batches."""
    if batch:
        losses = config.losses
        share = batch / config.batch
        losses = dataclasses.replace(
            losses,
            queue_rows=max(batch, round(losses.queue_rows * share)),
            survey_rows=max(batch, round(losses.survey_rows * share)),
        )
        config = dataclasses.replace(config, batch=batch, losses=losses)
    return dataclasses.replace(config, steps=steps or config.steps)


def _given(config: TeacherConfig, weights: str) -> TeacherConfig:
    """Weights of the command line are for all teachers but a copy of the student."""
    if config.architecture == IMAGENET_TRUNK or not weights:
        return config
    return dataclasses.replace(config, weights=weights)


def corpus_frames(manifest: Path | None, config: DistillConfig, limit: int) -> Sequence[Frame]:
    """Corpus frames of a manifest, of the configured sets if it names any.

    Raises:
        InputError: no manifest, or no such frames in it.
        Conflict: a frame that the manifest judges on, its subject or its likeness is among them.
    """
    if manifest is None:
        raise InputError("expected --manifest, or --simulated")
    named = read_manifest(manifest)
    rows = corpus_rows(named, config, limit)
    if not rows:
        raise InputError(f"{manifest.name} names no corpus frames of this configuration")
    bench = [row for row in named if row.use == "bench"]
    if bench and is_first():  # one process of a run reads and hashes every file, not all of them
        check_disjoint(rows, bench)
    return load_frames(rows) if config.mode == "cached" else DecodedFrames(rows)


def corpus_rows(named: Sequence[Row], config: DistillConfig, limit: int = 0) -> list[Row]:
    """Rows to distil from: of the configured sets if there are any, evenly thinned to ``limit``."""
    rows = [row for row in named if row.use == "corpus"]
    if config.corpus:
        rows = [row for row in rows if row.dataset in config.corpus]
        missing = sorted(set(config.corpus) - {row.dataset for row in rows})
        if missing:
            log.warning("sets of the configuration are not in the manifest", extra={
                "missing": missing, "of": len(config.corpus)})  # fmt: skip
    return rows[:: max(1, len(rows) // limit)][:limit] if limit else rows
