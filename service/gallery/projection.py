"""A collection as a map: its embeddings on the plane in which they differ most.

Principal components answer at once and say how much of the differences they show. The plane is
found from a drawn sample, so that a collection of any size costs the same.

Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.filter_records import ScanFilter
from service.catalog.interface import Catalog
from service.errors import UnknownItem

Doubles: TypeAlias = npt.NDArray[np.float64]
MAX_SCANS = 5_000_000  # of which a part is drawn; beyond, the columns alone take gigabytes
FITTED = 8_192  # embeddings from which the plane is found
AT_ONCE = 4_096  # embeddings in memory
ATTEMPTS = 3  # while scans are being deleted


@dataclass(frozen=True, slots=True)
class CollectionMap:
    """Scans on a plane.

    Attributes:
        points_N2: coordinates along the first two principal components.
        explained: share of the variance along each of them.
        total: scans that pass the filter; fewer are on the map if it is larger than the limit.
    """

    scan_ids: list[str]
    subject_ids: list[str | None]
    labels: list[Mapping[str, str]]
    points_N2: npt.NDArray[np.float32]
    explained: tuple[float, float]
    total: int


def project(
    catalog: Catalog, workspace_id: str, collection: str, *, where: ScanFilter, limit: int
) -> CollectionMap:
    """Up to ``limit`` scans that pass on a plane; the same ones each time. Blocks for seconds.

    Raises:
        UnknownItem: no such collection.
        TooManyItems: more than ``MAX_SCANS`` pass.
    """
    for _ in range(ATTEMPTS - 1):
        # A scan that is deleted between the reads would make the whole collection unknown.
        with suppress(UnknownItem):
            return _projected(catalog, workspace_id, collection, where, limit)
    return _projected(catalog, workspace_id, collection, where, limit)


def _projected(
    catalog: Catalog, workspace_id: str, collection: str, where: ScanFilter, limit: int
) -> CollectionMap:
    columns = catalog.labelled(workspace_id, collection, where=where, most=MAX_SCANS, vectors=False)
    total = len(columns.scan_ids)
    rng = np.random.default_rng(0)
    drawn = np.sort(rng.permutation(total)[:limit])
    ids = [columns.scan_ids[index] for index in drawn]
    order = rng.permutation(len(ids))  # the sample of the plane is no run of one upload
    points_N2 = np.zeros((len(ids), 2), np.float32)
    explained = (0.0, 0.0)
    plane: tuple[Doubles, Doubles] | None = None
    for rows in _chunks(order):
        embeddings_ND = catalog.embeddings(workspace_id, collection, [ids[row] for row in rows])
        if plane is None:
            mean_D, axes_2D, explained = principal_plane(embeddings_ND)
            plane = mean_D, axes_2D
        mean_D, axes_2D = plane
        points_N2[rows] = (embeddings_ND - mean_D) @ axes_2D.T
    return CollectionMap(
        scan_ids=ids,
        subject_ids=[columns.subject_ids[index] for index in drawn],
        labels=[columns.labels[index] for index in drawn],
        points_N2=points_N2,
        explained=explained,
        total=total,
    )


def principal_plane(
    embeddings_ND: npt.NDArray[np.float32],
) -> tuple[Doubles, Doubles, tuple[float, float]]:
    """(mean_D, axes_2D, share of the variance along each axis) of embeddings, at least one.

    An axis points to where its largest entry is positive, so that the map is not mirrored by
    chance.
    """
    mean_D = embeddings_ND.mean(axis=0, dtype=np.float64)
    centred_ND = embeddings_ND - mean_D
    values, vectors_DD = np.linalg.eigh(centred_ND.T @ centred_ND)
    axes_2D = vectors_DD[:, -1:-3:-1].T
    largest = np.abs(axes_2D).argmax(axis=1)
    axes_2D = axes_2D * np.sign(axes_2D[np.arange(len(axes_2D)), largest])[:, None]
    variance = max(float(values.sum()), np.finfo(np.float64).tiny)
    first, second = (max(float(value), 0.0) / variance for value in values[-1:-3:-1])
    return mean_D, axes_2D, (first, second)


def _chunks(order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """The first part is that from which the plane is found."""
    ends = range(FITTED, max(len(order), FITTED + 1), AT_ONCE)
    return [part for part in np.split(order, list(ends)) if len(part) > 0]
