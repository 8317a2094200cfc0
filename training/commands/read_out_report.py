"""``python -m training read-out-report``: designs of the read-out of a bundle whose trunk stays."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.embedding.bundle import SHIPPED_BUNDLE
from service.errors import InputError
from training.catalogue.leaks import check_disjoint
from training.catalogue.manifest import read_manifest
from training.commands.options import (
    ManifestPath,
    Seeds,
    SourceBundle,
    ThinnedSetNames,
    WorkFolder,
    split_names,
)
from training.evaluation.sets import read_thinned_sets
from training.studies.readout_designs import select_readout_designs
from training.studies.readout_report import ReadoutStudy, report


def _read_shots(shots: str) -> tuple[int, ...]:
    """Numbers of a comma-separated option. Raises InputError: none, or no positive whole ones."""
    parts = split_names(shots)
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise InputError(f"expected positive numbers, comma-separated, got {shots!r}")
    return tuple(int(part) for part in parts)


def read_out_report(
    manifest: ManifestPath,
    run: WorkFolder,
    out: Annotated[Path, typer.Option(help="Markdown file to write.")],
    source: SourceBundle = SHIPPED_BUNDLE,
    border: Annotated[float, typer.Option(min=0, help="Of the designs.")] = 0.1,
    sets: ThinnedSetNames = "",
    shots: Annotated[str, typer.Option(help="Labelled frames per class.")] = "5,10,20",
    seeds: Seeds = 12,
    dim: Annotated[int, typer.Option(min=0, help="Width of all designs; 0 = their own.")] = 0,
    only: Annotated[str, typer.Option(help="Designs, separated by semicolons; empty = all.")] = "",
    threads: Annotated[int, typer.Option(min=0, help="Of the trunk; 0 = every core.")] = 0,
) -> None:
    """Fit read-outs on pooled corpus frames and compare them with a bundle as it serves."""
    rows = read_manifest(manifest)
    corpus = [row for row in rows if row.use == "corpus"]
    evaluated = read_thinned_sets(rows, split_names(sets))
    tested = [row for one in evaluated for row in one.rows if row.use == "bench"]
    check_disjoint(corpus, tested)
    designs = select_readout_designs([name for name in only.split(";") if name], dim)
    study = ReadoutStudy(
        source, border, corpus, evaluated, run,
        shots=_read_shots(shots), seeds=seeds, threads=threads,
    )  # fmt: skip
    base, results = study.base(), [study.bordered()]
    for design in designs:
        results.append(study.design(design))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(report(base, results) + "\n", encoding="utf-8")
    Console().print(report(base, results), markup=False, soft_wrap=True)
