"""The records of filters over scans, and of the counts of what passes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.catalog.records import Scalar


@dataclass(frozen=True, slots=True)
class Range:
    """Values between two bounds; None = open on that side.

    The bounds are all numbers, or all text (in code point order).
    """

    least: str | int | float | None = None
    most: str | int | float | None = None
    above: str | int | float | None = None  # greater, not equal
    below: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class ScanFilter:
    """Conditions that must all hold. One value of a tuple must match; empty = no condition.

    Attributes:
        label_presence, attribute_presence: whether a scan has the name at all, null included.
        has_subject, has_study: whether the scan has one.
        created, updated: UTC times in the catalog's format.
        all_of, any_of: filters that must all pass, or at least one of them.
        none_of: filters that must all fail.
    """

    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    subject_ids: tuple[str, ...] = ()
    study_ids: tuple[str, ...] = ()
    not_subject_ids: tuple[str, ...] = ()
    not_study_ids: tuple[str, ...] = ()
    label_presence: Mapping[str, bool] = field(default_factory=dict)
    attribute_presence: Mapping[str, bool] = field(default_factory=dict)
    attribute_ranges: Mapping[str, Range] = field(default_factory=dict)
    has_subject: bool | None = None
    has_study: bool | None = None
    created: Range = field(default_factory=Range)
    updated: Range = field(default_factory=Range)
    all_of: "tuple[ScanFilter, ...]" = ()
    any_of: "tuple[ScanFilter, ...]" = ()
    none_of: "tuple[ScanFilter, ...]" = ()

    @property
    def is_empty(self) -> bool:
        """Whether every scan passes."""
        return self == ScanFilter()


@dataclass(frozen=True, slots=True)
class Facet:
    """How often each value of one label or attribute occurs, commonest first.

    Attributes:
        others: scans with a value beyond the limit.
        missing: scans that pass the filter and lack the name.
    """

    values: tuple[tuple[Scalar, int], ...]
    others: int
    missing: int


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts over the scans that pass one filter."""

    scans: int
    subjects: int
    studies: int
    labels: Mapping[str, Facet]
    attributes: Mapping[str, Facet]
