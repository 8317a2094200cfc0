"""Records of ids that were stored as they were given, and of their renaming."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

IdKind: TypeAlias = Literal["subject", "study"]


@dataclass(frozen=True, slots=True)
class RenamedIds:
    """What has another id now.

    Attributes:
        examples: that were uploaded for classifiers.
        left: scans that keep their id, because the collection has their image under the new one.
    """

    ids: int = 0
    scans: int = 0
    examples: int = 0
    left: int = 0

    def __add__(self, other: "RenamedIds") -> "RenamedIds":
        return RenamedIds(
            self.ids + other.ids,
            self.scans + other.scans,
            self.examples + other.examples,
            self.left + other.left,
        )
