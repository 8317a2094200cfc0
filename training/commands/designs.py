"""``python -m training designs``: designs of the distillation against the plain one, in small."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.catalogue.leaks import check_disjoint
from training.catalogue.manifest import load_frames, read_manifest
from training.commands.options import (
    ConfigName,
    ManifestPath,
    Seeds,
    SetLimit,
    SetNames,
    split_names,
)
from training.distil.config import load_config_with_weights
from training.distil.runs import corpus_rows
from training.evaluation.sets import read_subsampled_sets
from training.studies.designs import (
    DesignResult,
    compute_shared,
    evaluate_designs,
    reduce_config,
    select_designs,
    tables,
)


def compare_designs(
    manifest: ManifestPath,
    student: Annotated[str, typer.Option(help="Where the student starts.")],
    teacher: Annotated[str, typer.Option(help="Weights of the teacher.")],
    out: Annotated[Path, typer.Option(help="Folder for caches, runs and designs.md.")],
    config_name: ConfigName = "resnet50_stage4",
    every: Annotated[int, typer.Option(min=1, help="Learn from each so manyth corpus frame.")] = 2,
    side: Annotated[int, typer.Option(min=64, help="Side of the input, px.")] = 160,
    views: Annotated[int, typer.Option(min=2, help="Cached views per frame.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a run.")] = 200,
    batch: Annotated[int, typer.Option(min=2, help="Views per step.")] = 64,
    dim: Annotated[int, typer.Option(min=1, help="Width of the embedding.")] = 512,
    simulated: Annotated[int, typer.Option(min=0, help="Frames of the simulator.")] = 240,
    sets: SetNames = "",
    limit: SetLimit = 400,
    seeds: Seeds = 20,
    only: Annotated[str, typer.Option(help="Designs beside the plain one; empty = all.")] = "",
) -> None:
    """Train stage 4 by each design from cached targets and evaluate it; can be resumed."""
    plain = reduce_config(
        load_config_with_weights(config_name, student, teacher),
        side=side, views=views, steps=steps, batch=batch, dim=dim,
    )  # fmt: skip
    rows = read_manifest(manifest)
    corpus = corpus_rows(rows, plain)[::every]
    evaluated = read_subsampled_sets(rows, split_names(sets), limit)
    check_disjoint(corpus, [row for dataset in evaluated for row in dataset.rows])
    chosen = select_designs(plain, split_names(only))
    shared = compute_shared(
        plain, load_frames(corpus), evaluated, out / "cache", simulated=simulated
    )
    console = Console()
    results: list[DesignResult] = []
    for result in evaluate_designs(chosen, shared, out, seeds=seeds):
        results.append(result)
        (out / "designs.md").write_text(tables(results) + "\n", encoding="utf-8")
        console.print(f"{result.shipped.name}: {dict(result.shipped.scores)}", markup=False)
    console.print(tables(results), markup=False, soft_wrap=True)
