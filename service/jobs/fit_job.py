"""Fits that run as operations (``Prefer: respond-async``)."""

from collections.abc import Mapping
from typing import Any

from service.catalog.operation_records import Operation
from service.classifiers.registry import ClassifierRegistry
from service.classifiers.requests import FitRequest
from service.jobs.operations import JobKind, Progress
from service.jobs.threads import gc_paused


def fit_job(registry: ClassifierRegistry) -> JobKind:
    """The kind of operation for a ``FitRequest``."""

    @gc_paused()
    def fit(operation: Operation, progress: Progress) -> Mapping[str, Any]:
        request = FitRequest.from_json(operation.request)
        registry.fit(
            operation.workspace_id,
            request,
            operation_id=operation.operation_id,
            before_fit=lambda examples: progress.report(0, examples),
            before_storing=progress.check,
        )
        return {"classifier": request.name, "location": f"/v1/classifiers/{request.name}"}

    return JobKind(fit)
