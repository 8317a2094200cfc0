"""A collection as a map: its scans on a plane, and what colours them.

Principal components answer at once and say how much of the differences they show. The plane is
found from a drawn sample, so that a collection of any size costs the same. A layout that keeps
neighbours together takes longer: an operation stores it (``lay_out``), and the map reads it.

Shape suffixes: N scans, P axes, D embedding width.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

from service.catalog.filter_records import ScanFilter
from service.catalog.interface import Catalog
from service.catalog.layouts.layout_records import LayoutState as LayoutState
from service.errors import InputError, UnknownItem
from service.gallery.neighbour_layout import (
    NEIGHBOURS,
    STEPS,
    kept_neighbours,
    neighbour_layout,
)
from service.index.nearest_rows import nearest_rows

Doubles: TypeAlias = npt.NDArray[np.float64]
Floats: TypeAlias = npt.NDArray[np.float32]
LayoutName: TypeAlias = Literal["principal", "neighbours"]
MAX_SCANS = 5_000_000  # of which a part is drawn; beyond, the columns alone take gigabytes
MAX_PLACED = 100_000  # of a layout
MIN_PLACED = 3
LAID_OUT_AXES = 50  # principal axes among which neighbours are sought
FITTED = 8_192  # embeddings from which the plane is found
AT_ONCE = 4_096  # embeddings in memory
ATTEMPTS = 3  # while scans are being deleted


@dataclass(frozen=True, slots=True)
class CollectionMap:
    """Scans on a plane.

    Attributes:
        points_N2: coordinates on the plane.
        explained: share of the variance along each principal component; of a layout that keeps
            neighbours None, because its axes mean nothing.
        total: scans that pass the filter; fewer are on the map if it is larger than the limit.
        placed_at: when the layout was stored; None = it was made for this answer.
        kept: mean share of the neighbours of a scan that are its neighbours on the map; None =
            not measured.
        machines: manufacturer and model; None = not asked for, of a scan: unknown.
    """

    scan_ids: list[str]
    subject_ids: list[str | None]
    labels: list[Mapping[str, str]]
    points_N2: Floats
    explained: tuple[float, float] | None
    total: int
    placed_at: str | None = None
    kept: float | None = None
    machines: list[str | None] | None = None


@dataclass(frozen=True, slots=True)
class MapRequest:
    """What is on a map, and how it is laid out."""

    where: ScanFilter
    limit: int
    layout: LayoutName = "principal"
    machines: bool = False


def project(
    catalog: Catalog, workspace_id: str, collection: str, request: MapRequest
) -> CollectionMap:
    """Up to ``limit`` scans that pass on a plane; the same ones each time. Blocks for seconds.

    Raises:
        UnknownItem: no such collection, or no layout that keeps neighbours.
        TooManyItems: more than ``MAX_SCANS`` pass.
    """
    make = _placed if request.layout == "neighbours" else _projected
    for _ in range(ATTEMPTS - 1):
        # A scan that is deleted between the reads would make the whole collection unknown.
        with suppress(UnknownItem):
            return make(catalog, workspace_id, collection, request)
    return make(catalog, workspace_id, collection, request)


def lay_out(
    catalog: Catalog,
    workspace_id: str,
    collection: str,
    encoder_id: str,
    report: Callable[[int, int], None],
) -> tuple[int, float]:
    """Store a layout that keeps neighbours; how many scans have a place, and ``kept`` of the map.

    Of a collection with more than ``MAX_PLACED`` scans a drawn part gets a place. Blocks for
    minutes.

    Args:
        report: called with what is done and how much there is to do.

    Raises:
        UnknownItem: no such collection. Conflict: it changed its encoder meanwhile.
        InputError: fewer than ``MIN_PLACED`` scans.
    """
    columns = catalog.labelled(
        workspace_id, collection, where=ScanFilter(), most=MAX_SCANS, vectors=False
    )
    drawn = _drawn(len(columns.scan_ids), MAX_PLACED)
    ids = [columns.scan_ids[index] for index in drawn]
    if len(ids) < MIN_PLACED:
        raise InputError(f"expected at least {MIN_PLACED} scans to lay out, got {len(ids)}")
    total = 2 * len(ids) + STEPS
    rows_NP, _ = _principal_rows(catalog, workspace_id, collection, ids, LAID_OUT_AXES)
    report(len(ids), total)
    # Of few scans ten neighbours would be half of them, and no map would keep groups apart.
    k = min(NEIGHBOURS, max(len(ids) // 6, 2))
    nearest_NK = nearest_rows(rows_NP, k, lambda done: report(len(ids) + done, total))
    start_N2 = np.ascontiguousarray(rows_NP[:, :2])
    done = 2 * len(ids)
    points_N2 = neighbour_layout(
        rows_NP, nearest_NK, start_N2, lambda step: report(done + step, total)
    )
    kept_N = kept_neighbours(points_N2, nearest_NK)
    placed = catalog.store_layout(workspace_id, collection, encoder_id, ids, points_N2, kept_N)
    return placed, float(kept_N.mean())


def _projected(
    catalog: Catalog, workspace_id: str, collection: str, request: MapRequest
) -> CollectionMap:
    columns = catalog.labelled(
        workspace_id, collection, where=request.where, most=MAX_SCANS, vectors=False
    )
    drawn = _drawn(len(columns.scan_ids), request.limit)
    ids = [columns.scan_ids[index] for index in drawn]
    points_N2, explained = _principal_rows(catalog, workspace_id, collection, ids, 2)
    return CollectionMap(
        scan_ids=ids,
        subject_ids=[columns.subject_ids[index] for index in drawn],
        labels=[columns.labels[index] for index in drawn],
        points_N2=points_N2,
        explained=(explained[0], explained[1]),
        total=len(columns.scan_ids),
        machines=_machines(catalog, workspace_id, collection, ids, request),
    )


def _placed(
    catalog: Catalog, workspace_id: str, collection: str, request: MapRequest
) -> CollectionMap:
    layout = catalog.get_layout(workspace_id, collection)
    columns = catalog.labelled(
        workspace_id, collection, where=request.where, most=MAX_SCANS, vectors=False
    )
    rows = {scan_id: row for row, scan_id in enumerate(layout.scan_ids)}
    with_place = [index for index, one in enumerate(columns.scan_ids) if one in rows]
    drawn = [with_place[index] for index in _drawn(len(with_place), request.limit)]
    ids = [columns.scan_ids[index] for index in drawn]
    places = [rows[scan_id] for scan_id in ids]
    return CollectionMap(
        scan_ids=ids,
        subject_ids=[columns.subject_ids[index] for index in drawn],
        labels=[columns.labels[index] for index in drawn],
        points_N2=layout.points_N2[places],
        explained=None,
        total=len(columns.scan_ids),
        placed_at=layout.placed_at,
        kept=float(layout.kept_N[places].mean()) if places else None,
        machines=_machines(catalog, workspace_id, collection, ids, request),
    )


def _machines(
    catalog: Catalog, workspace_id: str, collection: str, ids: Sequence[str], request: MapRequest
) -> list[str | None] | None:
    if not request.machines:
        return None
    named = catalog.machines(workspace_id, collection)
    return [named.get(scan_id) for scan_id in ids]


def _drawn(total: int, limit: int) -> npt.NDArray[np.int64]:
    return np.sort(np.random.default_rng(0).permutation(total)[:limit])


def _principal_rows(
    catalog: Catalog, workspace_id: str, collection: str, ids: Sequence[str], axes: int
) -> tuple[Floats, list[float]]:
    """(N, P) coordinates along the first principal axes, and the share of each axis."""
    rng = np.random.default_rng(1)
    order = rng.permutation(len(ids))  # the sample of the axes is no run of one upload
    rows_NP = np.zeros((len(ids), axes), np.float32)
    shares = [0.0] * axes
    found: tuple[Doubles, Doubles] | None = None
    for rows in _chunks(order):
        embeddings_ND = catalog.embeddings(workspace_id, collection, [ids[row] for row in rows])
        if found is None:
            mean_D, axes_PD, shares = principal_axes(embeddings_ND, axes)
            found = mean_D, axes_PD
        mean_D, axes_PD = found
        rows_NP[rows, : len(axes_PD)] = (embeddings_ND - mean_D) @ axes_PD.T
    return rows_NP, shares


def principal_axes(
    embeddings_ND: npt.NDArray[np.float32], count: int
) -> tuple[Doubles, Doubles, list[float]]:
    """(mean_D, axes_PD, share of the variance along each axis) of embeddings, at least one.

    An axis points to where its largest entry is positive, so that the map is not mirrored by
    chance. There are at most D axes.
    """
    mean_D = embeddings_ND.mean(axis=0, dtype=np.float64)
    centred_ND = embeddings_ND - mean_D
    width = embeddings_ND.shape[1]
    wanted = (max(width - count, 0), width - 1)
    # On one thread: those of a matrix product wait for each other while requests compute.
    with threadpool_limits(1):
        scatter_DD = centred_ND.T @ centred_ND
        values, vectors_DP = eigh(scatter_DD, subset_by_index=wanted)
    axes_PD = vectors_DP[:, ::-1].T
    largest = np.abs(axes_PD).argmax(axis=1)
    axes_PD = axes_PD * np.sign(axes_PD[np.arange(len(axes_PD)), largest])[:, None]
    variance = max(float(np.trace(scatter_DD)), np.finfo(np.float64).tiny)
    shares = [max(float(value), 0.0) / variance for value in values[::-1]]
    return mean_D, axes_PD, shares


def _chunks(order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """The first part is that from which the plane is found."""
    ends = range(FITTED, max(len(order), FITTED + 1), AT_ONCE)
    return [part for part in np.split(order, list(ends)) if len(part) > 0]
