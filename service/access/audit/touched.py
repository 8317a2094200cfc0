"""What a request concerned beyond its address, and how it will end, noted where it is known."""

from collections.abc import Iterable
from contextvars import ContextVar, Token
from typing import Protocol

Names = dict[str, list[str]]


class Notes(Protocol):
    """Where the notes of one request go."""

    names: Names

    def foresee(self, status: int) -> None:
        """See ``will_answer``."""


class OfPatient(Protocol):
    """A scan or an example, as far as it names a patient."""

    @property
    def subject_id(self) -> str | None:
        """Of the patient; None = nobody knows."""

    @property
    def study_id(self) -> str | None:
        """Of the examination; None = nobody knows."""


_notes: ContextVar[Notes | None] = ContextVar("touched", default=None)


def start_noting(notes: Notes) -> Token[Notes | None]:
    """Let the functions here note into ``notes`` in this context and copies of it."""
    return _notes.set(notes)


def stop_noting(token: Token[Notes | None]) -> None:
    """Undo ``start_noting``."""
    _notes.reset(token)


def will_answer(status: int) -> None:
    """Note that a read will be answered with this status, unless something breaks from here on.

    Its entry is on its way to the disk while the answer is made. Raises AuditFailure.
    """
    notes = _notes.get()
    if notes is not None:
        notes.foresee(status)


def touched(kind: str, names: Iterable[str | None]) -> None:
    """Note for the audit log that the request concerns these, such as ``scan`` ids."""
    notes = _notes.get()
    if notes is None:
        return
    # A dictionary: a filter names up to 10,000 subjects.
    new = dict.fromkeys(name for name in names if name is not None)
    if new:
        notes.names[kind] = list(dict.fromkeys(notes.names.get(kind, ())) | new)


def touched_patients(scans: Iterable[OfPatient]) -> None:
    """Note that the request concerns the patients and studies of these scans."""
    found = tuple(scans)
    touched("subject", (scan.subject_id for scan in found))
    touched("study", (scan.study_id for scan in found))
