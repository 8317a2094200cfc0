"""Labelled sets that encoders are evaluated on: manifest rows -> labels, groups and frames.

Shape suffixes: N frames, H height, W width.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import InputError
from training.catalogue.contents import content_of
from training.catalogue.manifest import ManifestRow, load_frames
from training.evaluation.protocol import LabelledSet

Frames: TypeAlias = Sequence[npt.NDArray[np.uint8]]
MIN_GROUPS = 4  # per class that thinning leaves, where there are so many


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """A labelled set with the rows its frames come from.

    Attributes:
        in_domain: frames of the same published set were trained on, without their labels.
    """

    labelled: LabelledSet
    rows: tuple[ManifestRow, ...]
    in_domain: bool = False

    @property
    def name(self) -> str:
        """Of the published set."""
        return self.labelled.name

    def frames(self) -> Frames:
        """Decoded as the service decodes them, uint8 (H, W) each."""
        return load_frames(self.rows)


def read_sets(rows: Iterable[ManifestRow], names: Sequence[str] = ()) -> list[EvaluationSet]:
    """The bench sets of a manifest, by name; all of them when no name is given.

    Rows whose near-duplicates carry other labels are left out. Where the corpus holds labelled
    frames of the same set (POCOVID), those are its support and the set is in-domain.

    Raises:
        InputError: no such set, or one with fewer than two classes.
    """
    usable = [row for row in rows if row.label and not row.label_conflict]
    bench = [row for row in usable if row.use == "bench"]
    known = {row.dataset for row in bench}
    missing = sorted(set(names) - known)
    if missing:
        raise InputError(f"expected labelled bench sets among {sorted(known)}, got {missing}")
    chosen = list(dict.fromkeys(names)) or sorted(known)
    return [_set(name, bench, usable) for name in chosen]


def read_thinned_sets(
    rows: Iterable[ManifestRow], names: Sequence[str] = ()
) -> list[EvaluationSet]:
    """As ``read_sets``, and of a set that is named ``set:frames`` about so many frames.

    Raises:
        InputError: as ``read_sets``.
    """
    wanted = dict(name.partition(":")[::2] for name in names)
    return [
        subsample(full, int(wanted[full.name])) if wanted.get(full.name, "").isdecimal() else full
        for full in read_sets(list(rows), list(wanted))
    ]


def _set(name: str, bench: Sequence[ManifestRow], usable: Sequence[ManifestRow]) -> EvaluationSet:
    test = [row for row in bench if row.dataset == name]
    labels = {row.label for row in test}
    support = [
        row for row in usable if row.use == "corpus" and row.dataset == name and row.label in labels
    ]
    return assemble(name, support, test, in_domain=bool(support))


def assemble(
    name: str,
    support: Sequence[ManifestRow],
    test: Sequence[ManifestRow],
    *,
    in_domain: bool = False,
) -> EvaluationSet:
    """A set of support rows, which are never tested, and test rows.

    With no ``support`` every row may be either, and splits are drawn.

    Raises:
        InputError: fewer than two classes, a class of one group with no support of its own, or
            a group on both sides.
    """
    rows = (*support, *test)
    classes = {row.label for row in test}
    if len(classes) < 2:
        raise InputError(f"{name}: expected at least 2 classes, got {len(classes)}")
    if not support:
        fewest = min(len({r.group for r in test if r.label == label}) for label in classes)
        if fewest < 2:
            raise InputError(f"{name}: expected at least 2 groups of every class, got {fewest}")
    shared = {row.group for row in support} & {row.group for row in test}
    if shared:
        raise InputError(f"{name}: {len(shared)} groups are in the support and in the test part")
    labelled = LabelledSet(
        name=name,
        labels_N=np.array([row.label for row in rows]),
        groups_N=np.array([row.group for row in rows]),
        support_N=np.arange(len(rows)) < len(support),
    )
    return EvaluationSet(labelled, rows, in_domain)


def subsample(full: EvaluationSet, frames: int, *, seed: int = 0) -> EvaluationSet:
    """About ``frames`` frames of the set: the same share of the groups of every class."""
    share = frames / len(full.rows)
    if share >= 1:
        return full
    rng = np.random.default_rng(seed)
    labelled = full.labelled
    groups_kept: set[str] = set()
    for name in labelled.classes:
        for part_N in (labelled.support_N, ~labelled.support_N):
            of_class_N = part_N & (labelled.labels_N == name)
            groups = np.unique(labelled.groups_N[of_class_N])
            count = max(MIN_GROUPS, round(share * len(groups)))
            groups_kept |= set(rng.permutation(groups)[:count].tolist())
    rows = np.flatnonzero(np.isin(labelled.groups_N, list(groups_kept)))
    part = LabelledSet(
        full.name, labelled.labels_N[rows], labelled.groups_N[rows], labelled.support_N[rows]
    )
    return replace(full, labelled=part, rows=tuple(full.rows[row] for row in rows))


def read_subsampled_sets(
    rows: Sequence[ManifestRow], names: Sequence[str], frames: int
) -> list[EvaluationSet]:
    """The named bench sets (all, when none is) that are of no corpus, about ``frames`` of each.

    Raises:
        InputError: as ``read_sets``.
    """
    return [subsample(full, frames) for full in read_sets(rows, names) if not full.in_domain]


def facts_of(sets: Iterable[EvaluationSet]) -> str:
    """Digest of all that splits and scores depend on but the encoder: 24 hex digits.

    Of each set its name, files, labels, groups and support.

    Raises:
        InputError: a file cannot be read; it is named.
    """
    digest = hashlib.sha256()
    for one in sets:
        labelled = one.labelled
        columns = (labelled.labels_N, labelled.groups_N, labelled.support_N)
        facts = [one.name, content_of(one.rows), *(column.tolist() for column in columns)]
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()[:24]
