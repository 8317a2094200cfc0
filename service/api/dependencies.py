"""What routes receive: the wired service, the caller, and headers with a meaning of their own."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.idempotency import KeyLock
from service.catalog.interface import Catalog
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.registry import Author, ClassifierRegistry
from service.classifiers.review import LabelReview
from service.classifiers.store import ClassifierStore
from service.classifiers.thresholds import Thresholds
from service.embedding.pipeline import Pipeline
from service.errors import Unauthenticated
from service.gallery.gallery import Gallery
from service.jobs.fit_queue import FitQueue
from service.jobs.operations import Operations
from service.observability import ServiceMetrics
from service.settings import Settings

DEFAULT_WORKSPACE = "default"
bearer = HTTPBearer(auto_error=False, description="An API key, made by `sonoprobe keys create`.")


@dataclass
class Services:
    """Everything that ``create_app`` wired; it lives in ``app.state.running``."""

    settings: Settings
    catalog: Catalog
    pipeline: Pipeline
    gallery: Gallery
    classifiers: ClassifierStore
    evaluator: ClassifierEvaluator
    thresholds: Thresholds
    registry: ClassifierRegistry
    review: LabelReview
    fits: FitQueue
    metrics: ServiceMetrics
    operations: Operations
    searchers: ThreadPoolExecutor
    default_workspace_id: str
    stopping: bool = False
    key_locks: dict[tuple[str, str], KeyLock] = field(default_factory=dict)

    def forget_deleted(self) -> None:
        """Drop cached examples after scans were deleted."""
        self.classifiers.forget()


def services_of(request: Request) -> Services:
    """The wired service."""
    services: Services = request.app.state.running
    return services


Service: TypeAlias = Annotated[Services, Depends(services_of)]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent the request; ``author`` names the API key."""

    workspace_id: str
    author: Author


async def authenticate(service: Services, sent: HTTPAuthorizationCredentials | None) -> Caller:
    """The owner of the request's key. Raises Unauthenticated."""
    if not service.settings.require_key:
        return Caller(service.default_workspace_id, Author())
    if sent is None:
        raise Unauthenticated("expected the header Authorization: Bearer <key>")
    token = sent.credentials.strip()
    key = await asyncio.to_thread(lambda: service.catalog.find_key(hash_key(token)))
    if key is None:
        raise Unauthenticated("the API key is unknown or revoked")
    return Caller(key.workspace_id, Author(key.key_id, key.name))


def hash_key(token: str) -> str:
    """SHA-256 hex; keys are 256 random bits, so a slow password hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


async def caller_of(
    request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    """The caller, whom ``StrictRoute`` has authenticated before the body was read."""
    caller: Caller = request.state.caller
    return caller


WhoAsks: TypeAlias = Annotated[Caller, Depends(caller_of)]


async def workspace_of(caller: WhoAsks) -> str:
    """The workspace id of the caller's key."""
    return caller.workspace_id


WorkspaceId: TypeAlias = Annotated[str, Depends(workspace_of)]
IfMatch: TypeAlias = Annotated[str | None, Header(alias="If-Match")]
IdempotencyKey: TypeAlias = Annotated[str | None, Header(alias="Idempotency-Key")]


def page_limit(service: Services, limit: int) -> int:
    """The caller's limit, at most the service's."""
    return min(limit, service.settings.max_page)
