"""Requests that carry images: a form, JSON with base64, or one raw body."""

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from service.api.dependencies import Services
from service.api.openapi import FORM_TYPE, JSON_TYPE
from service.api.routing import refuse_twice, refuse_unknown
from service.api.shapes.base import JsonObject
from service.api.strict_json import MAX_INLINE_BYTES, load_json
from service.embedding.pipeline import EmbeddedImage, EmbedOptions
from service.errors import (
    InputError,
    ServiceError,
    TemporaryFolderFailure,
    TooManyItems,
    UnsupportedFormat,
)

M = TypeVar("M", bound=BaseModel)
_MAX_FIELDS = 32
_PER_IMAGE = ("images", "metadata", "queries", "scan_ids")  # lists with one entry per item
_INCOMPLETE = "the connection closed before the body was complete"
_BYTES_AS_TEXT = "latin-1"  # one character for each byte, and nothing fails


@dataclass(frozen=True, slots=True)
class Upload:
    """The files of a request, with the JSON beside them.

    Attributes:
        files: image files, in order.
        metadata: the decoded ``metadata`` part of a form, if it has one.
        options: the decoded ``options`` part of a form, if it has one.
        document: the decoded body of a JSON request.
        is_raw: the body is one raw image.
        is_long: the JSON is so long that its validation belongs on a thread.
    """

    files: tuple[bytes, ...]
    metadata: Any = None
    options: Any = None
    document: JsonObject | None = None
    is_raw: bool = False
    is_long: bool = False

    async def validated(self, model: type[M], document: Any) -> M:
        """Check a document of this request. Raises RequestValidationError."""
        if self.is_long:
            return await asyncio.to_thread(validate, model, document)
        return validate(model, document)


async def read_upload(request: Request, *, max_items: int) -> Upload:
    """Read the body in one of the ways that the route declares (``openapi.image_body``).

    Raises:
        InputError: an unreadable form or JSON, an unknown form part, or an empty body.
        UnsupportedFormat: one raw image where the route takes none.
        TooManyItems: more files, images, queries or scans than ``max_items``.
        TemporaryFolderFailure: a long part of a form cannot be kept while the others arrive.
    """
    content = request.state.body_content
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM_TYPE:
        parts = content[FORM_TYPE]["schema"]["properties"]
        return await _read_form(request, max_items, frozenset(parts))
    if kind == JSON_TYPE:
        body = await _body(request)
        document = await load_json(body)
        if not isinstance(document, dict):
            raise InputError("expected a JSON object")
        _refuse_too_many(document, max_items)
        return Upload((), document=document, is_long=len(body) > MAX_INLINE_BYTES)
    if not content.keys() - {FORM_TYPE, JSON_TYPE}:
        raise UnsupportedFormat(f"expected {FORM_TYPE} or {JSON_TYPE}, got another content type")
    body = await _body(request)
    if not body:
        raise InputError("expected an image, got an empty body")
    return Upload((body,), is_raw=True)


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise InputError(_INCOMPLETE) from error


async def _read_form(request: Request, max_items: int, names: frozenset[str]) -> Upload:
    try:
        return await _read_parts(request, max_items, names)
    except OSError as error:  # Starlette keeps long parts in temporary files
        raise TemporaryFolderFailure(
            "the folder for temporary files is full or cannot be written; nothing was stored"
        ) from error


class _WholeForm(MultiPartParser):
    """A form whose end was sent; the text of its parts stands for their bytes.

    Starlette decodes text in the charset that the sender names, where each codec of Python counts:
    some fail, some take minutes. What is no UTF-8 it reads as Latin-1, so that a name in another
    code page would be stored as another name.
    """

    def __init__(self, request: Request, *, max_files: int) -> None:
        _, said = parse_options_header(request.headers["content-type"])
        boundary = said.get(b"boundary", b"").decode(_BYTES_AS_TEXT)
        if not boundary or '"' in boundary or "\\" in boundary:  # no boundary has these: RFC 2046
            raise MultiPartException("Missing or invalid boundary.")
        kind = f'{FORM_TYPE}; boundary="{boundary}"; charset={_BYTES_AS_TEXT}'
        headers = Headers({"content-type": kind})
        stream = self._to_its_end(request.stream())
        super().__init__(headers, stream, max_files=max_files, max_fields=_MAX_FIELDS)
        self._is_whole = False

    def on_end(self) -> None:
        """The parser calls this at the last boundary."""
        self._is_whole = True

    async def _to_its_end(self, body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in body:
            yield chunk
        if not self._is_whole:  # raised here, where the parser closes the files that it has begun
            raise MultiPartException("It ends before its last boundary.")


async def _read_parts(request: Request, max_items: int, names: frozenset[str]) -> Upload:
    try:
        form = await _WholeForm(request, max_files=max_items + 1).parse()
    except ClientDisconnect as error:
        raise InputError(_INCOMPLETE) from error
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise TooManyItems(f"expected at most {max_items} files") from error
        raise InputError(f"the form cannot be read: {error.message}") from error
    try:
        sent = [name for name, _ in form.multi_items()]
        refuse_unknown("form parts", sent, names)
        refuse_twice("form parts", sent, frozenset({"files"}))
        return await _from_form(form, max_items)
    finally:
        await form.close()


async def _from_form(form: FormData, max_items: int) -> Upload:
    files: list[bytes] = []
    documents: dict[str, Any] = {}
    is_long = False
    for name, value in form.multi_items():
        if name != "files":
            text = value.encode(_BYTES_AS_TEXT) if isinstance(value, str) else await value.read()
            documents[name] = await load_json(text)
            is_long |= len(text) > MAX_INLINE_BYTES
        elif isinstance(value, UploadFile):
            files.append(await value.read())
        else:
            raise InputError("expected every part of the name files to have a file name")
    if len(files) > max_items:
        raise TooManyItems(f"expected at most {max_items} files, got {len(files)}")
    if not files:
        raise InputError("expected at least one file in the form, got none")
    _refuse_too_many(documents, max_items)
    return Upload(tuple(files), **documents, is_long=is_long)


def _refuse_too_many(document: JsonObject, max_items: int) -> None:
    """Count before anything looks at the items: each bad one would be an error of its own."""
    for name in _PER_IMAGE:
        items = document.get(name)
        if isinstance(items, list) and len(items) > max_items:
            raise TooManyItems(f"expected at most {max_items} {name}, got {len(items)}")


def validate(model: type[M], document: Any) -> M:
    """Check a decoded document against a schema. Raises RequestValidationError."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        failures = error.errors(include_input=False, include_url=False)
        raise RequestValidationError(failures) from error


def image_files(images: Sequence[str], *, max_items: int) -> tuple[bytes | InputError, ...]:
    """Each base64 image, or the error of that one alone. Raises TooManyItems.

    Decodes up to ``max_json_bytes``: call it on a thread.
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
    service: Services, files: Sequence[bytes | InputError], options: EmbedOptions
) -> list[EmbeddedImage | ServiceError]:
    """Embed each file; one that could not be decoded from base64 keeps its own error."""
    images = [file for file in files if isinstance(file, bytes)]
    embedded = iter(await service.pipeline.embed_all(images, options))
    return [file if isinstance(file, InputError) else next(embedded) for file in files]
