"""``python -m training ablate``: measure what each group of augmentation adds."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.bundle.export import load_student
from training.catalogue.manifest import load_frames, read_manifest
from training.distil.checkpoint import CHECKPOINT_NAME
from training.distil.config import load_config
from training.evaluation.sets import read_subsampled_sets
from training.studies.ablation import ablate, ablation_table
from training.studies.arms import Arm


def ablation(
    manifest: Annotated[Path, typer.Option(help="manifest.csv naming corpus and bench frames.")],
    run: Annotated[Path, typer.Option(help="Folder of the finished run.")],
    out: Annotated[Path, typer.Option(help="Markdown file to write.")],
    config_name: Annotated[
        str, typer.Option("--config", help="Named config, or a .py file with config().")
    ] = "resnet50_stage3",
    sets: Annotated[str, typer.Option(help="Bench sets, comma-separated; empty = all.")] = "",
    every: Annotated[int, typer.Option(min=1, help="Take each so manyth corpus frame.")] = 1,
    views: Annotated[int, typer.Option(min=0, help="Views per frame; 0 = as configured.")] = 0,
    dim: Annotated[int, typer.Option(min=0, help="Axes kept; 0 = as configured.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="About so many frames per set.")] = 400,
    seeds: Annotated[int, typer.Option(min=2, help="Splits per number of shots.")] = 20,
) -> None:
    """Refit the read-out with each group of augmentation alone, and with all but each."""
    config = load_config(config_name)
    readout = replace(
        config.readout, views=views or config.readout.views, dim=dim or config.readout.dim
    )
    config = replace(config, readout=readout)
    rows = read_manifest(manifest)
    corpus = load_frames([row for row in rows if row.use == "corpus"][::every])
    names = [name for name in sets.split(",") if name]
    chosen = read_subsampled_sets(rows, names, limit)
    console = Console()

    def report(arm: Arm) -> None:
        console.print(f"{arm.name}: {dict(arm.scores)}")

    student = load_student(run / CHECKPOINT_NAME, config.student)
    results = ablate(student, config, corpus, chosen, seeds=seeds, on_arm=report)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(ablation_table(results) + "\n", encoding="utf-8")
    console.print(ablation_table(results), markup=False, soft_wrap=True)
