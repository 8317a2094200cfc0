"""Steps before each route: authenticate, refuse unknown parameters, parse JSON.

FastAPI reads and parses a JSON body before it resolves any dependency. ``StrictRoute`` puts the
cheap checks first, so that no body is read for an unknown caller or a misspelt parameter, and
parses large bodies on a thread.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from fastapi import Request, Response, params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from service.api.dependencies import bearer, caller_of, services_of
from service.errors import InputError
from service.fairness.workspace_turn import SERVICE, working_for

MAX_INLINE_BYTES = 1_000_000  # a longer JSON body is parsed on a thread


class StrictRoute(APIRoute):
    """The route class of every router of the API; answers hold the fields that were set."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **{**options, "response_model_exclude_unset": True})

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """The handler of FastAPI, after the checks."""
        handler = super().get_route_handler()
        names = frozenset(
            field.alias
            for field in get_flat_params(self.dependant)
            if not isinstance(field.field_info, params.Path | params.Header | params.Cookie)
        )
        needs_caller = any(d.call is caller_of for d in _dependants(self.dependant))
        content = (self.openapi_extra or {}).get("requestBody", {}).get("content", {})

        async def handle(request: Request) -> Response:
            if needs_caller:
                credentials = await bearer(request)
                token = None if credentials is None else credentials.credentials.strip()
                keys = services_of(request).keys
                request.state.caller = await asyncio.to_thread(keys.caller, token)
            refuse_unknown("query parameters", request.query_params, names)
            request.state.body_content = content
            with working_for(request.state.caller.workspace_id if needs_caller else SERVICE):
                return await handler(_JsonRequest(request.scope, request.receive))

        return handle


class _JsonRequest(Request):
    """A request whose large JSON body is parsed on a thread, and strictly (no NaN)."""

    async def json(self) -> Any:
        return await load_json(await self.body())


async def load_json(text: bytes | str) -> Any:
    """Decode JSON, on a thread where it is long. Raises ValueError, RecursionError."""
    if len(text) <= MAX_INLINE_BYTES:
        return strict_json(text)
    return await asyncio.to_thread(strict_json, text)


def strict_json(text: bytes | str) -> Any:
    """Decode JSON without NaN and infinities. Raises ValueError, RecursionError."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def refuse_unknown(kind: str, names: Iterable[str], allowed: frozenset[str]) -> None:
    """Raise InputError for a name that is not allowed.

    The message lists the allowed names only: a misspelt one may contain the name of a patient.
    """
    unknown = set(names) - allowed
    if unknown:
        listed = ", ".join(sorted(allowed)) or "none"
        raise InputError(f"expected only known {kind} ({listed}), got {len(unknown)} unknown")


def _dependants(dependant: Dependant) -> Iterator[Dependant]:
    for child in dependant.dependencies:
        yield child
        yield from _dependants(child)
