"""Real frames for the few-shot report: labels, embeddings, other pictures and splits.

Shape suffixes: N frames, D embedding width.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from harness import required_shared_folder

from service.errors import NotEnoughExamples
from service.fewshot.metrics import balanced_accuracy
from training.catalogue.manifest import read_manifest
from training.evaluation.cache import features
from training.evaluation.encoders import BundleEncoder
from training.evaluation.protocol import LabelledSet, Split, shot_split
from training.evaluation.served import Way
from training.evaluation.sets import read_sets, subsample

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Row: TypeAlias = dict[str, object]
Data: TypeAlias = dict[str, tuple[LabelledSet, Doubles]]

FRAMES_PER_CLASS = 20  # of a support of whole groups


def read(
    encoder: BundleEncoder, names: list[str], frames: int, cache: Path, way: Way = "whole"
) -> Data:
    """Labels of every set, and embeddings of whole frames or of what the service uses of them."""
    rows = read_manifest(required_shared_folder() / "data" / "manifest.csv")
    sets = [subsample(bench_set, frames) for bench_set in read_sets(rows, names)]
    return {
        s.name: (s.labelled, features(encoder, s.rows, cache, way).astype(np.float64)) for s in sets
    }


def pictures(count: int) -> list[npt.NDArray[np.uint8]]:
    """Noise, smooth gradients and pages of text-like blocks, ``count`` of each, 256 px."""
    rng = np.random.default_rng(0)
    side = 256
    across = np.linspace(0, 1, side)
    drawn = [rng.integers(0, 256, (side, side)) for _ in range(count)]
    for _ in range(count):
        down, right = rng.normal(size=2)
        plane = down * across[:, None] + right * across
        drawn.append(255 * (plane - plane.min()) / np.ptp(plane))
    for _ in range(count):
        page = np.full((side, side), 245)
        for top in range(12, side - 12, 14):
            for left in range(12, int(rng.integers(side // 2, side - 12)), 7):
                page[top : top + int(rng.integers(4, 9)), left : left + int(rng.integers(2, 6))] = (
                    20
                )
        drawn.append(page)
    return [np.asarray(picture).astype(np.uint8) for picture in drawn]


def splits(data: Data, shots: int, seeds: int) -> Iterator[tuple[str, Split, LabelledSet, Doubles]]:
    """Every set and seed with enough groups for so many shots."""
    for name, (labelled, rows_ND) in data.items():
        for seed in range(seeds):
            try:
                yield name, shot_split(labelled, shots, seed), labelled, rows_ND
            except NotEnoughExamples:
                break


def class_numbers(labelled: LabelledSet) -> Ints:
    """Class number of every frame."""
    return np.searchsorted(labelled.classes, labelled.labels_N)


def accuracy_percent(truth_Q: Ints, guesses_Q: Ints) -> float:
    """Balanced accuracy of the classes that were tested, in percent."""
    return 100 * balanced_accuracy(truth_Q, guesses_Q, int(max(truth_Q.max(), guesses_Q.max())) + 1)


def whole_groups(labelled: LabelledSet, seed: int) -> tuple[Ints, Ints]:
    """Rows of whole groups until each class has 20 frames, as in uploaded cines; other rows."""
    rng = np.random.default_rng(seed)
    used: set[str] = set()
    train: list[int] = []
    for name in labelled.classes:
        of_class_N = labelled.labels_N == name
        count = 0
        for group in rng.permutation(np.unique(labelled.groups_N[of_class_N])).tolist():
            if count < FRAMES_PER_CLASS and group not in used:
                rows = np.flatnonzero(of_class_N & (labelled.groups_N == group))
                rows = rng.permutation(rows)[: FRAMES_PER_CLASS - count]
                used.add(group)
                train += rows.tolist()
                count += len(rows)
    return np.array(train), np.flatnonzero(~np.isin(labelled.groups_N, list(used)))
