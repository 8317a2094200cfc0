"""Records of what a workspace may store, and of how much it stores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class StoredUsage:
    """How much a workspace stores.

    Attributes:
        stored_bytes: of vectors, thumbnails and kept images of all scans; what the database needs
            around them, and the examples of classifiers, are not counted.
    """

    stored_bytes: int = 0
    scans: int = 0
    collections: int = 0
    classifiers: int = 0


# Called in the transaction of a write, with what the workspace stores after it, and what reads how
# much of that a key has stored; its exceptions undo the write.
AdmitUsage: TypeAlias = Callable[[StoredUsage, Callable[[str], StoredUsage]], None]


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """The policy of a workspace as it is stored.

    Attributes:
        version: grows with each change; 0 = there is none.
        document: rules and limits that the administrators of the workspace set.
        granted: limits that the operator of the service set for the workspace.
    """

    version: int = 0
    document: Mapping[str, Any] = field(default_factory=dict)
    granted: Mapping[str, Any] = field(default_factory=dict)
    updated_at: str = ""


@dataclass(frozen=True, slots=True)
class UnfitRules:
    """What stored scans are counted against; each rule alone.

    Attributes:
        pseudonyms: beginnings of ids of subjects and of studies that are pseudonyms; None = any.
        risks: burned-in risks that are refused.
        whole_frames: whether scans whose region nobody looked for are refused.
        images: whether kept images are refused.
    """

    pseudonyms: tuple[str, str] | None = None
    risks: tuple[str, ...] = ()
    whole_frames: bool = False
    images: bool = False
