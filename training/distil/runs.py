"""A configuration and frames -> networks, source, and the loop over them."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import torch

from service.errors import InputError
from training.augmentation.augmenter import Augmenter
from training.catalogue.contents import (
    claim_folder,
    content_of,
    content_of_frames,
    write_whole,
)
from training.catalogue.leaks import check_disjoint, corpus_and_bench
from training.catalogue.manifest import ManifestRow, load_frames, read_manifest
from training.catalogue.simulator import SCENES, samples
from training.distil.checkpoint import CHECKPOINT_NAME
from training.distil.config import DistillConfig
from training.distil.loop import distil
from training.distil.ranks import Ranks, is_first, supports_bf16
from training.distil.sources import CachedSource, Frame, OnlineSource, Source
from training.distil.targets import cache_targets
from training.networks.backbones import AnyBackbone, build_student
from training.networks.teacher import build_teacher

log = logging.getLogger(__name__)
SIMULATED_FRAMES = 96


class DecodedFrames(Sequence[Frame]):
    """Frames of manifest rows, decoded when they are asked for: a corpus need not fit memory."""

    def __init__(self, rows: Sequence[ManifestRow]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        if isinstance(index, slice):
            return DecodedFrames(self._rows[index])
        return load_frames([self._rows[index]])[0]

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))

    @property
    def content(self) -> str:
        """Digest of the files. Raises InputError: one cannot be read."""
        return content_of(self._rows)


def corpus_frames(manifest: Path | None, config: DistillConfig, limit: int) -> Sequence[Frame]:
    """Corpus frames of a manifest, of the configured sets if it names any.

    Raises:
        InputError: no manifest, no such frames in it, or a row of neither corpus nor bench.
        Conflict: a frame that the manifest evaluates on, its subject or its likeness is among them.
    """
    if manifest is None:
        raise InputError("expected --manifest, or --simulated")
    named = read_manifest(manifest)
    rows = corpus_rows(named, config, limit)
    if not rows:
        raise InputError(f"{manifest.name} names no corpus frames of this configuration")
    bench = corpus_and_bench(named)[1]
    if bench and is_first():  # one process of a run reads and hashes every file, not all of them
        check_disjoint(rows, bench)
    return load_frames(rows) if config.mode == "cached" else DecodedFrames(rows)


def corpus_rows(
    named: Sequence[ManifestRow], config: DistillConfig, limit: int = 0
) -> list[ManifestRow]:
    """Rows to distil from: of the configured sets if there are any, evenly thinned to ``limit``."""
    rows = [row for row in named if row.use == "corpus"]
    if config.corpus:
        rows = [row for row in rows if row.dataset in config.corpus]
        missing = sorted(set(config.corpus) - {row.dataset for row in rows})
        if missing:
            log.warning("sets of the configuration are not in the manifest", extra={
                "missing": missing, "of": len(config.corpus)})  # fmt: skip
    return rows[:: max(1, len(rows) // limit)][:limit] if limit else rows


def simulated_frames(limit: int) -> list[Frame]:
    """Frames of the simulator, as many of each scene."""
    per_class = -(-(limit or SIMULATED_FRAMES) // len(SCENES))
    return [frame.pixels_HW for _, frame in samples(per_class, seed=0)][: limit or None]


def distil_frames(
    frames: Sequence[Frame],
    config: DistillConfig,
    run: Path,
    *,
    ranks: Ranks,
    tensorboard: bool = False,
) -> list[float]:
    """Build student, teachers and source, and run the loop; return the loss of every step.

    Raises:
        InputError: ``run`` holds a run of another configuration or of other frames, or a teacher,
            student or frame cannot be read.
    """
    torch.manual_seed(config.seed)
    student = build_student(config.student)
    run.mkdir(parents=True, exist_ok=True)
    if ranks.leads:
        _claim(run, frames)
        if not (run / CHECKPOINT_NAME).exists():
            write_whole(run / "config.json", json.dumps(config.to_json(), indent=1))
    source = _source(frames, student, config, run, ranks)
    return distil(student, source, config, run, ranks=ranks, tensorboard=tensorboard)


def _claim(run: Path, frames: Sequence[Frame]) -> None:
    """Note the frames of a run; once a student has learnt from them, refuse others."""
    note = run / "frames.json"
    if not (run / CHECKPOINT_NAME).exists():
        note.unlink(missing_ok=True)
    content = frames.content if isinstance(frames, DecodedFrames) else content_of_frames(frames)
    claim_folder(note, "run", {"frames": len(frames), "content": content})


def _source(
    frames: Sequence[Frame], student: AnyBackbone, config: DistillConfig, run: Path, ranks: Ranks
) -> Source:
    teachers = [build_teacher(teacher, config.spec, student=student) for teacher in config.teachers]
    if config.mode == "online":
        for teacher in teachers:
            teacher.to(ranks.device)
        bf16 = supports_bf16(ranks.device) if config.bf16 is None else config.bf16
        augment = Augmenter(config.augment, config.spec.side_px - 2 * config.spec.border_px)
        return OnlineSource(frames, teachers, augment, config, ranks, bf16=bf16)
    if ranks.leads:
        cache_targets(frames, student, teachers, config, run / "cache")
    ranks.wait()  # the others read what the first has written
    targets = cache_targets(frames, student, teachers, config, run / "cache")
    return CachedSource(targets, config, ranks)
