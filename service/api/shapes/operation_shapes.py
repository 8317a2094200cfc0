"""Answers of operations, and of erasures that may begin one."""

from collections.abc import Sequence
from typing import Literal, Self, TypeAlias

from pydantic import Field

from service.api.problems import STATUS, internal_error
from service.api.shapes.base import Answer, PageAnswer, Problem
from service.gallery.gallery_records import ErasedSubject
from service.jobs.operations import Operation

COPIES_HELP = (
    "Scans that stay although they have the same file or pixels, at most 100: they are of another "
    "subject, or of none."
)
KNOWN_HELP = (
    "Whether the erasure is written beside the backups; false: it will be as soon as the folder "
    "can be written; null: the service makes no backups."
)
# Of classes with one code the base class: those under it take more than a text.
_ERRORS = {kind.code: kind for kind in sorted(STATUS, key=lambda kind: -len(kind.__mro__))}


class ProgressAnswer(Answer):
    """Progress in units of the operation; ``total`` is 0 until it is known."""

    done: int
    total: int


class FitResult(Answer):
    """The classifier that was fitted."""

    classifier: str
    location: str = Field(examples=["/v1/classifiers/finding"])


class RefittedClassifier(Answer):
    """The new version of a classifier (null when nothing of it was erased), or its error."""

    name: str
    version: int | None = None
    code: str | None = None
    detail: str | None = None


class RefitResult(Answer):
    """One item per classifier that was fitted from what was erased."""

    classifiers: list[RefittedClassifier]


class ReembedResult(Answer):
    """The collection now belongs to the loaded encoder."""

    collection: str
    encoder_id: str
    scans: int


class LayoutResult(Answer):
    """How many scans have a place on the map, and how many of its neighbours each keeps there."""

    collection: str
    placed: int
    kept: float = Field(description="Mean share of the 10 nearest neighbours.")


class PseudonymizeResult(Answer):
    """How many ids became pseudonyms, and of how many scans and uploaded examples they were."""

    ids: int
    scans: int
    examples: int
    left: int = Field(
        description="Scans that keep their id, because their collection has the same image under "
        "the pseudonym."
    )


class BackupResult(Answer):
    """The folder of the backup."""

    backup: str


class ExportResult(Answer):
    """The export; ``scans`` is missing if an earlier attempt wrote it."""

    export: str
    scans: int | None = None


class ImportResult(Answer):
    """How many scans were stored, and how many were already known."""

    collection: str
    stored: int
    known: int
    ignored: int | None = Field(
        None, description="Known scans that have other labels or ids in the export, which stay."
    )
    erased: int | None = Field(
        None, description="Scans left out, because their subject or study was erased since."
    )
    refused: int | None = Field(
        None, description="Scans that the policy of the workspace left out."
    )


class WorkspaceDeletionResult(Answer):
    """The receipt: what was in the workspace when its deletion was asked for, and is gone."""

    workspace: str = Field(description="Its name, which is free again.")
    workspace_id: str
    collections: int
    scans: int
    classifiers: int
    keys: int
    operations: int
    backups_know: bool | None = Field(description=KNOWN_HELP)


OperationResult: TypeAlias = (
    FitResult
    | RefitResult
    | ReembedResult
    | LayoutResult
    | PseudonymizeResult
    | BackupResult
    | ExportResult
    | ImportResult
    | WorkspaceDeletionResult
)


class OperationAnswer(Answer):
    """A long-running task."""

    operation_id: str = Field(examples=["op_5f2b1c0d9e8a7463aa01"])
    kind: Literal[
        "fit",
        "refit",
        "reembed",
        "export",
        "import",
        "layout",
        "pseudonymize",
        "backup",
        "delete_workspace",
    ]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    progress: ProgressAnswer
    cancel_asked: bool
    result: OperationResult | None
    problem: Problem | None
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, operation: Operation) -> Self:
        """The answer for an operation, without its request."""
        progress = ProgressAnswer(done=operation.done, total=operation.total)
        return cls.of_record(operation, progress=progress, problem=_problem(operation))


def _problem(operation: Operation) -> Problem | None:
    """The problem document, with the id of the operation as ``request_id``."""
    if operation.problem is None:
        return None
    error = _ERRORS.get(operation.problem["code"])
    if error is None:
        return Problem(**internal_error(operation.operation_id))
    return Problem.of(error(operation.problem["detail"]), operation.operation_id)


class OperationPage(PageAnswer):
    """Operations, newest first."""

    items: list[OperationAnswer]


class ErasedScan(Answer):
    """A scan of a receipt."""

    collection: str
    scan_id: str


class ErasureAnswer(Answer):
    """What was erased, and which classifiers were fitted from it."""

    scans: list[ErasedScan]
    classifiers: list[str] = Field(description="Classifiers fitted from them; they stay.")
    uploads: int = Field(description="Erased examples that were never stored as scans.")
    copies: list[ErasedScan] = Field(description=COPIES_HELP)
    backups_know: bool | None = Field(description=KNOWN_HELP)
    operation: OperationAnswer | None = Field(None, description="The refit, if requested.")

    @classmethod
    def of(cls, receipt: ErasedSubject) -> Self:
        """The receipt, before any refit."""
        return cls.of_record(
            receipt, scans=erased_scans(receipt.scans), copies=erased_scans(receipt.copies)
        )


def erased_scans(pairs: Sequence[tuple[str, str]]) -> list[ErasedScan]:
    """The answers for pairs of collection and scan id."""
    return [ErasedScan(collection=name, scan_id=scan_id) for name, scan_id in pairs]
