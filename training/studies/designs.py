"""Compare designs of the distillation at a size that a few CPU cores can run.

Views, targets of every teacher and the maps of the frozen stages are computed once, so that a
design costs no more than its own steps of stage 4. All are evaluated on the same splits, once in
the read-out that ships, and once as stage 4 alone: the read-out rests on stage 3 and hides most
of what stage 4 has learnt.

Shape suffixes: N frames, V views, M = V x N samples, C channels, h w maps, K pooled features,
D width of a target.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from service.arrays import Floats, Ints, unit_rows
from service.errors import InputError
from training.catalogue.contents import content_of_frames, write_whole
from training.distil.config import DistillConfig, LossConfig
from training.distil.loop import distil
from training.distil.ranks import Ranks
from training.distil.runs import simulated_frames
from training.distil.sources import CachedSource, Frame
from training.distil.targets import Halves, Targets, cache_targets
from training.evaluation.protocol import LabelledSet
from training.evaluation.sets import EvaluationSet, facts_of
from training.networks.backbones import AnyBackbone, build_student
from training.networks.config import IMAGENET_TRUNK, TeacherConfig
from training.networks.readout import BLOCKS, Readout, fit_readout, pool_features
from training.networks.teacher import build_teacher
from training.studies.arms import SHOTS, Arm, Scores, arm, arms_table, scores_of

PLAIN = "plain"
_BATCH = 64
_SCORES = "scores.json"


@dataclass(frozen=True, slots=True)
class Design:
    """One variant of the distillation.

    Attributes:
        config: of its run, on the cached targets.
        simulated: frames of the simulator are learnt from beside the corpus.
        trained: False leaves stage 4 as it was drawn.
        reads_stage4: False leaves it out of the read-out.
    """

    name: str
    config: DistillConfig
    simulated: bool = False
    trained: bool = True
    reads_stage4: bool = True

    @property
    def folder(self) -> str:
        """The name as a folder."""
        return self.name.replace(" ", "_").replace(",", "")


def designs(plain: DistillConfig) -> list[Design]:
    """The plain design, then bounds, then designs that differ from it in one setting.

    Args:
        plain: with one transformer as its teacher, of which the last block is read at least.
    """
    (teacher,) = plain.teachers

    def taught(*teachers: TeacherConfig) -> DistillConfig:
        return replace(plain, teachers=teachers)

    def lost(**weights: float) -> DistillConfig:
        return replace(plain, losses=replace(plain.losses, **weights))  # type: ignore[arg-type]

    return [
        Design(PLAIN, plain),
        Design("no stage 4", plain, trained=False, reads_stage4=False),
        Design("stage 4 untrained", plain, trained=False),
        Design("plain, another seed", replace(plain, seed=plain.seed + 1)),
        Design("two teachers", taught(teacher, TeacherConfig(IMAGENET_TRUNK, weight=0.5))),
        Design("contrastive loss on top", lost(contrastive=0.1)),
        Design("queue loss instead", lost(regression=0.0, queue=1.0)),
        Design("relational loss on top", lost(relational=1.0)),
        Design("last block alone", taught(replace(teacher, blocks=teacher.blocks[-1:]))),
        Design("first block alone", taught(replace(teacher, blocks=teacher.blocks[:1]))),
        Design("simulated frames too", plain, simulated=True),
        Design("three times the steps", replace(plain, steps=3 * plain.steps)),
    ]


def reduce_config(
    config: DistillConfig, *, side: int, views: int, steps: int, batch: int, dim: int
) -> DistillConfig:
    """The configuration at a size that all designs can be tried at; its first teacher alone."""
    return replace(
        config,
        spec=replace(config.spec, side_px=side),
        serve_px=0,
        load_px=side * config.load_px // config.spec.side_px,
        views=views,
        steps=steps,
        batch=batch,
        teachers=config.teachers[:1],
        readout=replace(config.readout, dim=dim, views=views - 1),
    )


def select_designs(plain: DistillConfig, names: list[str]) -> list[Design]:
    """The plain design, and those of these names, or all.

    Raises:
        InputError: there is no such design.
    """
    known = designs(plain)
    missing = sorted(set(names) - {design.name for design in known})
    if missing:
        raise InputError(f"expected designs among {[d.name for d in known]}, got {missing}")
    return [d for d in known if not names or d is known[0] or d.name in names]


@dataclass(frozen=True, slots=True)
class SharedTargets:
    """What all designs share; computed once.

    Attributes:
        teachers: whose targets are stored, in their order.
        corpus: real frames and their views.
        simulated: the same of the simulator; None when no design wants them.
        evaluated: of each set, labels and the maps (N, C, h, w) of the frozen stages.
        made_of: digest of all frames and labels.
    """

    teachers: tuple[TeacherConfig, ...]
    corpus: Targets
    simulated: Targets | None
    evaluated: Sequence[tuple[LabelledSet, Halves]]
    made_of: str = ""


def compute_shared(
    plain: DistillConfig,
    corpus: Sequence[Frame],
    sets: Sequence[EvaluationSet],
    folder: Path,
    *,
    simulated: int,
) -> SharedTargets:
    """Compute what all designs share, or read what is there of it already.

    Raises:
        InputError: the folder holds targets of another run.
    """
    teachers = (*plain.teachers, TeacherConfig(IMAGENET_TRUNK))
    config = replace(plain, teachers=teachers, losses=LossConfig(relational=1.0))
    student = build_student(config.student)
    built = [build_teacher(teacher, config.spec, student=student) for teacher in teachers]
    frames = [frame for dataset in sets for frame in dataset.frames()]
    maps = cache_targets(frames, student, built, replace(config, views=1), folder / "evaluated")
    ends = np.cumsum([len(dataset.rows) for dataset in sets])[:-1]
    parts = np.split(maps.streams_MChw, ends)
    drawn = simulated_frames(simulated) if simulated else []
    made_of = " ".join([facts_of(sets), content_of_frames(corpus), content_of_frames(drawn)])
    return SharedTargets(
        teachers,
        cache_targets(corpus, student, built, config, folder / "corpus"),
        cache_targets(drawn, student, built, config, folder / "simulated") if drawn else None,
        list(zip([dataset.labelled for dataset in sets], parts, strict=True)),
        made_of,
    )  # fmt: skip


def targets_of(design: Design, shared: SharedTargets) -> Targets:
    """What the design learns from, out of what is stored: its teachers, blocks and frames."""
    parts = [shared.corpus]
    if design.simulated and shared.simulated is not None:
        parts.append(shared.simulated)
    views = design.config.views
    numbers = [_number(teacher, shared.teachers) for teacher in design.config.teachers]
    streams = _joined([part.streams_MChw for part in parts], views)
    pooled_of, dense, grids = [], [], []
    for number, teacher in zip(numbers, design.config.teachers, strict=True):
        whole_MD = _joined([part.pooled[number] for part in parts], views)
        columns = _columns(shared.teachers[number], teacher, whole_MD.shape[1])
        pooled_of.append(whole_MD[:, columns])
        dense.append(_joined([part.dense[number] for part in parts], views))
        grids.append(shared.corpus.grids[number])
    return Targets(streams, pooled_of, dense if design.config.losses.relational > 0 else (), grids)


def _number(part: TeacherConfig, stored: Sequence[TeacherConfig]) -> int:
    return [teacher.architecture for teacher in stored].index(part.architecture)


def _columns(stored: TeacherConfig, part: TeacherConfig, width: int) -> Ints | slice:
    """Return where the blocks of ``part`` lie in a target that was stored of more blocks."""
    if not stored.blocks:
        return slice(None)
    block_width = width // len(stored.blocks)
    starts = [block_width * stored.blocks.index(block) for block in part.blocks]
    return np.concatenate([np.arange(start, start + block_width) for start in starts])


def _joined(parts: Sequence[Halves], views: int) -> Halves:
    """Frames of several caches beside each other: sample = view x all frames + frame."""
    if len(parts) == 1:
        return parts[0]
    by_view = [part.reshape(views, -1, *part.shape[1:]) for part in parts]
    joined = np.concatenate(by_view, axis=1)
    return joined.reshape(-1, *joined.shape[2:])


@dataclass(frozen=True, slots=True)
class DesignResult:
    """A design in the read-out that ships, and its stage 4 alone (None: it has none)."""

    shipped: Arm
    alone: Arm | None


def evaluate_designs(
    chosen: Sequence[Design],
    shared: SharedTargets,
    out: Path,
    *,
    shots: Sequence[int] = SHOTS,
    seeds: int,
) -> Iterator[DesignResult]:
    """Train and evaluate every design; one that was evaluated alike in ``out`` before is read.

    Args:
        chosen: the first one is what the others are compared with.
    """
    base: tuple[Scores, Scores] | None = None
    for design in chosen:
        folder = out / design.folder
        made_of = _made_of(design, shared, shots, seeds)
        scores = _stored(folder, made_of)
        if scores is None:
            scores = _evaluate(design, shared, folder, shots, seeds)
            document = json.dumps({"made_of": made_of, "scores": scores})
            write_whole(folder / _SCORES, document)
        shipped, alone = scores
        base = base or (shipped, alone)
        yield DesignResult(
            arm(design.name, shipped, base[0]),
            arm(design.name, alone, base[1]) if design.reads_stage4 else None,
        )


def tables(results: list[DesignResult]) -> str:
    """Both tables, Markdown."""
    alone = [result.alone for result in results if result.alone is not None]
    shipped = arms_table([result.shipped for result in results], "design, in the read-out")
    return f"{shipped}\n\n{arms_table(alone, 'design, stage 4 alone')}"


def _made_of(design: Design, shared: SharedTargets, shots: Sequence[int], seeds: int) -> str:
    """Digest of all that the scores of a design depend on."""
    facts = [repr(design), shared.made_of, list(shots), seeds]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _stored(folder: Path, made_of: str) -> tuple[Scores, Scores] | None:
    """What was evaluated before, unless of anything else; earlier versions did not say of what."""
    path = folder / _SCORES
    document = json.loads(path.read_text()) if path.exists() else None
    if not isinstance(document, dict) or document["made_of"] != made_of:
        return None
    shipped, alone = (
        {int(shots): by_set for shots, by_set in scores.items()} for scores in document["scores"]
    )
    return shipped, alone


def _evaluate(
    design: Design, shared: SharedTargets, folder: Path, shots: Sequence[int], seeds: int
) -> tuple[Scores, Scores]:
    student = _trained(design, shared, folder)
    views = [_read(student, s) for s in np.split(shared.corpus.streams_MChw, design.config.views)]
    readout = _readout(design, views)
    alone = _stage4_alone(views[0])
    evaluated = [(labelled, _read(student, streams)) for labelled, streams in shared.evaluated]
    return (
        scores_of(lambda maps: readout.embed(maps.pooled_NK), evaluated, shots, seeds),
        scores_of(alone, evaluated, shots, seeds),
    )


def _trained(design: Design, shared: SharedTargets, folder: Path) -> AnyBackbone:
    torch.manual_seed(design.config.seed)
    student = build_student(design.config.student)
    if design.trained:
        source = CachedSource(targets_of(design, shared), design.config, Ranks())
        distil(student, source, design.config, folder)
    return student.eval()


@dataclass(frozen=True, slots=True)
class _Read:
    """What is read of frames: all blocks of the read-out, and the mean of stage 4."""

    pooled_NK: Floats
    mean_NC: Floats


@torch.inference_mode()
def _read(student: AnyBackbone, streams_NChw: Halves) -> _Read:
    pooled_parts, means = [], []
    for start in range(0, len(streams_NChw), _BATCH):
        stream = torch.from_numpy(streams_NChw[start : start + _BATCH]).float()
        stage3, stage4 = student.read_stream(stream.contiguous(memory_format=torch.channels_last))
        if stage4 is None:
            raise InputError("designs are compared by their stage 4; the student has none")
        pooled_parts.append(pool_features(stage3, stage4).numpy())
        means.append(stage4.mean((2, 3)).numpy())
    return _Read(np.concatenate(pooled_parts), np.concatenate(means))


def _readout(design: Design, views: Sequence[_Read]) -> Readout:
    config = design.config.readout
    if not design.reads_stage4:
        shares = zip(BLOCKS, config.energy, strict=True)
        energy = tuple(0.0 if name.startswith("stage4") else share for name, share in shares)
        config = replace(config, energy=energy)
    return fit_readout(views[0].pooled_NK, config, [view.pooled_NK for view in views[1:]])


def _stage4_alone(corpus: _Read) -> Callable[[_Read], Floats]:
    """Mean and spread of stage 4 about those of the corpus, equally strong, at unit length."""
    start = list(BLOCKS).index("stage4.spread")
    first = sum(list(BLOCKS.values())[:start])
    block = slice(first, first + BLOCKS["stage4.spread"])

    def parts(read: _Read) -> list[Floats]:
        return [read.mean_NC, read.pooled_NK[:, block]]

    centres = [part_NC.mean(0) for part_NC in parts(corpus)]
    lengths = [
        float(np.sqrt(np.square(part_NC - centre_C).sum(1).mean()))
        for part_NC, centre_C in zip(parts(corpus), centres, strict=True)
    ]

    def embed(read: _Read) -> Floats:
        scaled = [
            (part_NC - centre_C) / length
            for part_NC, centre_C, length in zip(parts(read), centres, lengths, strict=True)
        ]
        rows_NK = np.concatenate(scaled, axis=1)
        return unit_rows(rows_NK)

    return embed
