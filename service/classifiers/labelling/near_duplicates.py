"""Pairs of scans of a collection that nearly repeat each other, whatever their labels.

One picture under two patients is the case that matters most: in an evaluation it stands on both
sides, and an erasure of one patient leaves it. So these pairs come first.

Shape suffixes: N scans, D embedding width, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from service.arrays import Ints
from service.catalog.codec import encode_json
from service.catalog.filter_records import ScanFilter
from service.catalog.interface import Catalog
from service.catalog.records import Scan
from service.classifiers.labelling.unlabelled import drawn_scans
from service.fewshot.duplicates import first_pairs

SamePatient: TypeAlias = Literal["different", "unknown", "same"]
KINDS: tuple[SamePatient, ...] = ("different", "unknown", "same")  # in the order of answers


@dataclass(frozen=True, slots=True)
class PairRequest:
    """Which pairs to list.

    Attributes:
        min_similarity: cosine, above 0 and up to 1; None = that of the encoder.
        patients: only pairs of different patients, of one, or where one has none; None = all.
    """

    limit: int
    min_similarity: float | None = None
    patients: SamePatient | None = None


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two scans that nearly repeat each other; the first one was stored before.

    Attributes:
        similarity: cosine.
        is_same_image: they have the same file, or the same pixels.
        differs: fields with different values, such as ``subject_id`` and ``labels.finding``.
    """

    first: Scan
    second: Scan
    similarity: float
    patients: SamePatient
    is_same_image: bool
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Pairs of different patients first, then by similarity.

    Attributes:
        min_similarity: least cosine of a pair.
        scans: of the collection.
        compared: of these; of more than 20,000 a drawn part.
        total: number of all pairs that pass.
        of_different_patients: of these.
    """

    pairs: tuple[NearDuplicate, ...]
    min_similarity: float
    scans: int
    compared: int
    total: int
    of_different_patients: int


def near_duplicates(
    catalog: Catalog,
    workspace_id: str,
    collection: str,
    request: PairRequest,
    near_duplicate_cosine: float,
) -> NearDuplicates:
    """The pairs of a collection.

    Args:
        near_duplicate_cosine: of its encoder; where the request names no similarity.

    Raises:
        UnknownItem: no such collection.
        InputError: the ``min_similarity`` is not above 0 and up to 1.
    """
    least = near_duplicate_cosine if request.min_similarity is None else request.min_similarity
    row_ids = catalog.row_ids_where(workspace_id, collection, ScanFilter())
    scans, embeddings_ND = drawn_scans(catalog, workspace_id, collection, row_ids)
    subjects_N = _numbers(scans)

    def kinds_of(first_P: Ints, second_P: Ints) -> Ints:
        first, second = subjects_N[first_P], subjects_N[second_P]
        both = np.where(first == second, KINDS.index("same"), KINDS.index("different"))
        kinds_P = np.where((first < 0) | (second < 0), KINDS.index("unknown"), both)
        if request.patients is not None:
            kinds_P = np.where(kinds_P == KINDS.index(request.patients), kinds_P, -1)
        return kinds_P.astype(np.int64)

    pairs, numbers = first_pairs(
        embeddings_ND,
        kinds_of,
        limit=request.limit,
        min_similarity=least,
    )
    kinds_P = kinds_of(pairs.first_P, pairs.second_P)
    columns = zip(pairs.first_P, pairs.second_P, pairs.cosine_P, kinds_P, strict=True)
    return NearDuplicates(
        tuple(_pair(scans[i], scans[j], float(cosine), KINDS[k]) for i, j, cosine, k in columns),
        min_similarity=least,
        scans=len(row_ids),
        compared=len(scans),
        total=sum(numbers.values()),
        of_different_patients=numbers.get(KINDS.index("different"), 0),
    )


def _numbers(scans: Sequence[Scan]) -> Ints:
    """(N,) a number of each patient; -1 where none is named."""
    known: dict[str, int] = {}
    numbers = [
        -1 if scan.subject_id is None else known.setdefault(scan.subject_id, len(known))
        for scan in scans
    ]
    return np.array(numbers, np.int64)


def _pair(first: Scan, second: Scan, similarity: float, patients: SamePatient) -> NearDuplicate:
    is_same_image = (
        first.image.sha256 == second.image.sha256
        or first.image.content_sha256 == second.image.content_sha256
    )
    # In float32 the cosine of two equal rows may be a little more than 1.
    cosine = min(similarity, 1.0)
    return NearDuplicate(first, second, cosine, patients, is_same_image, _differs(first, second))


def _differs(first: Scan, second: Scan) -> tuple[str, ...]:
    fields = [
        name for name in ("subject_id", "study_id") if getattr(first, name) != getattr(second, name)
    ]
    for group in ("labels", "attributes"):
        ours, theirs = getattr(first, group), getattr(second, group)
        fields += [
            f"{group}.{name}"
            for name in sorted({*ours, *theirs})
            # 1 and true are equal in Python, and not in JSON.
            if (name in ours, encode_json(ours.get(name)))
            != (name in theirs, encode_json(theirs.get(name)))
        ]
    return tuple(fields)
