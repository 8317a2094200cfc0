"""The OpenAPI document: that of FastAPI, with the bodies and errors that FastAPI cannot see.

Client generators must be able to read it; tests/service/test_generated_clients.py runs two.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.problems import MEDIA_TYPE, codes_of, problem_document
from service.api.shapes.base import JsonObject, Problem

FORM_TYPE, JSON_TYPE = "multipart/form-data", "application/json"
IMAGE_TYPES = ("image/*", "video/*", "application/dicom")
_REF = "#/components/schemas/{model}"
_BINARY = {"type": "string", "format": "binary"}
_METHODS = frozenset({"get", "post", "put", "patch", "delete"})
_NAMES_NOTHING_STORED = frozenset({"/v1/embeddings", "/v1/collections"})
SCOPES_IN_DOCUMENT = "x-scopes"  # of a route; moved to its ``security``
LIMITED_IN_DOCUMENT = "x-limited-keys"  # what a key with limits to names gets
_described: set[type[BaseModel]] = {Problem}


def image_body(
    *json_models: type[BaseModel],
    metadata: type[BaseModel] | None = None,
    options: type[BaseModel] | None = None,
    raw: bool = True,
) -> JsonObject:
    """The request body of a route that takes images; ``uploads.read_upload`` reads it.

    Args:
        json_models: the schemas that a JSON body may have.
        metadata: the schema of an item of the form's ``metadata`` part, which has one per file.
        options: the schema of the form's ``options`` part.
        raw: whether one raw image is accepted; never where a part has required fields.
    """
    properties: JsonObject = {"files": {"type": "array", "items": _BINARY, "minItems": 1}}
    encoding: JsonObject = {"files": {"contentType": ", ".join(IMAGE_TYPES)}}
    required = ["files"]
    for name, model in (("metadata", metadata), ("options", options)):
        if model is not None:
            properties[name] = _json_list(model) if name == "metadata" else _refer(model)
            encoding[name] = {"contentType": JSON_TYPE}
            if any(field.is_required() for field in model.model_fields.values()):
                required.append(name)
    form = {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }
    choices = [_refer(model) for model in json_models]
    content: JsonObject = {
        FORM_TYPE: {"schema": form, "encoding": encoding},
        JSON_TYPE: {"schema": choices[0] if len(choices) == 1 else {"anyOf": choices}},
    }
    if raw and len(required) == 1:
        content |= {kind: {"schema": _BINARY} for kind in IMAGE_TYPES}
    return {"requestBody": {"required": True, "content": content}}


def labelled_body(model: type[BaseModel]) -> JsonObject:
    """The request body of a route that takes labelled examples, as JSON or with files."""
    return image_body(model, options=model, raw=False)


def _json_list(model: type[BaseModel]) -> JsonObject:
    """A form part with a list, as one JSON text: generators would send one part per item."""
    return {
        "type": "string",
        "contentMediaType": JSON_TYPE,
        "contentSchema": {"type": "array", "items": _refer(model)},
        "description": f"A JSON list of one {model.__name__} per file.",
    }


def _refer(model: type[BaseModel]) -> JsonObject:
    _described.add(model)
    return {"$ref": _REF.format(model=model.__name__)}


def install(app: FastAPI) -> None:
    """Let the application serve this document; it is built at the first request."""

    def document() -> JsonObject:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def _document(app: FastAPI) -> JsonObject:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    models = sorted(_described, key=lambda model: model.__name__)
    _, described = models_json_schema([(m, "validation") for m in models], ref_template=_REF)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(described["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):  # replaced by problem documents
        schemas.pop(name, None)
    for path, operation in _operations(document):
        _summarise(operation)
        _require_scopes(operation)
        responses = {k: v for k, v in operation["responses"].items() if k[0] == "2"}
        operation["responses"] = responses | _problems(path, operation)
    for node in _objects(document):
        _simplify(node, schemas)
    return document


def _objects(node: Any) -> Iterator[JsonObject]:
    """Every JSON object of the document, without its examples."""
    if isinstance(node, dict):
        yield node
        for key, value in node.items():
            if key not in ("example", "examples"):
                yield from _objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value)


def _simplify(node: JsonObject, schemas: JsonObject) -> None:
    """Drop what generators cannot read, and give unions a discriminator."""
    if node.get("default", ...) is None:
        del node["default"]
    refs = [choice.get("$ref", "").rpartition("/")[2] for choice in node.get("anyOf", [])]
    if len(refs) < 2 or not all(refs):
        return
    constants = [
        {
            name: value["const"]
            for name, value in schemas[ref].get("properties", {}).items()
            if "const" in value
        }
        for ref in refs
    ]
    for name in constants[0]:
        values = [names.get(name) for names in constants]
        if None not in values and len(set(values)) == len(values):
            mapping = {
                value: _REF.format(model=ref) for value, ref in zip(values, refs, strict=True)
            }
            node["oneOf"] = node.pop("anyOf")
            node["discriminator"] = {"propertyName": name, "mapping": mapping}
            return


def _operations(document: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in _METHODS:
                yield path, operation


def _summarise(operation: JsonObject) -> None:
    """The first line of the docstring is the summary, the rest the description."""
    first, _, rest = str(operation.get("description", "")).partition("\n")
    operation["summary"] = first.rstrip(".").replace("``", "")  # a summary is no Markdown
    if rest.strip():
        operation["description"] = rest.strip()
    else:
        operation.pop("description", None)


def _require_scopes(operation: JsonObject) -> None:
    """Name the scopes where OpenAPI 3.1 has them, and in words for who reads the page."""
    scopes = operation.pop(SCOPES_IN_DOCUMENT, [])
    if "security" not in operation:
        operation.pop(LIMITED_IN_DOCUMENT, None)
    elif scopes:
        operation["security"] = [{name: scopes} for name in operation["security"][0]]
        said = f"Scope: {', '.join(f'`{scope}`' for scope in scopes)}."
        described = operation.get("description")
        operation["description"] = f"{described}\n\n{said}" if described else said


def _problems(path: str, operation: JsonObject) -> JsonObject:
    """The errors that a route declares, and those that its parameters and body imply."""
    parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
    content = operation.get("requestBody", {}).get("content", {})
    statuses = {int(status) for status in operation["responses"] if status[0] == "4"}
    # Any route may get bad HTTP, a wrong host, large headers and unknown query parameters.
    statuses |= {400, 422, 431, 500, 503}
    statuses |= {401, 403, 429} if "security" in operation else set()
    statuses |= {404} if "{" in path or (content and path not in _NAMES_NOTHING_STORED) else set()
    statuses |= {412} if "If-Match" in parameters else set()
    statuses |= {409} if content and "If-Match" not in parameters else set()
    statuses |= {408, 413} if content else set()
    statuses |= {415} if FORM_TYPE in content else set()
    return {str(status): _problem(status) for status in sorted(statuses)}


def _problem(status: int) -> JsonObject:
    codes = codes_of(status)
    detail = "what was expected and what was sent"
    example = problem_document(codes[0], status, detail, "req_5f2b1c0d9e8a7463")
    return {
        "description": f"{HTTPStatus(status).phrase}: " + ", ".join(f"`{c}`" for c in codes),
        "content": {MEDIA_TYPE: {"schema": _refer(Problem), "example": example}},
    }
