"""Records of what many scans have in common: counts by label and attribute, renamed labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None


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


@dataclass(frozen=True, slots=True)
class RenamedLabel:
    """How many scans were renamed, and how many had the new label before."""

    renamed: int
    merged_into: int
