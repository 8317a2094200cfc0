"""Records of erasures and of the deletion by age."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErasedSubject:
    """Receipt of an erasure, with the classifiers that learnt from the erased scans.

    Attributes:
        uploads: number of erased examples that were uploaded to classifiers.
        copies: scans that stay although they have the same file or pixels, at most 100: they are
            under another subject, or under none.
        backups_know: whether the erasure is written beside the backups; None = no such folder.
    """

    scans: tuple[tuple[str, str], ...]  # (collection, scan_id)
    row_ids: tuple[tuple[str, int], ...]  # (collection, row_id)
    classifiers: tuple[str, ...]
    uploads: int = 0
    copies: tuple[tuple[str, str], ...] = ()
    backups_know: bool | None = None


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """How much a sweep of expired scans may delete of a collection on a clock that is not proven.

    Attributes:
        max_share: of its scans.
        min_scans: so many may always go.
        is_confirmed: a person says that the clock is right, so there is no limit.
    """

    max_share: float = 0.2
    min_scans: int = 5
    is_confirmed: bool = False
