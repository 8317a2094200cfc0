"""Split a manifest by group: no patient is in two splits."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from service.errors import InputError, NotEnoughExamples
from training.catalogue.manifest import ManifestRow


def split_by_group(
    rows: Sequence[ManifestRow], shares: Mapping[str, float], seed: int
) -> list[ManifestRow]:
    """Give each row a split; groups stay whole, classes keep their shares as far as they can.

    Groups are taken from large to small, equals in an order drawn from the seed; each goes to
    the split that misses most of the frames it brings, counted per class.

    Args:
        rows: of any sets; a class is a label of one set.
        shares: of the frames, by name of the split; they sum to 1.

    Raises:
        InputError: shares that are not positive or do not sum to 1.
        NotEnoughExamples: fewer groups than splits.
    """
    if min(shares.values(), default=0) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"expected positive shares that sum to 1, got {dict(shares)}")
    classes: dict[str, Counter[tuple[str, str]]] = {}
    for row in rows:
        classes.setdefault(row.group, Counter())[row.dataset, row.label] += 1
    if len(classes) < len(shares):
        raise NotEnoughExamples(f"expected at least {len(shares)} groups, got {len(classes)}")
    splits = _assign(classes, shares, seed)
    return [dataclasses.replace(row, split=splits[row.group]) for row in rows]


def _assign(
    classes: Mapping[str, Counter[tuple[str, str]]], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    totals: Counter[tuple[str, str]] = Counter()
    for counts in classes.values():
        totals.update(counts)
    missing = {
        name: {kind: share * total for kind, total in totals.items()}
        for name, share in shares.items()
    }
    names = sorted(classes)
    np.random.default_rng(seed).shuffle(names)
    splits: dict[str, str] = {}
    for group in sorted(names, key=lambda name: -classes[name].total()):
        counts = classes[group]
        split = max(shares, key=lambda name: _need(missing[name], counts, totals))
        splits[group] = split
        for kind, number in counts.items():
            missing[split][kind] -= number
    return splits


def _need(
    missing: Mapping[tuple[str, str], float],
    counts: Counter[tuple[str, str]],
    totals: Counter[tuple[str, str]],
) -> float:
    """How much a split misses of what a group brings; rare classes count as much as common."""
    return sum(missing[kind] / totals[kind] * number for kind, number in counts.items())
