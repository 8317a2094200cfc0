"""Dependencies of routes: the wired service, the caller and the workspace."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ParamSpec, TypeAlias, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from service.access.audit.audit_log import AuditLog
from service.access.key_registry import KeyRegistry
from service.access.keys import Caller, KeyRing
from service.access.saved_answers import AnswerStore
from service.access.workspace_registry import WorkspaceRegistry
from service.access.workspace_rules import WorkspaceRules
from service.api.streams.stream_table import StreamTable
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.monitoring.classifier_monitor import ClassifierMonitor
from service.classifiers.registry import ClassifierRegistry
from service.classifiers.review import LabelReview
from service.classifiers.store import ClassifierStore
from service.classifiers.thresholds import Thresholds
from service.embedding.pipeline import Pipeline
from service.fairness.fair_queue import QueueState
from service.gallery.gallery import Gallery
from service.jobs.fit_queue import FitQueue
from service.jobs.operations import Operations
from service.jobs.threads import Timed
from service.observability import ServiceMetrics
from service.settings import Settings

bearer = HTTPBearer(
    auto_error=False,
    description="An API key, made by `sonoprobe keys create`, or an access token of the OpenID "
    "provider that the service believes.",
)


P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Services:
    """Everything that ``create_app`` wired; it lives in ``app.state.running``.

    Attributes:
        searchers: threads for searches, and for what reads many rows.
        doors: threads that look up keys; health: the one of readiness and metrics. Nothing else
            runs there, so that no work of a workspace makes everybody wait.
        slow_lane: the thread of addresses that guess keys.
    """

    settings: Settings
    keys: KeyRing
    rules: WorkspaceRules
    key_registry: KeyRegistry
    workspaces: WorkspaceRegistry
    answers: AnswerStore
    check_catalog: Callable[[], None]
    pipeline: Pipeline
    gallery: Gallery
    classifiers: ClassifierStore
    evaluator: ClassifierEvaluator
    monitor: ClassifierMonitor
    thresholds: Thresholds
    registry: ClassifierRegistry
    review: LabelReview
    fits: FitQueue
    metrics: ServiceMetrics
    timed: Timed
    operations: Operations
    searchers: ThreadPoolExecutor
    doors: ThreadPoolExecutor
    health: ThreadPoolExecutor
    slow_lane: ThreadPoolExecutor
    default_workspace_id: str
    streams: StreamTable
    audit: AuditLog | None = None
    stopping: bool = False

    @property
    def queues(self) -> dict[str, QueueState]:
        """How busy each queue is: ``stills``, ``clips``, ``encoder``, ``fits``, ``operations``.

        Blocks, because operations wait in the catalog.
        """
        own = {"fits": self.fits.state, "operations": self.operations.state()}
        return {**self.pipeline.queues, **own}

    async def read_rows(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what reads many rows, such as a count or a page of a list, in turn with searches.

        Raises:
            Overloaded: too much of this workspace, or of all, waits.
        """
        work = partial(copy_context().run, partial(read, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self.searchers, work)

    def forget_deleted(self) -> None:
        """Drop cached examples after scans were deleted."""
        self.classifiers.forget()


def services_of(request: HTTPConnection) -> Services:
    """The wired service."""
    services: Services = request.app.state.running
    return services


async def _wired(request: HTTPConnection) -> Services:
    """As ``services_of``; FastAPI would call a plain function on a thread for every request."""
    return services_of(request)


Service: TypeAlias = Annotated[Services, Depends(_wired)]


async def caller_of(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Caller:
    """The caller; ``StrictRoute`` has authenticated it before the body was read."""
    caller: Caller = request.state.caller
    return caller


KnownCaller: TypeAlias = Annotated[Caller, Depends(caller_of)]


async def workspace_of(caller: KnownCaller) -> str:
    """The workspace id of the caller's key."""
    return caller.workspace_id


WorkspaceId: TypeAlias = Annotated[str, Depends(workspace_of)]
