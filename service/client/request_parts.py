"""Parts of requests that the client sends."""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias
from urllib.parse import quote

JsonObject: TypeAlias = dict[str, Any]


def files(images: Sequence[bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """Form parts under neutral names: a file name may name a patient."""
    return [("files", (f"image-{index}", data)) for index, data in enumerate(images)]


def part(text: str) -> str:
    """One step of a path: ids of others may hold any character."""
    return quote(text, safe="")


def metadata(document: Any) -> dict[str, str]:
    """The JSON part of a form; nothing for None."""
    return {} if document is None else {"metadata": json.dumps(document)}


def options(document: Any) -> dict[str, str]:
    """The JSON part of a form that says what is wanted."""
    return {"options": json.dumps(document)}


def once(key: str | None) -> dict[str, str]:
    """The header by which a repetition gets the first answer."""
    return {} if key is None else {"Idempotency-Key": key}


def match(etag: str | None) -> dict[str, str]:
    """The header that refuses to act on an outdated view."""
    return {} if etag is None else {"If-Match": etag}


def given(**params: Any) -> JsonObject:
    """Those query parameters that are not None."""
    return {name: value for name, value in params.items() if value is not None}
