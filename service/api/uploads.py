"""Requests that carry images: multipart form, JSON with base64, or one raw body."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.api.schemas import InstancesBody, JsonObject
from service.errors import InputError, TooManyItems

M = TypeVar("M", bound=BaseModel)
_MAX_FIELDS = 32


class InvalidBody(Exception):
    """A body that does not validate; answered like FastAPI's own 422."""

    def __init__(self, found: list[Any]) -> None:
        super().__init__("the body does not validate")
        self.found = found


@dataclass(frozen=True, slots=True)
class Upload:
    """Files of one request, with the JSON that came beside them.

    Attributes:
        files: whole image files, in order.
        metadata: the decoded ``metadata`` part of a form, None without one.
        options: the decoded ``options`` part, None without one.
        fields: other text fields of a form; empty otherwise.
        document: the decoded object of a JSON request, None otherwise.
        alone: the body was one raw image, so its error is the answer of the request.
    """

    files: tuple[bytes, ...]
    metadata: Any = None
    options: Any = None
    fields: dict[str, str] = field(default_factory=dict)
    document: JsonObject | None = None
    alone: bool = False


async def read_upload(request: Request, *, max_items: int) -> Upload:
    """Read files and metadata; JSON bodies come back undecoded in ``document``.

    Raises:
        InputError: an unreadable form or JSON, or an empty body.
        TooManyItems: more files than ``max_items``.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request, max_items)
    body = await _body(request)
    if kind == "application/json":
        return Upload((), document=_object(parse_json(body)))
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


async def _read_form(request: Request, max_items: int) -> Upload:
    try:
        form = await request.form(max_files=max_items + 1, max_fields=_MAX_FIELDS)
    except ClientDisconnect as error:
        raise InputError("the client hung up before the body was complete") from error
    except HTTPException as error:
        if "Too many files" in str(error.detail):
            raise TooManyItems(f"expected at most {max_items} files") from error
        raise InputError(f"the form cannot be read: {error.detail}") from error
    try:
        return await _from_form(form, max_items)
    finally:
        await form.close()


async def _from_form(form: FormData, max_items: int) -> Upload:
    files: list[bytes] = []
    fields: dict[str, str] = {}
    parts: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in ("metadata", "options"):
            text = await value.read() if isinstance(value, UploadFile) else value
            parts[name] = parse_json(text)
        elif isinstance(value, UploadFile):
            files.append(await value.read())
        else:
            fields[name] = value
    if len(files) > max_items:
        raise TooManyItems(f"expected at most {max_items} files, got {len(files)}")
    if not files:
        raise InputError("expected at least one file in the form, got none")
    return Upload(tuple(files), parts.get("metadata"), parts.get("options"), fields)


def parse_json(text: bytes | str) -> Any:
    """Decode JSON strictly (no NaN). Raises InputError."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError("the JSON cannot be read") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


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


def instance_files(body: InstancesBody, *, max_items: int) -> tuple[bytes | InputError, ...]:
    """The image of each instance, or the error of that one alone. Raises TooManyItems."""
    return image_files([instance.image for instance in body.instances], max_items=max_items)


def image_files(images: Sequence[str], *, max_items: int) -> tuple[bytes | InputError, ...]:
    """Each base64 image, or the error of that one alone. Raises TooManyItems."""
    if len(images) > max_items:
        raise TooManyItems(f"expected at most {max_items} images, got {len(images)}")
    return tuple(_file_or_error(image) for image in images)


def _file_or_error(text: str) -> bytes | InputError:
    try:
        return from_base64(text)
    except InputError as error:
        return error


def from_base64(text: str) -> bytes:
    """Decode standard base64. Raises InputError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("expected standard base64 with padding") from error
