"""Real frames for the few-shot report: labels, embeddings, strangers and splits.

Shape suffixes: N frames, D embedding width.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import NotEnoughExamples
from training.catalogue.manifest import read_manifest
from training.evaluation.cache import features
from training.evaluation.encoders import BundleEncoder
from training.evaluation.protocol import LabelledSet, Split, shot_split
from training.evaluation.sets import read_sets, subsample

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Row: TypeAlias = dict[str, object]
Data: TypeAlias = dict[str, tuple[LabelledSet, Doubles]]

FRAMES_PER_CLASS = 20  # of supports made of whole groups


def read(encoder: BundleEncoder, names: list[str], frames: int, cache: Path) -> Data:
    """Labels and embeddings of every set."""
    beside = Path(__file__).parents[2] / "shared"
    shared = Path(os.environ.get("SONOPROBE_SHARED") or beside)
    rows = read_manifest(shared / "data" / "manifest.csv")
    sets = [subsample(chosen, frames) for chosen in read_sets(rows, names)]
    return {s.name: (s.labelled, features(encoder, s.rows, cache).astype(np.float64)) for s in sets}


def pictures(count: int) -> list[npt.NDArray[np.uint8]]:
    """Noise, smooth gradients and pages of text-like blocks, ``count`` of each, 256 px."""
    rng = np.random.default_rng(0)
    side = 256
    across = np.linspace(0, 1, side)
    found = [rng.integers(0, 256, (side, side)) for _ in range(count)]
    for _ in range(count):
        slope, other = rng.normal(size=2)
        plane = slope * across[:, None] + other * across
        found.append(255 * (plane - plane.min()) / np.ptp(plane))
    for _ in range(count):
        page = np.full((side, side), 245)
        for top in range(12, side - 12, 14):
            for left in range(12, int(rng.integers(side // 2, side - 12)), 7):
                page[top : top + int(rng.integers(4, 9)), left : left + int(rng.integers(2, 6))] = (
                    20
                )
        found.append(page)
    return [np.asarray(picture).astype(np.uint8) for picture in found]


def splits(data: Data, shots: int, seeds: int) -> Iterator[tuple[str, Split, LabelledSet, Doubles]]:
    """Every set and seed that has groups enough for so many shots."""
    for name, (labelled, rows_ND) in data.items():
        for seed in range(seeds):
            try:
                yield name, shot_split(labelled, shots, seed), labelled, rows_ND
            except NotEnoughExamples:
                break


def numbers(labelled: LabelledSet) -> Ints:
    """Class number of every frame."""
    return np.searchsorted(labelled.classes, labelled.labels_N)


def balanced(truth_Q: Ints, right_Q: npt.NDArray[np.floating] | npt.NDArray[np.bool_]) -> float:
    """Mean over classes of the mean of each."""
    return float(np.mean([right_Q[truth_Q == c].mean() for c in np.unique(truth_Q)]))


def whole_groups(labelled: LabelledSet, seed: int) -> tuple[Ints, Ints]:
    """Rows of whole groups until each class has 20 frames, as someone uploads cines; the rest."""
    rng = np.random.default_rng(seed)
    taught: set[str] = set()
    train: list[int] = []
    for name in labelled.classes:
        of_class_N = labelled.labels_N == name
        count = 0
        for group in rng.permutation(np.unique(labelled.groups_N[of_class_N])).tolist():
            if count < FRAMES_PER_CLASS and group not in taught:
                rows = np.flatnonzero(of_class_N & (labelled.groups_N == group))
                rows = rng.permutation(rows)[: FRAMES_PER_CLASS - count]
                taught.add(group)
                train += rows.tolist()
                count += len(rows)
    return np.array(train), np.flatnonzero(~np.isin(labelled.groups_N, list(taught)))
