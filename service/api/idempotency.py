"""Requests under an Idempotency-Key: a repetition gets the response of the first."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from service.access.saved_answers import SavedAnswer
from service.errors import IdempotencyConflict, InputError

if TYPE_CHECKING:
    from service.api.dependencies import Services

_MAX_KEY_LENGTH = 255


@dataclass
class KeyLock:
    """Serialises the requests under one Idempotency-Key; ``users`` counts them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The content of a request, without transport details such as form boundaries."""

    parts: tuple[Any, ...]

    def sha256(self) -> str:
        """Hex digest: equal exactly when the parts are. Slow for large bodies: use a thread."""
        digest = hashlib.sha256()
        for part in self.parts:
            data = part if isinstance(part, bytes) else _text_of(part).encode()
            digest.update(f"{len(data)}:".encode() + data)
        return digest.hexdigest()


def _text_of(part: Any) -> str:
    return part.model_dump_json() if isinstance(part, BaseModel) else repr(part)


def request_fingerprint(*parts: Any) -> Fingerprint:
    """Of bytes, models and plain values; nothing is hashed before ``idempotent`` needs it."""
    return Fingerprint(parts)


async def idempotent(
    service: "Services",
    workspace_id: str,
    key: str | None,
    content: Fingerprint,
    act: Callable[[], Awaitable[JSONResponse]],
) -> Response:
    """Run ``act``, or replay the response that the same request got before under this key.

    A response that holds a failure of the service (5xx), even of one item, is not kept: the
    caller may try again.

    Raises:
        InputError: the key is empty or too long.
        IdempotencyConflict: the key was used for a different request.
    """
    if key is None:
        return await act()
    if not 1 <= len(key) <= _MAX_KEY_LENGTH:
        raise InputError(f"expected an Idempotency-Key of 1 to {_MAX_KEY_LENGTH} characters")
    digest = await asyncio.to_thread(content.sha256)
    lock = service.key_locks.setdefault((workspace_id, key), KeyLock())
    lock.users += 1
    try:
        async with lock.lock:
            saved = await asyncio.to_thread(service.answers.find, workspace_id, key)
            if saved is not None:
                return _replay(saved, digest)
            response = await act()
            await _save(service, workspace_id, key, digest, response)
            return response
    finally:
        lock.users -= 1
        if lock.users == 0:
            del service.key_locks[workspace_id, key]


def _replay(saved: SavedAnswer, digest: str) -> Response:
    if saved.request_sha256 != digest:
        raise IdempotencyConflict("the Idempotency-Key was already used for a different request")
    headers = {**saved.headers, "Idempotent-Replayed": "true"}
    return Response(saved.body, saved.status, headers=headers)


async def _save(
    service: "Services", workspace_id: str, key: str, digest: str, response: Response
) -> None:
    if response.status_code >= 500 or await asyncio.to_thread(_failed_in_part, response):
        return
    kept = {k: v for k, v in response.headers.items() if k in ("content-type", "etag", "location")}
    answer = SavedAnswer(digest, response.status_code, bytes(response.body), kept)
    await asyncio.to_thread(service.answers.save, workspace_id, key, answer)


def _failed_in_part(response: Response) -> bool:
    if response.status_code != 207:
        return False
    items = json.loads(bytes(response.body))["items"]
    return any(item.get("problem", {}).get("status", 0) >= 500 for item in items)
