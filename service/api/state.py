"""What routes need of the running service, and who is asking."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.problems import problem, request_id_of
from service.api.schemas import JsonObject
from service.catalog.access_records import SavedAnswer
from service.catalog.interface import Catalog
from service.catalog.records import Author
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.registry import ClassifierRegistry
from service.classifiers.review import LabelReview
from service.classifiers.store import ClassifierStore
from service.classifiers.thresholds import Thresholds
from service.embedding.pipeline import EmbeddedImage, Pipeline
from service.errors import IdempotencyConflict, InputError, ServiceError, Unauthenticated
from service.gallery.frame_search import FrameSearch
from service.gallery.gallery import Gallery
from service.imaging.analysis.frame_analysis import parse_region_mode
from service.imaging.formats.sampling import parse_sampling
from service.jobs.fit_queue import FitQueue
from service.jobs.operations import Operations
from service.observability import ServiceMetrics
from service.settings import Settings

DEFAULT_WORKSPACE = "default"
_MAX_KEY_LENGTH = 255


@dataclass
class KeyLock:
    """Requests under one Idempotency-Key, one after the other; ``users`` counts them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


@dataclass
class Services:
    """Everything that ``create_app`` wired; lives in ``app.state.running``."""

    settings: Settings
    catalog: Catalog
    pipeline: Pipeline
    gallery: Gallery
    frame_search: FrameSearch
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
    turns: dict[tuple[str, str], KeyLock] = field(default_factory=dict)

    def forget_deleted(self) -> None:
        """Drop what is kept in memory of scans, after some were deleted."""
        self.classifiers.forget()
        self.frame_search.forget()


def services_of(request: Request) -> Services:
    """The wired service."""
    found: Services = request.app.state.running
    return found


Credentials: TypeAlias = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="Made by `sonoprobe keys create`.")),
]
Service: TypeAlias = Annotated[Services, Depends(services_of)]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is; ``author`` names the key."""

    workspace_id: str
    author: Author


async def caller_of(service: Service, sent: Credentials) -> Caller:
    """The owner of the request's key. Raises Unauthenticated."""
    if not service.settings.require_key:
        return Caller(service.default_workspace_id, Author())
    if sent is None:
        raise Unauthenticated("expected the header Authorization: Bearer <key>")
    digest = hash_key(sent.credentials.strip())
    key = await asyncio.to_thread(service.catalog.find_key, digest)
    if key is None:
        raise Unauthenticated("the API key is unknown or revoked")
    return Caller(key.workspace_id, Author(key.key_id, key.name))


WhoAsks: TypeAlias = Annotated[Caller, Depends(caller_of)]


async def workspace_of(caller: WhoAsks) -> str:
    """The workspace id of the caller's key. Raises Unauthenticated."""
    return caller.workspace_id


def hash_key(token: str) -> str:
    """SHA-256 hex; keys are 256 random bits, so a slow password hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


WorkspaceId: TypeAlias = Annotated[str, Depends(workspace_of)]
IfMatch: TypeAlias = Annotated[str | None, Header(alias="If-Match")]
IdempotencyKey: TypeAlias = Annotated[str | None, Header(alias="Idempotency-Key")]


async def embed_each(
    service: Services,
    files: Sequence[bytes | InputError],
    *,
    alone: bool = False,
    frames: str | None = None,
    region: str | None = None,
    with_thumbnail: bool = False,
    with_map: bool = False,
    with_png: bool = False,
) -> list[EmbeddedImage | ServiceError]:
    """Embed each file; one that could not even be read keeps its own error.

    Args:
        frames: which frames of a clip are used; None = as the settings say.
        region: what of a frame is used; None = as the settings say.
        alone: the request is one raw image: its error is raised instead of returned.
    """
    readable = [file for file in files if isinstance(file, bytes)]
    results = await service.pipeline.embed_all(
        readable,
        sampling=None if frames is None else parse_sampling(frames),
        region_mode=None if region is None else parse_region_mode(region),
        with_thumbnail=with_thumbnail,
        with_map=with_map,
        with_png=with_png,
    )
    embedded = iter(results)
    found = [file if isinstance(file, InputError) else next(embedded) for file in files]
    if alone and isinstance(found[0], ServiceError):
        raise found[0]
    return found


def item_problem(error: ServiceError, request: Request) -> JsonObject:
    """The problem of one item of a batch."""
    return problem(error, request_id_of(request))


async def idempotent(
    service: Services,
    workspace_id: str,
    key: str | None,
    content: bytes,
    act: Callable[[], Awaitable[JSONResponse]],
) -> Response:
    """Run ``act``, or give the answer that the same request got before under this key.

    Answers that hold a failure of ours (5xx), of one item even, are not kept: the caller may
    try again.

    Args:
        content: what the request means, without transport details such as form boundaries.

    Raises:
        IdempotencyConflict: the key was used for another request.
    """
    if key is None:
        return await act()
    if not 1 <= len(key) <= _MAX_KEY_LENGTH:
        raise InputError(f"expected an Idempotency-Key of 1 to {_MAX_KEY_LENGTH} characters")
    digest = hashlib.sha256(content).hexdigest()
    turn = service.turns.setdefault((workspace_id, key), KeyLock())
    turn.users += 1
    try:
        async with turn.lock:
            saved = await asyncio.to_thread(service.catalog.find_answer, workspace_id, key)
            if saved is not None:
                return _replay(saved, digest)
            response = await act()
            await _remember(service, workspace_id, key, digest, response)
            return response
    finally:
        turn.users -= 1
        if turn.users == 0:
            del service.turns[workspace_id, key]


def _replay(saved: SavedAnswer, digest: str) -> Response:
    if saved.request_sha256 != digest:
        raise IdempotencyConflict("the Idempotency-Key was already used for another request")
    headers = {**saved.headers, "Idempotent-Replayed": "true"}
    return Response(saved.body, saved.status, headers=headers)


async def _remember(
    service: Services, workspace_id: str, key: str, digest: str, response: Response
) -> None:
    if response.status_code >= 500 or _failed_in_part(response):
        return
    kept = {k: v for k, v in response.headers.items() if k in ("content-type", "etag", "location")}
    answer = SavedAnswer(digest, response.status_code, bytes(response.body), kept)
    keep_s = float(service.settings.idempotency_keep_s)
    await asyncio.to_thread(service.catalog.save_answer, workspace_id, key, answer, keep_s=keep_s)


def _failed_in_part(response: Response) -> bool:
    if response.status_code != 207:
        return False
    items = json.loads(bytes(response.body))["items"]
    return any(item.get("problem", {}).get("status", 0) >= 500 for item in items)


def request_fingerprint(*parts: Any) -> bytes:
    """Bytes that are equal exactly when the parts are."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(f"{len(data)}:".encode() + data)
    return digest.digest()


def created(document: JsonObject, location: str) -> JSONResponse:
    """201 with the ETag of the document."""
    return JSONResponse(document, 201, {"ETag": document["etag"], "Location": location})


def read(document: JsonObject) -> JSONResponse:
    """200 with the ETag of the document."""
    return JSONResponse(document, 200, {"ETag": document["etag"]})
