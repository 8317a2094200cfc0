"""The documentation page: Swagger UI, served locally because clinics may block CDNs."""

import asyncio
import json
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service.api.permissions import OPEN
from service.api.routing import StrictRoute
from service.api.security_headers import page_policy
from service.errors import UnknownItem

router = APIRouter(route_class=StrictRoute, include_in_schema=False, dependencies=[OPEN])
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1.0">
<link rel="stylesheet" href="{base}/docs/swagger-ui.css">
<link rel="icon" href="{base}/docs/favicon-32x32.png">
<title>Sonoprobe API</title>
</head>
<body>
<div id="swagger-ui"></div>
<script src="{base}/docs/swagger-ui-bundle.js"></script>
<script>{start}</script>
</body>
</html>
"""
# validatorUrl: the page would send the document to another machine.
_START = """SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  layout: "BaseLayout",
  showExtensions: true,
  showCommonExtensions: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""
_PACKAGE = "fastapi_swagger.resources"  # only its files are used
_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


@router.get("/")
async def start(request: Request) -> Response:
    """Redirect a browser to the console."""
    return RedirectResponse(f"{_base(request)}/console/")


@router.get("/docs")
async def page(request: Request) -> Response:
    """Try every route in the browser."""
    base = _base(request)
    html = _PAGE.format(base=base, start=_START)
    headers = {"Content-Security-Policy": page_policy(_START)}
    return Response(html, media_type="text/html", headers=headers)


@router.get("/openapi.json")
async def document(request: Request) -> Response:
    """The OpenAPI document; it is rendered once."""
    app = request.app
    if not hasattr(app.state, "openapi_json"):
        app.state.openapi_json = await asyncio.to_thread(_rendered, app.openapi)
    return Response(app.state.openapi_json, media_type="application/json")


def _rendered(build: Any) -> bytes:
    return json.dumps(build(), ensure_ascii=False, separators=(",", ":")).encode()


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """Script, style or icon of the page. Raises UnknownItem."""
    if name not in _TYPES:
        raise UnknownItem("no such file of the documentation")
    data = await asyncio.to_thread((files(_PACKAGE) / name).read_bytes)
    return Response(data, media_type=_TYPES[name])


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")
