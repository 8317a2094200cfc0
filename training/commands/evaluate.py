"""``evaluate``: encoders on labelled sets, into one JSON, and a report and a card table from it."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeAlias

from typer import Option

from training.bundle.card import write_benchmark
from training.catalogue.leaks import check_disjoint
from training.catalogue.manifest import ManifestRow, load_frames, read_manifest
from training.commands.options import (
    SHIPPED_CONFIG,
    ConfigName,
    Seeds,
    ThinnedSetNames,
    split_names,
)
from training.distil.config import load_config
from training.distil.runs import corpus_rows
from training.evaluation import encoders as known
from training.evaluation.cost import measure_costs
from training.evaluation.document import read_document, write_document
from training.evaluation.encoders import FrameEncoder
from training.evaluation.report import write_report
from training.evaluation.run import BOTH, EvaluationPlan
from training.evaluation.run import evaluate as run_evaluation
from training.evaluation.scores import Effort
from training.evaluation.served import read_ways
from training.evaluation.sets import EvaluationSet, read_thinned_sets, subsample
from training.evaluation.summary import benchmark_of
from training.evaluation.ultrabench import read_ultrabench

log = logging.getLogger(__name__)


Bundle: TypeAlias = Annotated[
    Path | None, Option(help="Bundle to evaluate; its default precision is the shipped one.")
]


def evaluate(
    out: Annotated[Path, Option(help="For evaluation.json, report and table.")],
    source: Annotated[
        Path | None, Option("--from", help="Render this evaluation.json; compute nothing.")
    ] = None,
    manifest: Annotated[Path | None, Option(help="manifest.csv naming the frames.")] = None,
    bundle: Bundle = None,
    precision: Annotated[
        list[str] | None, Option(help="Only this precision of the bundle; repeatable.")
    ] = None,
    before: Annotated[
        Path | None, Option(help="Bundle that it would replace, in its default precision.")
    ] = None,
    run: Annotated[
        Path | None, Option("--checkpoint", help="Folder of a run that was not exported.")
    ] = None,
    config_name: ConfigName = SHIPPED_CONFIG,
    teacher: Annotated[Path | None, Option(help="ViT-S/14 teacher, safetensors.")] = None,
    trunk: Annotated[Path | None, Option(help="ImageNet ResNet-50 v2 trunk, safetensors.")] = None,
    random: Annotated[bool, Option("--random", help="Evaluate random weights too.")] = False,
    pixels: Annotated[bool, Option("--pixels", help="Evaluate raw pixels too.")] = False,
    sets: ThinnedSetNames = "",
    ultrabench: Annotated[
        list[Path] | None, Option(help="Data set folder that ultrabench wrote; repeatable.")
    ] = None,
    cache: Annotated[Path | None, Option(help="Folder for features; default in out.")] = None,
    centre_on_set: Annotated[
        bool, Option("--centre-on-set", help="Centre by the set's own frames, not by the corpus.")
    ] = False,
    ways: Annotated[
        str, Option(help="Comma-separated: whole, served, cropped, masked; whole is needed.")
    ] = ",".join(BOTH),
    limit: Annotated[int, Option(min=0, help="About so many frames per set; 0 = all.")] = 0,
    seeds: Seeds = 20,
    jobs: Annotated[int, Option(min=1, help="Processes for fitting heads.")] = 1,
    costs: Annotated[bool, Option(help="Measure size and time per frame.")] = True,
    maps: Annotated[bool, Option(help="Compute UMAPs of student and teacher.")] = True,
    state_in: Annotated[
        list[Path] | None, Option(help="Bundle whose card shall carry the numbers; repeatable.")
    ] = None,
) -> None:
    """Evaluate encoders on the same splits: few shots, full probe, retrieval, clusters, cost."""
    if source is not None:
        document = read_document(source)
    else:
        rows = read_manifest(manifest) if manifest else []
        corpus = [row for row in rows if row.use == "corpus"]
        corpus = corpus[:: max(1, len(corpus) // limit)] if limit else corpus
        datasets = list(_sets(rows, sets, ultrabench or [], limit))
        evaluated: list[FrameEncoder] = []
        if bundle:
            evaluated += known.bundle_encoders(bundle, precision or [])
        if before:
            evaluated.append(known.bundle_encoders(before, prefix="before")[0])
        if run:
            evaluated.append(_run_encoder(run, config_name, corpus, datasets))
        evaluated += _baselines(teacher, trunk, random=random, pixels=pixels)
        store, effort = cache or out / "cache", Effort(seeds=seeds)
        centre = [] if centre_on_set else corpus
        plan = EvaluationPlan(
            evaluated,
            datasets,
            centre,
            store,
            effort,
            jobs=jobs,
            maps=maps,
            ways=read_ways(split_names(ways)),
        )
        measured = measure_costs([*evaluated, known.paper_teacher()]) if costs else {}
        document = run_evaluation(plan, measured)
        write_document(document, out)
    report = write_report(document, out)
    for folder in state_in or []:
        write_benchmark(folder, benchmark_of(document))
    log.info("evaluated", extra={"shipped": document["shipped"], "report": str(report)})


def _run_encoder(
    run: Path, config_name: str, corpus: list[ManifestRow], datasets: list[EvaluationSet]
) -> FrameEncoder:
    """The student of a run, with a read-out that the corpus fits: it may not know the sets."""
    tested = [row for dataset in datasets for row in dataset.rows if row.use == "bench"]
    config = load_config(config_name)
    learnt_from = corpus_rows(corpus, config)
    check_disjoint(learnt_from, tested)
    return known.checkpoint(run, load_frames(learnt_from), config)


def _baselines(
    teacher: Path | None, trunk: Path | None, *, random: bool, pixels: bool
) -> Iterator[FrameEncoder]:
    if teacher:
        yield known.teacher(teacher)
    if trunk:
        yield known.imagenet_trunk(trunk)
    if random:
        yield known.random_resnet50()
    if pixels:
        yield known.PixelEncoder()


def _sets(
    rows: list[ManifestRow], names: str, folders: list[Path], limit: int
) -> Iterator[EvaluationSet]:
    datasets = [
        *(read_thinned_sets(rows, split_names(names)) if rows else []),
        *map(read_ultrabench, folders),
    ]
    for dataset in datasets:
        yield subsample(dataset, limit) if limit else dataset
