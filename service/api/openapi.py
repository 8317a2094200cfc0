"""The OpenAPI document: FastAPI's own, with the bodies and errors that it cannot see."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.answers import Problem
from service.api.problems import MEDIA_TYPE, codes_of
from service.api.schemas import JsonObject

_REF = "#/components/schemas/{model}"
_IMAGE_TYPES = (
    *(f"image/{kind}" for kind in ("png", "jpeg", "webp", "bmp", "tiff", "gif")),
    "application/dicom",
    "video/mp4",
    "video/x-msvideo",
)
_BINARY = {"type": "string", "format": "binary"}
_METHODS = frozenset({"get", "post", "patch", "delete"})
_described: set[type[BaseModel]] = {Problem}


def image_body(
    *json_models: type[BaseModel], metadata: type[BaseModel] | None = None, each: bool = False
) -> JsonObject:
    """The request body of a route that takes images in any of the three ways.

    Args:
        json_models: what a JSON body may be.
        metadata: what the form's ``metadata`` part holds.
        each: that part is a list of one object per file.
    """
    properties: JsonObject = {"files": {"type": "array", "items": _BINARY}}
    parts: JsonObject = {}
    if metadata is not None:
        one = _refer(metadata)
        properties["metadata"] = {"type": "array", "items": one} if each else one
        parts = {"encoding": {"metadata": {"contentType": "application/json"}}}
    form = {"type": "object", "required": ["files"], "properties": properties}
    choices = [_refer(model) for model in json_models]
    content = {
        "multipart/form-data": {"schema": form} | parts,
        "application/json": {"schema": choices[0] if len(choices) == 1 else {"anyOf": choices}},
        **{kind: {"schema": _BINARY} for kind in _IMAGE_TYPES},
    }
    return {"requestBody": {"required": True, "content": content}}


def labelled_body(model: type[BaseModel]) -> JsonObject:
    """The request body of a route that takes labelled examples, as JSON or with files."""
    form = {
        "type": "object",
        "required": ["files", "options"],
        "properties": {"files": {"type": "array", "items": _BINARY}, "options": _refer(model)},
    }
    parts = {"options": {"contentType": "application/json"}}
    content = {
        "application/json": {"schema": _refer(model)},
        "multipart/form-data": {"schema": form, "encoding": parts},
    }
    return {"requestBody": {"required": True, "content": content}}


def _refer(model: type[BaseModel]) -> JsonObject:
    _described.add(model)
    return {"$ref": _REF.format(model=model.__name__)}


def install(app: FastAPI) -> None:
    """Let the application give this document; it is made when first asked for."""

    def document() -> JsonObject:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def _document(app: FastAPI) -> JsonObject:
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    models = sorted(_described, key=lambda model: model.__name__)
    _, more = models_json_schema([(m, "validation") for m in models], ref_template=_REF)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(more["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):  # we answer problems instead
        schemas.pop(name, None)
    for path, operation in _operations(made):
        _summarise(operation)
        answers = {k: v for k, v in operation["responses"].items() if k != "422"}
        operation["responses"] = answers | _problems(path, operation)
    return made


def _operations(document: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in _METHODS:
                yield path, operation


def _summarise(operation: JsonObject) -> None:
    """The first line of the docstring says more than the function's name."""
    first, _, rest = str(operation.get("description", "")).partition("\n")
    operation["summary"] = first.rstrip(".")
    if rest.strip():
        operation["description"] = rest.strip()
    else:
        operation.pop("description", None)


def _problems(path: str, operation: JsonObject) -> JsonObject:
    """Which errors a route can answer, told by what it takes."""
    takes = {parameter["name"] for parameter in operation.get("parameters", [])}
    content = operation.get("requestBody", {}).get("content", {})
    can = {500, 503} | {int(status) for status in operation["responses"] if status >= "4"} - {422}
    can |= {401} if "security" in operation else set()
    can |= {404} if "{" in path or (path.endswith("/classifiers") and content) else set()
    can |= {400} if "cursor" in takes else set()
    can |= {412} if "If-Match" in takes else set()
    can |= {409} if content and "If-Match" not in takes else set()
    can |= {413, 422} if content else set()
    can |= {415} if "multipart/form-data" in content else set()
    can |= {422} if takes else set()
    return {str(status): _problem(status) for status in sorted(can)}


def _problem(status: int) -> JsonObject:
    codes = codes_of(status)
    example: dict[str, Any] = {
        "type": f"urn:sonoprobe:error:{codes[0]}",
        "title": codes[0].replace("_", " ").capitalize(),
        "status": status,
        "detail": "what was expected and what came",
        "code": codes[0],
        "request_id": "req_5f2b1c0d9e8a7463",
    }
    return {
        "description": f"{HTTPStatus(status).phrase}: " + ", ".join(f"`{c}`" for c in codes),
        "content": {MEDIA_TYPE: {"schema": _refer(Problem), "example": example}},
    }
