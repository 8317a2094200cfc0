"""``python -m training ablate``: measure what each group of augmentation adds."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.bundle.export import load_run
from training.catalogue.leaks import check_disjoint, corpus_and_bench
from training.catalogue.manifest import load_frames, read_manifest
from training.commands.options import (
    SHIPPED_CONFIG,
    ConfigName,
    ManifestPath,
    RunFolder,
    Seeds,
    SetLimit,
    SetNames,
    split_names,
)
from training.distil.config import load_config
from training.distil.runs import corpus_rows
from training.evaluation.sets import read_subsampled_sets
from training.studies.ablation import ablate
from training.studies.arms import Arm, arms_table


def ablation(
    manifest: ManifestPath,
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Markdown file to write.")],
    config_name: ConfigName = SHIPPED_CONFIG,
    sets: SetNames = "",
    every: Annotated[int, typer.Option(min=1, help="Take each so manyth corpus frame.")] = 1,
    views: Annotated[int, typer.Option(min=0, help="Views per frame; 0 = as configured.")] = 0,
    dim: Annotated[int, typer.Option(min=0, help="Axes kept; 0 = as configured.")] = 0,
    limit: SetLimit = 400,
    seeds: Seeds = 20,
) -> None:
    """Refit the read-out with each group of augmentation alone, and with all but each."""
    config = load_config(config_name)
    readout = replace(
        config.readout, views=views or config.readout.views, dim=dim or config.readout.dim
    )
    config = replace(config, readout=readout)
    rows = read_manifest(manifest)
    corpus = corpus_rows(corpus_and_bench(rows)[0], config)[::every]
    datasets = read_subsampled_sets(rows, split_names(sets), limit)
    check_disjoint(corpus, [row for dataset in datasets for row in dataset.rows])
    console = Console()

    def report(arm: Arm) -> None:
        console.print(f"{arm.name}: {dict(arm.scores)}")

    student, _ = load_run(run, config)
    results = ablate(student, config, load_frames(corpus), datasets, seeds=seeds, on_arm=report)
    table = arms_table(results, "augmentation")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(table + "\n", encoding="utf-8")
    console.print(table, markup=False, soft_wrap=True)
