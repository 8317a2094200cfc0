"""The documentation page: Swagger UI, served locally because clinics may block CDNs."""

import asyncio
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import RedirectResponse

from service.errors import UnknownItem

router = APIRouter(include_in_schema=False)
_PACKAGE = "fastapi_swagger.resources"  # only its files are used
_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


@router.get("/")
async def start(request: Request) -> Response:
    """Redirect a browser to the documentation."""
    return RedirectResponse(f"{_base(request)}/docs")


@router.get("/docs")
async def page(request: Request) -> Response:
    """Try every route in the browser."""
    base = _base(request)
    return get_swagger_ui_html(
        openapi_url=f"{base}/openapi.json",
        title="Sonoprobe API",
        swagger_js_url=f"{base}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{base}/docs/swagger-ui.css",
        swagger_favicon_url=f"{base}/docs/favicon-32x32.png",
        swagger_ui_parameters={"validatorUrl": None},  # it would send the document away
    )


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """Script, style or icon of the page. Raises UnknownItem."""
    if name not in _TYPES:
        raise UnknownItem("no such file of the documentation")
    data = await asyncio.to_thread((files(_PACKAGE) / name).read_bytes)
    return Response(data, media_type=_TYPES[name])


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")
