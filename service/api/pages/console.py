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
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service.api.permissions import OPEN
from service.api.routing import StrictRoute
from service.errors import UnknownItem

router = APIRouter(route_class=StrictRoute, include_in_schema=False, dependencies=[OPEN])
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
    "img-src 'self' blob:; media-src blob:; connect-src 'self'; frame-ancestors 'none'; "
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
    found = (await asyncio.to_thread(_files)).get(path or _PAGE)
    if found is None:
        raise UnknownItem("no such file of the console")
    if request.headers.get("if-none-match") == found.headers["ETag"]:
        # With all headers: a browser replaces the policy of the stored page by that of the 304.
        return Response(status_code=304, headers=found.headers)
    return Response(found.content, media_type=found.media_type, headers=found.headers)


@cache
def _files() -> Mapping[str, _File]:
    """All files of the console by path; their number is fixed, and they take 0.2 MB."""
    found: dict[str, _File] = {}
    folders: list[tuple[str, Traversable]] = [("", files(_PACKAGE))]
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir():
            suffix = entry.name[entry.name.rfind(".") :]
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            elif suffix in _TYPES:
                content = entry.read_bytes()
                if entry.name == _PAGE:
                    content = content.replace(b"{import_map}", _IMPORT_MAP.encode())
                found[prefix + entry.name] = _File(
                    content, _TYPES[suffix], _headers(content, suffix)
                )
    return found


def _headers(content: bytes, suffix: str) -> dict[str, str]:
    # Nothing of a patient is in these files; a browser asks each time whether they changed.
    headers = {
        "Cache-Control": "no-cache",
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
    if suffix == ".html":
        digest = base64.b64encode(hashlib.sha256(_IMPORT_MAP.encode()).digest()).decode()
        headers["Content-Security-Policy"] = _POLICY.format(digest=digest)
        headers["Permissions-Policy"] = _PERMISSIONS
    return headers
