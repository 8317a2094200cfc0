"""``python -m training designs``: designs of the distillation against the plain one, in small."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.catalogue.leaks import check_disjoint
from training.catalogue.manifest import load_frames, read_manifest
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
    manifest: Annotated[Path, typer.Option(help="manifest.csv naming corpus and bench frames.")],
    student: Annotated[str, typer.Option(help="Where the student starts.")],
    teacher: Annotated[str, typer.Option(help="Weights of the teacher.")],
    out: Annotated[Path, typer.Option(help="Folder for caches, runs and designs.md.")],
    config_name: Annotated[
        str, typer.Option("--config", help="Named config, or a .py file with config().")
    ] = "resnet50_stage4",
    every: Annotated[int, typer.Option(min=1, help="Learn from each so manyth corpus frame.")] = 2,
    side: Annotated[int, typer.Option(min=64, help="Side of the input, px.")] = 160,
    views: Annotated[int, typer.Option(min=2, help="Cached views per frame.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a run.")] = 200,
    batch: Annotated[int, typer.Option(min=2, help="Views per step.")] = 64,
    dim: Annotated[int, typer.Option(min=1, help="Width of the embedding.")] = 512,
    simulated: Annotated[int, typer.Option(min=0, help="Frames of the simulator.")] = 240,
    sets: Annotated[str, typer.Option(help="Bench sets, comma-separated; empty = all.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="About so many frames per set.")] = 400,
    seeds: Annotated[int, typer.Option(min=2, help="Splits per number of shots.")] = 20,
    only: Annotated[str, typer.Option(help="Designs beside the plain one; empty = all.")] = "",
) -> None:
    """Train stage 4 by each design from cached targets and evaluate it; can be resumed."""
    plain = reduce_config(
        load_config_with_weights(config_name, student, teacher),
        side=side, views=views, steps=steps, batch=batch, dim=dim,
    )  # fmt: skip
    rows = read_manifest(manifest)
    corpus = corpus_rows(rows, plain)[::every]
    names = [name for name in sets.split(",") if name]
    evaluated = read_subsampled_sets(rows, names, limit)
    check_disjoint(corpus, [row for dataset in evaluated for row in dataset.rows])
    chosen = select_designs(plain, [name for name in only.split(",") if name])
    shared = compute_shared(
        plain, load_frames(corpus), evaluated, out / "cache", simulated=simulated
    )
    console = Console()
    done: list[DesignResult] = []
    for result in evaluate_designs(chosen, shared, out, seeds=seeds):
        done.append(result)
        (out / "designs.md").write_text(tables(done) + "\n", encoding="utf-8")
        console.print(f"{result.shipped.name}: {dict(result.shipped.scores)}", markup=False)
    console.print(tables(done), markup=False, soft_wrap=True)
