"""``evaluate``: encoders on labelled sets, into one JSON, and a report and a card table from it."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from training.bundle.card import write_benchmark
from training.catalogue.manifest import ManifestRow, load_frames, read_manifest
from training.distil.config import load_config
from training.evaluation import encoders as known
from training.evaluation.cost import measure_costs
from training.evaluation.document import read_document, write_document
from training.evaluation.encoders import FrameEncoder
from training.evaluation.report import write_report
from training.evaluation.run import EvaluationPlan
from training.evaluation.run import evaluate as run_evaluation
from training.evaluation.scores import Effort
from training.evaluation.sets import EvaluationSet, read_sets, subsample
from training.evaluation.summary import benchmark_of
from training.evaluation.ultrabench import read_ultrabench

log = logging.getLogger(__name__)

Option = typer.Option
OutFolder: TypeAlias = Annotated[Path, Option(help="For evaluation.json, report and table.")]
Source: TypeAlias = Annotated[
    Path | None, Option("--from", help="Render this evaluation.json; compute nothing.")
]
Frames: TypeAlias = Annotated[Path | None, Option(help="manifest.csv naming the frames.")]
Bundle: TypeAlias = Annotated[
    Path | None, Option(help="Bundle to evaluate; its default precision is the shipped one.")
]
Precisions: TypeAlias = Annotated[
    list[str] | None, Option(help="Only this precision of the bundle; repeatable.")
]
Run: TypeAlias = Annotated[
    Path | None, Option("--checkpoint", help="Folder of a run that was not exported.")
]
ConfigName: TypeAlias = Annotated[
    str, Option("--config", help="Configuration of the --checkpoint run, as for distil.")
]
TeacherFile: TypeAlias = Annotated[Path | None, Option(help="ViT-S/14 teacher, safetensors.")]
TrunkFile: TypeAlias = Annotated[
    Path | None, Option(help="ImageNet ResNet-50 v2 trunk, safetensors.")
]
Random: TypeAlias = Annotated[bool, Option("--random", help="Evaluate random weights too.")]
Pixels: TypeAlias = Annotated[bool, Option("--pixels", help="Evaluate raw pixels too.")]
Names: TypeAlias = Annotated[str, Option(help="Bench sets, comma-separated; empty = all.")]
Prepared: TypeAlias = Annotated[
    list[Path] | None, Option(help="Data set folder that ultrabench wrote; repeatable.")
]
Cache: TypeAlias = Annotated[Path | None, Option(help="Folder for features; default in out.")]
CentreOnSet: TypeAlias = Annotated[
    bool, Option("--centre-on-set", help="Centre by the set's own frames, not by the corpus.")
]
Limit: TypeAlias = Annotated[int, Option(min=0, help="About so many frames per set; 0 = all.")]
Seeds: TypeAlias = Annotated[int, Option(min=2, help="Splits per number of shots.")]
Jobs: TypeAlias = Annotated[int, Option(min=1, help="Processes for fitting heads.")]
Costs: TypeAlias = Annotated[bool, Option(help="Measure size and time per frame.")]
Maps: TypeAlias = Annotated[bool, Option(help="Compute UMAPs of student and teacher.")]
StateIn: TypeAlias = Annotated[
    list[Path] | None, Option(help="Bundle whose card shall carry the numbers; repeatable.")
]


def evaluate(
    out: OutFolder,
    source: Source = None,
    manifest: Frames = None,
    bundle: Bundle = None,
    precision: Precisions = None,
    run: Run = None,
    config_name: ConfigName = "resnet50_stage3",
    teacher: TeacherFile = None,
    trunk: TrunkFile = None,
    random: Random = False,
    pixels: Pixels = False,
    sets: Names = "",
    ultrabench: Prepared = None,
    cache: Cache = None,
    centre_on_set: CentreOnSet = False,
    limit: Limit = 0,
    seeds: Seeds = 20,
    jobs: Jobs = 1,
    costs: Costs = True,
    maps: Maps = True,
    state_in: StateIn = None,
) -> None:
    """Evaluate encoders on the same splits: few shots, full probe, retrieval, clusters, cost."""
    if source is not None:
        document = read_document(source)
    else:
        rows = read_manifest(manifest) if manifest else []
        corpus = [row for row in rows if row.use == "corpus"]
        corpus = corpus[:: max(1, len(corpus) // limit)] if limit else corpus
        evaluated: list[FrameEncoder] = []
        if bundle:
            evaluated += known.bundle_encoders(bundle, precision or [])
        if run:
            evaluated.append(known.checkpoint(run, load_frames(corpus), load_config(config_name)))
        if teacher:
            evaluated.append(known.teacher(teacher))
        if trunk:
            evaluated.append(known.imagenet_trunk(trunk))
        if random:
            evaluated.append(known.random_resnet50())
        if pixels:
            evaluated.append(known.PixelEncoder())
        datasets = list(_sets(rows, sets, ultrabench or [], limit))
        store, effort = cache or out / "cache", Effort(seeds=seeds)
        centre = [] if centre_on_set else corpus
        plan = EvaluationPlan(evaluated, datasets, centre, store, effort, jobs=jobs, maps=maps)
        measured = measure_costs([*evaluated, known.paper_teacher()]) if costs else {}
        document = run_evaluation(plan, measured)
        write_document(document, out)
    report = write_report(document, out)
    for folder in state_in or []:
        write_benchmark(folder, benchmark_of(document))
    log.info("evaluated", extra={"shipped": document["shipped"], "report": str(report)})


def _sets(
    rows: list[ManifestRow], names: str, folders: list[Path], limit: int
) -> Iterator[EvaluationSet]:
    wanted = [name for name in names.split(",") if name]
    datasets = [*(read_sets(rows, wanted) if rows else []), *map(read_ultrabench, folders)]
    for dataset in datasets:
        yield subsample(dataset, limit) if limit else dataset
