"""Scans without a label: to label next, that would teach nothing new, or that a fit may use.

Shape suffixes: U unlabelled scans, M labelled scans and examples of a fit, D embedding width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.arrays import Bools, Floats, Ints
from service.catalog.filter_records import ScanFilter
from service.catalog.interface import Catalog
from service.catalog.records import ClassifierVersion, Scan
from service.classifiers.examples import Examples, group_of, joined_by_study, subject_in
from service.classifiers.fitting import UnlabelledPool, UnlabelledSelection, names_patients
from service.classifiers.refusals import IDENTICAL, Learnt, copy_reasons
from service.classifiers.sources import Sources
from service.fewshot.duplicates import similarity_of_copies
from service.fewshot.label_quality import MAX_POOL, farthest_rows

BLANK = "blank"  # a finding of the frame analysis; such frames are the farthest from all others


@dataclass(frozen=True, slots=True)
class Pool:
    """Unlabelled scans of a collection, without those that would teach nothing new.

    Attributes:
        unlabelled: scans of the collection that lack a label.
        left_out: copies of what is labelled or learnt, and blank frames.
    """

    scans: tuple[Scan, ...]
    embeddings_UD: Floats
    groups: tuple[str, ...]
    unlabelled: int
    left_out: int
    labelled: Examples

    def take(self, keep_U: Bools) -> "Pool":
        """Some of the scans; the others are left out."""
        rows = np.flatnonzero(keep_U)
        return Pool(
            tuple(self.scans[row] for row in rows.tolist()),
            self.embeddings_UD[rows],
            tuple(self.groups[row] for row in rows.tolist()),
            self.unlabelled,
            self.left_out + len(self.scans) - len(rows),
            self.labelled,
        )


@dataclass(frozen=True, slots=True)
class NextScans:
    """Scans to label, the most useful first. ``unlabelled``, ``left_out``: as ``Pool``."""

    scans: tuple[Scan, ...]
    unlabelled: int
    left_out: int


def next_scans(
    catalog: Catalog,
    sources: Sources,
    workspace_id: str,
    collection: str,
    tasks: Sequence[str],
    limit: int,
) -> NextScans:
    """Scans to label where no classifier exists: as different as possible, new patients first.

    Raises:
        UnknownItem: no such collection.
        EncoderMismatch: it holds embeddings of another encoder.
    """
    pool = pool_of(catalog, sources, workspace_id, collection, tasks)
    cosine = sources.near_duplicate_cosine
    pool = pool.take(is_new(pool, pool.labelled, frozenset(), frozenset(), cosine))
    rows = farthest_rows(
        pool.embeddings_UD,
        pool.groups,
        limit,
        known_MD=pool.labelled.embeddings_ND,
        known_groups=pool.labelled.groups,
    )
    return NextScans(tuple(pool.scans[row] for row in rows), pool.unlabelled, pool.left_out)


def pool_of(
    catalog: Catalog, sources: Sources, workspace_id: str, collection: str, tasks: Sequence[str]
) -> Pool:
    """The scans that lack a label for a task, at most a drawn 20,000, without blank frames.

    Raises:
        UnknownItem: no such collection.
        EncoderMismatch: it holds embeddings of another encoder.
    """
    sources.check_collection(workspace_id, collection)
    without = tuple(ScanFilter(label_presence={task: False}) for task in tasks)
    row_ids_U = catalog.row_ids_where(workspace_id, collection, ScanFilter(any_of=without))
    labelled = _labelled(catalog, sources, workspace_id, collection, tasks)
    scans, embeddings_UD = drawn_scans(catalog, workspace_id, collection, row_ids_U)
    known = labelled.ids()
    ids = sources.ids_of(workspace_id, [(scan.subject_id, scan.study_id) for scan in scans])
    pool = Pool(
        tuple(scans),
        embeddings_UD,
        tuple(sources.groups_of(workspace_id, scans, known)),
        len(row_ids_U),
        0,
        replace(labelled, groups=joined_by_study(labelled.groups, known, ids)),
    )
    return pool.take(np.array([not _is_blank(scan) for scan in scans], np.bool_))


def _labelled(
    catalog: Catalog, sources: Sources, workspace_id: str, collection: str, tasks: Sequence[str]
) -> Examples:
    """The scans that have all labels, at most a drawn 20,000."""
    where = ScanFilter(label_presence=dict.fromkeys(tasks, True))
    row_ids_M = catalog.row_ids_where(workspace_id, collection, where)
    scans, embeddings_MD = drawn_scans(catalog, workspace_id, collection, row_ids_M)
    ids = sources.ids_of(workspace_id, [(scan.subject_id, scan.study_id) for scan in scans])
    return Examples(
        embeddings_MD,
        [str(sorted((task, scan.labels.get(task)) for task in tasks)) for scan in scans],
        [group_of(*i, scan.image.sha256) for i, scan in zip(ids, scans, strict=True)],
        [scan.image.sha256 for scan in scans],
        [(collection, scan.scan_id) for scan in scans],
        [subject_id for subject_id, _ in ids],
        [study_id for _, study_id in ids],
        [None] * len(scans),
        [None] * len(scans),
        [None] * len(scans),
    )


def drawn_scans(
    catalog: Catalog, workspace_id: str, collection: str, row_ids: Ints
) -> tuple[list[Scan], Floats]:
    """The scans and their (N, D) embeddings; of more than 20,000 a drawn part, always the same.

    Scans that were deleted since their row ids were read are left out.
    """
    if len(row_ids) > MAX_POOL:
        row_ids = np.sort(np.random.default_rng(0).permutation(row_ids)[:MAX_POOL])
    drawn, embeddings_ND = catalog.row_vectors(workspace_id, collection, row_ids.tolist())
    by_row = catalog.get_scans_by_row(workspace_id, collection, drawn.tolist())
    rows = [row for row, row_id in enumerate(drawn.tolist()) if row_id in by_row]
    return [by_row[int(drawn[row])] for row in rows], embeddings_ND[rows]


def _is_blank(scan: Scan) -> bool:
    quality = scan.image.analysis.get("quality", ())
    return any(isinstance(f, Mapping) and f.get("reason") == BLANK for f in quality)


def is_new(
    pool: Pool,
    known: Examples,
    scans: frozenset[tuple[str, str] | None],
    sha256s: frozenset[str | None],
    near_duplicate_cosine: float,
) -> Bools:
    """(U,) which scans are no copies of what is labelled or learnt.

    Args:
        known: with embeddings. A frame that is similar to one of another known patient is new.
        scans, sha256s: further ones that are known, by id and by file.
        near_duplicate_cosine: of the encoder of all embeddings.
    """
    similarity = IDENTICAL
    if len(set(known.labels)) > 1:  # how similar frames of other classes are tells what a copy is
        similarity = similarity_of_copies(
            known.embeddings_ND, known.labels, min_similarity=near_duplicate_cosine
        )
    learnt = Learnt((), known.embeddings_ND, known.subject_ids, similarity)
    subject_ids = [subject_in(group) for group in pool.groups]
    copies = copy_reasons(pool.embeddings_UD, subject_ids, learnt)
    files = sha256s | frozenset(known.sha256s)
    return np.array(
        [
            copy is None
            and (scan.collection, scan.scan_id) not in scans
            and scan.image.sha256 not in files - {None}
            for scan, copy in zip(pool.scans, copies, strict=True)
        ],
        np.bool_,
    )


# for a fit ------------------------------------------------------------------------------------


def selected_pool(
    catalog: Catalog,
    sources: Sources,
    workspace_id: str,
    selection: UnlabelledSelection,
) -> UnlabelledPool | None:
    """The scans of a selection, at most a drawn 20,000, without blank frames; None = none wanted.

    A filter that names patients is not stored, because erasing a subject could not reach it.

    Raises:
        UnknownItem: no such collection.
        EncoderMismatch: it holds embeddings of another encoder.
    """
    collection = selection.collection
    if collection is None:
        return None
    sources.check_collection(workspace_id, collection)
    row_ids_U = catalog.row_ids_where(workspace_id, collection, selection.where)
    drawn, embeddings_UD = drawn_scans(catalog, workspace_id, collection, row_ids_U)
    rows = [row for row, scan in enumerate(drawn) if not _is_blank(scan)]
    scans = [drawn[row] for row in rows]
    is_kept = not names_patients(selection.where)
    return UnlabelledPool(
        embeddings_UD[rows],
        sources.groups_of(workspace_id, scans),
        sources.ids_of(workspace_id, [(s.subject_id, s.study_id) for s in scans]),
        [(collection, s.scan_id) for s in scans],
        [s.image.sha256 for s in scans],
        [None] * len(scans),
        {"collection": collection, "filter": dict(selection.filter) if is_kept else None},
    )


def kept_pool(
    catalog: Catalog,
    sources: Sources,
    workspace_id: str,
    name: str,
    version: ClassifierVersion,
    dim: int,
) -> tuple[UnlabelledPool | None, int]:
    """The unlabelled scans of a version that still exist, and how many do not.

    Raises:
        EncoderMismatch: they have embeddings of another encoder than the loaded one.
    """
    settings = version.settings.get("unlabelled")
    if settings is None:
        return None, 0
    stored, embeddings_UD = catalog.version_unlabelled(workspace_id, name, version.number, dim=dim)
    sources.require_loaded(workspace_id, stored)
    kept = [
        scan
        for scan in sources.under_stored_ids(workspace_id, stored)
        if scan.is_kept and scan.scan is not None
    ]
    pool = UnlabelledPool(
        embeddings_UD,
        [group_of(s.subject_id, s.study_id, s.sha256 or s.example_id) for s in kept],
        [(s.subject_id, s.study_id) for s in kept],
        [s.scan for s in kept if s.scan is not None],
        [s.sha256 for s in kept],
        [s.example_id for s in kept],
        settings,
    )
    return pool, len(stored) - len(kept)
