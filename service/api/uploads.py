"""Requests that carry images: a form, JSON with base64, or one raw body."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.api.dependencies import Services
from service.api.openapi import FORM_TYPE, JSON_TYPE
from service.api.routing import load_json, refuse_constant, refuse_unknown
from service.api.shapes.base import JsonObject
from service.embedding.pipeline import EmbeddedImage, EmbedOptions
from service.errors import InputError, ServiceError, TooManyItems, UnsupportedFormat

M = TypeVar("M", bound=BaseModel)
_MAX_FIELDS = 32


class InvalidBody(Exception):
    """A body that does not validate; the response is like FastAPI's own 422."""

    def __init__(self, failures: list[Any]) -> None:
        super().__init__("the body does not validate")
        self.failures = failures


@dataclass(frozen=True, slots=True)
class Upload:
    """The files of one request, with the JSON beside them.

    Attributes:
        files: whole image files, in order.
        metadata: the decoded ``metadata`` part of a form, None without one.
        options: the decoded ``options`` part of a form, None without one.
        document: the decoded object of a JSON request, None otherwise.
        alone: the body was one raw image, so its error is the response to the request.
    """

    files: tuple[bytes, ...]
    metadata: Any = None
    options: Any = None
    document: JsonObject | None = None
    alone: bool = False


async def read_upload(request: Request, *, max_items: int) -> Upload:
    """Read the body in one of the ways that the route declares (``openapi.image_body``).

    Raises:
        InputError: an unreadable form or JSON, an unknown form part, or an empty body.
        UnsupportedFormat: one raw image where the route takes none.
        TooManyItems: more files than ``max_items``.
    """
    content = request.state.body_content
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM_TYPE:
        parts = content[FORM_TYPE]["schema"]["properties"]
        return await _read_form(request, max_items, frozenset(parts))
    if kind == JSON_TYPE:
        return Upload((), document=_object(await _parse(await _body(request))))
    if not content.keys() - {FORM_TYPE, JSON_TYPE}:
        raise UnsupportedFormat(f"expected {FORM_TYPE} or {JSON_TYPE}, got another content type")
    body = await _body(request)
    if not body:
        raise InputError("expected an image, got an empty body")
    return Upload((body,), alone=True)


def _object(document: Any) -> JsonObject:
    if not isinstance(document, dict):
        raise InputError("expected a JSON object")
    return document


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise InputError("the client hung up before the body was complete") from error


async def _read_form(request: Request, max_items: int, names: frozenset[str]) -> Upload:
    try:
        form = await request.form(max_files=max_items + 1, max_fields=_MAX_FIELDS)
    except ClientDisconnect as error:
        raise InputError("the client hung up before the body was complete") from error
    except HTTPException as error:
        if "Too many files" in str(error.detail):
            raise TooManyItems(f"expected at most {max_items} files") from error
        raise InputError(f"the form cannot be read: {error.detail}") from error
    try:
        refuse_unknown("form parts", form, names)
        return await _from_form(form, max_items)
    finally:
        await form.close()


async def _from_form(form: FormData, max_items: int) -> Upload:
    files: list[bytes] = []
    documents: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name != "files":
            text = await value.read() if isinstance(value, UploadFile) else value
            documents[name] = await _parse(text)
        elif isinstance(value, UploadFile):
            files.append(await value.read())
        else:
            raise InputError("expected every part of the name files to have a file name")
    if len(files) > max_items:
        raise TooManyItems(f"expected at most {max_items} files, got {len(files)}")
    if not files:
        raise InputError("expected at least one file in the form, got none")
    return Upload(tuple(files), **documents)


async def _parse(text: bytes | str) -> Any:
    try:
        return await load_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError("the JSON cannot be read") from error


def parse_json(text: bytes | str) -> Any:
    """Decode short JSON strictly (no NaN). Raises InputError."""
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError("the JSON cannot be read") from error


def validate(model: type[M], document: Any) -> M:
    """Check a decoded document against a schema. Raises InvalidBody."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InvalidBody(list(error.errors(include_input=False, include_url=False))) from error


def validate_list(model: type[M], document: Any, *, length: int) -> list[M]:
    """Check one object per file; no document means all defaults.

    Raises:
        InvalidBody: an object does not validate.
        InputError: another number of objects than files.
    """
    if document is None:
        return [model() for _ in range(length)]
    try:
        items: list[M] = TypeAdapter(list[model]).validate_python(document)  # type: ignore[valid-type]
    except ValidationError as error:
        raise InvalidBody(list(error.errors(include_input=False, include_url=False))) from error
    if len(items) != length:
        raise InputError(f"expected metadata for {length} files, got {len(items)} objects")
    return items


def image_files(images: Sequence[str], *, max_items: int) -> tuple[bytes | InputError, ...]:
    """Each base64 image, or the error of that one alone. Raises TooManyItems.

    Decodes up to ``max_upload_bytes``: call it on a thread.
    """
    if len(images) > max_items:
        raise TooManyItems(f"expected at most {max_items} images, got {len(images)}")
    return tuple(_file_or_error(image) for image in images)


def _file_or_error(text: str) -> bytes | InputError:
    try:
        return from_base64(text)
    except InputError as error:
        return error


def from_base64(text: str) -> bytes:
    """Decode standard base64; on a thread where it is long. Raises InputError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("expected standard base64 with padding") from error


async def embed_each(
    service: Services,
    files: Sequence[bytes | InputError],
    *,
    alone: bool = False,
    frames: str | None = None,
    region: str | None = None,
    with_thumbnail: bool = False,
    with_map: bool = False,
    with_png: bool = False,
) -> list[EmbeddedImage | ServiceError]:
    """Embed each file; one that could not even be read keeps its own error.

    Args:
        alone: the request is one raw image: its error is raised instead of returned.
        frames: which frames of a clip are used; None = the default of the settings.
        region: which part of a frame is used; None = the default of the settings.
    """
    results = await service.pipeline.embed_all(
        [file for file in files if isinstance(file, bytes)],
        EmbedOptions(with_thumbnail=with_thumbnail, with_map=with_map, with_png=with_png).choosing(
            frames, region
        ),
    )
    embedded = iter(results)
    items = [file if isinstance(file, InputError) else next(embedded) for file in files]
    if alone and isinstance(items[0], ServiceError):
        raise items[0]
    return items
