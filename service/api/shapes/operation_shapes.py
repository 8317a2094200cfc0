"""Answers of operations, and of erasures that may begin one."""

from typing import Literal, TypeAlias

from pydantic import Field

from service.api.problems import STATUS, internal_error
from service.api.shapes.base import Answer, PageAnswer, Problem
from service.gallery.gallery_records import ErasedSubject
from service.jobs.operations import Operation

_ERRORS = {kind.code: kind for kind in STATUS}


class ProgressAnswer(Answer):
    """In units of the operation's own; ``total`` is 0 while it is not known."""

    done: int
    total: int


class FitResult(Answer):
    """The classifier that was fitted."""

    classifier: str
    location: str = Field(examples=["/v1/classifiers/finding"])


class RefittedClassifier(Answer):
    """A classifier's new version (null when nothing of it was erased), or why there is none."""

    name: str
    version: int | None = None
    code: str | None = None
    detail: str | None = None


class RefitResult(Answer):
    """One item per classifier that had learnt from what was erased."""

    classifiers: list[RefittedClassifier]


class ReembedResult(Answer):
    """The collection is of the loaded encoder."""

    collection: str
    encoder_id: str
    scans: int


class BackupResult(Answer):
    """The folder of the backup."""

    backup: str


class ExportResult(Answer):
    """The export; ``scans`` is missing when an earlier attempt wrote it."""

    export: str
    scans: int | None = None


class ImportResult(Answer):
    """How many scans were stored, and how many were known before."""

    collection: str
    stored: int
    known: int


OperationResult: TypeAlias = (
    FitResult | RefitResult | ReembedResult | BackupResult | ExportResult | ImportResult
)


class OperationAnswer(Answer):
    """Long work that was asked for."""

    operation_id: str = Field(examples=["op_5f2b1c0d9e8a7463aa01"])
    kind: Literal["fit", "refit", "reembed", "export", "import", "backup"]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    progress: ProgressAnswer
    cancel_asked: bool
    result: OperationResult | None
    problem: Problem | None
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, operation: Operation) -> "OperationAnswer":
        """As clients see it; what it was asked with stays inside."""
        return cls.model_validate(
            {
                "operation_id": operation.operation_id,
                "kind": operation.kind,
                "state": operation.state,
                "progress": {"done": operation.done, "total": operation.total},
                "cancel_asked": operation.cancel_asked,
                "result": operation.result,
                "problem": _problem(operation),
                "created_at": operation.created_at,
                "updated_at": operation.updated_at,
            }
        )


def _problem(operation: Operation) -> Problem | None:
    """The problem document; the operation's own id stands where a request's would."""
    if operation.problem is None:
        return None
    error = _ERRORS.get(operation.problem["code"])
    if error is None:
        return Problem(**internal_error(operation.operation_id))
    return Problem.of(error(operation.problem["detail"]), operation.operation_id)


class OperationPage(PageAnswer):
    """Operations, newest first; ``next_cursor`` is null on the last page."""

    items: list[OperationAnswer]


class ErasedScan(Answer):
    """One scan that was erased."""

    collection: str
    scan_id: str


class ErasureAnswer(Answer):
    """What was erased, and which classifiers had learnt from it."""

    scans: list[ErasedScan]
    classifiers: list[str] = Field(description="That learnt from them; they stay.")
    uploads: int = Field(description="Erased examples that were uploaded to classifiers.")
    operation: OperationAnswer | None = Field(None, description="The refit, when asked for.")

    @classmethod
    def of(cls, receipt: ErasedSubject) -> "ErasureAnswer":
        """From the receipt, before any refit."""
        return cls(
            scans=[ErasedScan(collection=c, scan_id=s) for c, s in receipt.scans],
            classifiers=list(receipt.classifiers),
            uploads=receipt.uploads,
        )
