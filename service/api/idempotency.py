"""Requests under an Idempotency-Key: a repetition gets the response of the first."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from service.access.keys import Caller
from service.access.saved_answers import SavedAnswer
from service.api.dependencies import KnownCaller, Service, Services
from service.errors import IdempotencyConflict, InputError

_MAX_KEY_LENGTH = 255
_KEPT_HEADERS = ("content-type", "etag", "location")


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request of a workspace, and its Idempotency-Key if it has one.

    Attributes:
        key: as it is stored: of this caller, because another may not see the answer.
    """

    service: Services
    workspace_id: str
    key: str | None

    async def run(
        self,
        act: Callable[[], Awaitable[JSONResponse]],
        *content: Any,
        outlives_deletions: bool = False,
    ) -> Response:
        """Run ``act``, or replay the response that the same request got before under this key.

        A response that holds a failure of the service (5xx), even of one item, is not kept: the
        caller may try again.

        Args:
            content: what the request says, as bytes, models and plain values, without details of
                transport such as form boundaries.
            outlives_deletions: the response repeats nothing that is stored. It is kept even if
                something is deleted meanwhile, such as by ``act`` itself.

        Raises:
            IdempotencyConflict: the key was used for a different request.
            Overloaded: another process still works on a request under this key.
        """
        workspace_id, key, answers = self.workspace_id, self.key, self.service.answers
        if key is None:
            return await act()
        digest = await asyncio.to_thread(request_fingerprint, content)
        async with answers.hold(workspace_id, key, digest) as held:
            if held.saved is not None:
                return _replay(held.saved, digest)
            response = await act()
            if not await asyncio.to_thread(_failed, response):
                headers = {k: v for k, v in response.headers.items() if k in _KEPT_HEADERS}
                body = bytes(response.body)
                answer = SavedAnswer(digest, response.status_code, body, headers)
                await held.save(answer, outlives_deletions=outlives_deletions)
            return response


def request_fingerprint(parts: Iterable[Any]) -> str:
    """Hex digest: equal exactly when the parts are. Slow for large bodies: use a thread."""
    digest = hashlib.sha256()
    for part in parts:
        if not isinstance(part, bytes):
            text = part.model_dump_json() if isinstance(part, BaseModel) else repr(part)
            part = text.encode()
        digest.update(f"{len(part)}:".encode() + part)
    return digest.hexdigest()


def _replay(saved: SavedAnswer, digest: str) -> Response:
    if saved.request_sha256 != digest:
        raise IdempotencyConflict("the Idempotency-Key was already used for a different request")
    headers = {**saved.headers, "Idempotent-Replayed": "true"}
    return Response(saved.body, saved.status, headers=headers)


def _failed(response: Response) -> bool:
    """Whether the service failed, for the whole request or for one item of it."""
    if response.status_code != 207:
        return response.status_code >= 500
    items = json.loads(bytes(response.body))["items"]
    return any(item.get("problem", {}).get("status", 0) >= 500 for item in items)


async def _idempotent_request(
    service: Service,
    caller: KnownCaller,
    key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
) -> IdempotentRequest:
    return IdempotentRequest(service, caller.workspace_id, _stored(caller, key))


def _stored(caller: Caller, key: str | None) -> str | None:
    """The Idempotency-Key with who sent it. Raises InputError: empty or too long."""
    if key is None:
        return None
    if not 1 <= len(key) <= _MAX_KEY_LENGTH:
        raise InputError(f"expected an Idempotency-Key of 1 to {_MAX_KEY_LENGTH} characters")
    return key if caller.author.key_id is None else f"{caller.author.key_id} {key}"


Idempotent: TypeAlias = Annotated[IdempotentRequest, Depends(_idempotent_request)]
