"""Steps before each route: authenticate, check scopes, refuse unknown parameters, parse JSON.

FastAPI reads and parses a JSON body before it resolves any dependency. ``StrictRoute`` puts the
cheap checks first, so that no body is read for an unknown caller or a misspelt parameter, and
parses large bodies on a thread.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar, get_args, get_origin

from fastapi import Request, Response, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.routing import Match
from starlette.types import Scope

from service.access.keys import Caller
from service.access.name_limits import UNLIMITED, limited_to
from service.access.policy_store import WorkspacePolicy
from service.access.tokens.provider_keys import UnknownSigner
from service.api.audit_trail import RequestTrail, recorded
from service.api.dependencies import Services, bearer, services_of
from service.api.openapi import LIMITED_IN_DOCUMENT, SCOPES_IN_DOCUMENT
from service.api.permissions import declared, limited_of, require_path, scopes_of
from service.api.shapes.base import Body
from service.api.strict_json import MAX_INLINE_BYTES, load_json
from service.errors import InputError, UnsupportedFormat, UploadTooLarge
from service.fairness.workspace_turn import SERVICE, working_for


class StrictRoute(APIRoute):
    """The route class of every router; answers hold the fields that were set.

    Attributes:
        takes_any_query: unknown query parameters are no mistake of the caller.
    """

    takes_any_query: ClassVar[bool] = False

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        dependencies = options.get("dependencies") or ()
        scopes = declared(dependencies)
        self.limited = None if scopes is None else limited_of(path, dependencies)
        said = {SCOPES_IN_DOCUMENT: list(scopes or ()), LIMITED_IN_DOCUMENT: self.limited}
        extra = {**(options.get("openapi_extra") or {}), **said}
        always = {"response_model_exclude_unset": True, "openapi_extra": extra}
        super().__init__(path, endpoint, **{**options, **always})

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As every route, but an address with a coded slash is none of this route's.

        Decoded it would be another address than the one that was meant, also without a slash at its
        end, to which the router redirects.
        """
        match, child_scope = super().matches(scope)
        if match is Match.NONE or ":path}" in self.path:
            return match, child_scope
        has_coded_slash = b"%2f" in scope.get("raw_path", b"").lower()
        return (Match.NONE, {}) if has_coded_slash else (match, child_scope)

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """The handler of FastAPI, after the checks."""
        handler = super().get_route_handler()
        fields = [
            field
            for field in get_flat_params(self.dependant)
            if not isinstance(field.field_info, params.Path | params.Header | params.Cookie)
        ]
        names = frozenset(field.alias for field in fields)
        lists = frozenset(f.alias for f in fields if _is_list(f.field_info.annotation))
        scopes, limited = scopes_of(self.dependant), self.limited
        content = (self.openapi_extra or {}).get("requestBody", {}).get("content", {})
        model = _body_model(self)

        async def answered(request: Request, trail: RequestTrail | None) -> Response:
            held: AbstractContextManager[object] = nullcontext()
            if scopes is not None:
                caller = request.state.caller = await authenticated(request)
                if trail is not None:
                    trail.is_of(caller)
                # Counted before its scopes: also one that lacks them.
                held = services_of(request).rules.holding(caller, request.state.policy)
                caller.require(*scopes)
                if limited is not None:
                    require_path(caller.limits, limited, self.path, request.path_params)
            asked = [name for name, _ in request.query_params.multi_items()]
            if not self.takes_any_query:
                refuse_unknown("query parameters", asked, names)
                refuse_twice("query parameters", asked, lists)
            if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
                raise UnsupportedFormat("expected a body without Content-Encoding, got an encoded")
            request.state.body_content = content
            if trail is not None:
                await trail.begin()
            limits = UNLIMITED if scopes is None else caller.limits
            workspace_id = SERVICE if scopes is None else caller.workspace_id
            with working_for(workspace_id), limited_to(limits), held:
                return await handler(_JsonRequest(request.scope, request.receive, model))

        async def handle(request: Request) -> Response:
            audit = services_of(request).audit
            if audit is None or scopes is None:
                return await answered(request, None)
            trail = RequestTrail(audit, request, self.name, scopes)
            return await recorded(trail, partial(answered, request, trail))

        return handle


async def authenticated(request: Request) -> Caller:
    """The caller of a request, whose policy becomes ``request.state.policy``.

    Raises:
        Unauthenticated, TooManyFailedKeys: as ``KeyRing.caller``, and never UnknownSigner.
    """
    credentials = await bearer(request)
    token = None if credentials is None else credentials.credentials.strip()
    address = request.client.host if request.client else ""
    caller, request.state.policy = await identified(services_of(request), token, address)
    return caller


async def identified(
    services: Services, token: str | None, address: str
) -> tuple[Caller, WorkspacePolicy]:
    """Who has a key or token, and the policy that holds for them.

    Raises:
        Unauthenticated, TooManyFailedKeys: as ``KeyRing.caller``, and never UnknownSigner.
    """
    # One thread for all that guess: they must not fill the threads of everybody.
    threads = services.slow_lane if services.keys.is_slowed(address) else services.doors
    loop = asyncio.get_running_loop()

    def identify(find: Callable[[str | None, str], Caller]) -> tuple[Caller, WorkspacePolicy]:
        caller = find(token, address)
        return caller, services.rules.of(caller)

    keys = services.keys
    try:
        return await loop.run_in_executor(threads, identify, keys.caller)
    except UnknownSigner:
        # Those that wait for the identity provider share one thread as well.
        return await loop.run_in_executor(services.slow_lane, identify, keys.caller_after_fetch)


def _body_model(route: APIRoute) -> type[Body] | None:
    """The JSON body of a route whose body FastAPI validates; None for other routes."""
    model = route.body_field and route.body_field.field_info.annotation
    return model if isinstance(model, type) and issubclass(model, Body) else None


def _validated(model: type[Body], document: Any) -> Body:
    """The body as FastAPI would read it. Raises RequestValidationError."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        failures = error.errors(include_input=False, include_url=False)
        in_body = [{**failure, "loc": ("body", *failure["loc"])} for failure in failures]
        raise RequestValidationError(in_body) from error


class _JsonRequest(Request):
    """A request whose JSON body is limited and parsed strictly.

    A long body is parsed on a thread, and validated there as well: FastAPI, which gets the model,
    leaves it as it is.
    """

    def __init__(self, scope: Any, receive: Any, model: type[Body] | None) -> None:
        super().__init__(scope, receive)
        self._model = model
        self._max_bytes = None if model is None else model.max_bytes

    async def body(self) -> bytes:
        """The whole body. Raises UploadTooLarge as soon as more has arrived."""
        if self._max_bytes is None or hasattr(self, "_body"):
            return await super().body()
        parts: list[bytes] = []
        size = 0
        async for part in self.stream():
            size += len(part)
            if size > self._max_bytes:
                raise UploadTooLarge(
                    f"expected a body of at most {self._max_bytes} bytes, got more"
                )
            parts.append(part)
        self._body = b"".join(parts)
        return self._body

    async def json(self) -> Any:
        """The decoded body, or its model where it is long.

        Raises:
            InputError, TooManyItems, UploadTooLarge: it cannot be read.
            RequestValidationError: a long one breaks rules of the model.
        """
        body = await self.body()
        document = await load_json(body)
        if self._model is None or len(body) <= MAX_INLINE_BYTES:
            return document
        return await asyncio.to_thread(_validated, self._model, document)


def refuse_unknown(kind: str, names: Iterable[str], allowed: frozenset[str]) -> None:
    """Raise InputError for a name that is not allowed.

    The message lists the allowed names only: a misspelt one may contain the name of a patient.
    """
    unknown = set(names) - allowed
    if unknown:
        listed = ", ".join(sorted(allowed)) or "none"
        raise InputError(f"expected only known {kind} ({listed}), got {len(unknown)} unknown")


def refuse_twice(kind: str, names: Iterable[str], repeatable: frozenset[str]) -> None:
    """Raise InputError for a known name with two values where only one would count."""
    twice = sorted(n for n, count in Counter(names).items() if count > 1 and n not in repeatable)
    if twice:
        raise InputError(f"expected {kind} once, got more than one of: {', '.join(twice)}")


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(part) for part in get_args(annotation))
