"""JSON as requests may send it: strict, each name once, and no larger than its readers can take.

Python's parser holds the interpreter's lock, and each list or object that it makes takes twenty
times the bytes of its text. So the text is measured before it is parsed.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from service.errors import InputError, TooManyItems

MAX_INLINE_BYTES = 1_000_000  # a longer text is parsed on a thread
MAX_CONTAINERS = 200_000  # lists and objects in one text
MAX_VALUES = 2_000_000  # such as the numbers of all vectors of a request
MAX_DEPTH = 64  # lists and objects in each other
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


async def load_json(text: bytes | str) -> Any:
    """``strict_json``, on a thread where the text is long."""
    if len(text) <= MAX_INLINE_BYTES:
        return strict_json(text)
    return await asyncio.to_thread(strict_json, text)


def strict_json(text: bytes | str) -> Any:
    """Decode JSON: UTF-8, without NaN, infinities and names that occur twice in an object.

    Raises:
        InputError: not such a JSON.
        TooManyItems: more values, lists or objects than a request may have.
    """
    if isinstance(text, bytes):
        try:
            text = text.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError("the JSON cannot be read: expected UTF-8 (RFC 8259)") from error
    if text.count("[") + text.count("{") > MAX_CONTAINERS:
        raise TooManyItems(f"expected JSON with at most {MAX_CONTAINERS} lists and objects")
    if text.count(",") > MAX_VALUES:
        raise TooManyItems(f"expected JSON with at most {MAX_VALUES} values")
    try:
        document = json.loads(
            text, parse_constant=_refuse_constant, object_pairs_hook=_object_of_pairs
        )
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError("the JSON cannot be read") from error
    level, depth = [document], 0
    while level := [node for node in level if isinstance(node, list | dict)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"expected JSON at most {MAX_DEPTH} deep, got deeper")
        level = [child for node in level for child in _children_of(node)]
    return document


def is_unicode(document: Any) -> bool:
    """Whether all text of a decoded document is: ``\\ud800`` is half of a character."""
    level = [document]
    while level:
        texts = [node for node in level if isinstance(node, str)]
        texts += [name for node in level if isinstance(node, dict) for name in node]
        try:
            "".join(texts).encode()
        except UnicodeEncodeError:
            return False
        level = [child for node in level for child in _children_of(node)]
    return True


def _children_of(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _refuse_constant(name: str) -> None:
    raise InputError(f"the JSON cannot be read: {name} is not JSON")


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python's parser alone would keep the last value of a name and lose the others."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise InputError("expected each name once in a JSON object, got one with two values")
    return document
