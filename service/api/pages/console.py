"""The web console: files of the package, served under ``/console/`` and nothing else.

The page runs only scripts and styles of this service and reaches only this service, so it works
in a closed network, and a name in the data that looks like a script stays text.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service.access.tokens.console_sign_in import ConsoleClient
from service.api.dependencies import services_of
from service.api.permissions import OPEN
from service.api.routing import StrictRoute
from service.errors import UnknownItem


class _PageRoute(StrictRoute):
    """A provider leads back to the page with parameters of its own choice beside the code."""

    takes_any_query = True


router = APIRouter(route_class=_PageRoute, include_in_schema=False, dependencies=[OPEN])
_PACKAGE = "service.console"
_PAGE = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# Names of modules -> files, for the browser. It is a script of the page itself, so the policy
# allows it by its digest.
_MODULES = {
    "preact": "./vendor/preact.mjs",
    "preact/hooks": "./vendor/preact-hooks.mjs",
    "@preact/signals": "./vendor/preact-signals.mjs",
    "@preact/signals-core": "./vendor/preact-signals-core.mjs",
    "htm": "./vendor/htm.mjs",
    "openapi-fetch": "./vendor/openapi-fetch.mjs",
    "sonoprobe-client": "./client/index.js",
}
_IMPORT_MAP = json.dumps({"imports": _MODULES})
# blob: holds pictures that were fetched with the key, and files that the user chose.
_POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; "
    "img-src 'self' blob:; media-src blob:; connect-src 'self'{connect}; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)

_PERMISSIONS = "camera=(self), microphone=(), geolocation=()"  # the page Live has a camera


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    headers: Mapping[str, str]


@router.get("/console")
async def console(request: Request) -> Response:
    """To the page; its relative addresses need the slash at the end."""
    base = str(request.scope.get("root_path", "")).rstrip("/")
    return RedirectResponse(f"{base}/console/")


@router.get("/console/{path:path}")
async def file(request: Request, path: str) -> Response:
    """The page, or a script, style or licence of it. Raises UnknownItem."""
    if path in ("", _PAGE):
        tokens = services_of(request).keys.tokens
        found = await asyncio.to_thread(_page, None if tokens is None else tokens.console())
    else:
        known = (await asyncio.to_thread(_files)).get(path)
        if known is None:
            raise UnknownItem("no such file of the console")
        found = known
    if request.headers.get("if-none-match") == found.headers["ETag"]:
        # With all headers: a browser replaces the policy of the stored page by that of the 304.
        return Response(status_code=304, headers=found.headers)
    return Response(found.content, media_type=found.media_type, headers=found.headers)


@lru_cache(maxsize=8)  # it changes when the provider names other endpoints
def _page(client: ConsoleClient | None) -> _File:
    """The page, with where people sign in at the provider, if they can."""
    content = (files(_PACKAGE) / _PAGE).read_bytes()
    content = content.replace(b"{import_map}", _IMPORT_MAP.encode())
    said = "" if client is None else json.dumps(_described(client))
    content = content.replace(b"{openid}", escape(said, quote=True).encode())
    # The page exchanges the code for a token there; it sends requests nowhere else.
    endpoints = None if client is None else client.endpoints
    connect = "" if endpoints is None else f" {endpoints.token_origin}"
    digest = base64.b64encode(hashlib.sha256(_IMPORT_MAP.encode()).digest()).decode()
    policy = _POLICY.format(digest=digest, connect=connect)
    headers = _headers(content) | {"Content-Security-Policy": policy}
    headers["Permissions-Policy"] = _PERMISSIONS
    return _File(content, _TYPES[".html"], headers)


def _described(client: ConsoleClient) -> dict[str, str | None]:
    """What a browser needs; nothing of it is secret, and any client of the provider sees it."""
    endpoints = client.endpoints
    return {
        "issuer": client.issuer,
        "client_id": client.client_id,
        "scopes": client.scopes,
        "audience_parameter": client.audience_parameter,
        "audience": client.audience,
        "authorization_endpoint": None if endpoints is None else endpoints.authorization,
        "token_endpoint": None if endpoints is None else endpoints.token,
        "end_session_endpoint": None if endpoints is None else endpoints.end_session,
    }


@cache
def _files() -> Mapping[str, _File]:
    """All other files of the console by path; their number is fixed, and they take 0.2 MB."""
    found: dict[str, _File] = {}
    folders: list[tuple[str, Traversable]] = [("", files(_PACKAGE))]
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir():
            suffix = entry.name[entry.name.rfind(".") :]
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            elif suffix in _TYPES and entry.name != _PAGE:
                content = entry.read_bytes()
                found[prefix + entry.name] = _File(content, _TYPES[suffix], _headers(content))
    return found


def _headers(content: bytes) -> dict[str, str]:
    # Nothing of a patient is in these files; a browser asks each time whether they changed.
    return {
        "Cache-Control": "no-cache",
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
