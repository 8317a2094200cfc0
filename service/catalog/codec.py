"""One codec between records and their storage: rows, JSON objects and Parquet columns.

The fields of a record (a frozen dataclass) are declared once and define the columns:

- text, numbers, booleans and bytes have a column each, nullable if the field is optional;
- a mapping or a tuple is a column of JSON text;
- a nested record adds its columns to the same row, and is a nested object in JSON;
- arrays, and collections of records, have no column: the caller passes them in.

Input is checked (InputError). Stored values that we cannot have written are damage: a ValueError
from JSON and Parquet, for the caller to translate; a CatalogFailure from columns of JSON text.
No message quotes a value.

Shape suffixes: D embedding width.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, lru_cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints_of

import numpy as np
import numpy.typing as npt

from service.catalog.plain_text import require_name
from service.catalog.records import Scalar
from service.catalog.validation import require_scalar
from service.errors import CatalogFailure, InputError

T = TypeVar("T")
Decode: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the field of a record declares it.

    Attributes:
        kind: str, int, float, bool or bytes; dict and list stand for JSON text.
        decode: checks a stored value and returns the value of the field. Raises ValueError.
        plain: values of exactly this type need no decoding; None = all do.
    """

    name: str
    kind: type
    decode: Decode
    plain: type | None

    @property
    def is_json(self) -> bool:
        """Whether the column holds JSON text."""
        return self.kind in (dict, list)


Plan: TypeAlias = tuple[tuple[str, Column | type], ...]
SHORT_LIST = 500  # characters of JSON that are kept decoded
_PLANS: dict[type, Plan] = {}
_PLAIN: tuple[Any, ...] = (str, int, float, bytes, str | None, int | None, float | None)

# records and columns -------------------------------------------------------------------------


@cache
def columns(record: type) -> tuple[Column, ...]:
    """The columns of a record, including those of nested records."""
    flat: list[Column] = []
    for _, part in _plan(record):
        flat += [part] if isinstance(part, Column) else columns(part)
    return tuple(flat)


def to_columns(record: Any) -> dict[str, Any]:
    """Column name -> value. Raises InputError: a value cannot be JSON."""
    values: dict[str, Any] = {}
    for name, part in _plan(type(record)):
        value = getattr(record, name)
        if not isinstance(part, Column):
            values |= to_columns(value)
        else:
            values[name] = encode_json(value) if part.is_json and value is not None else value
    return values


def from_columns(record: type[T], row: Any, **values: Any) -> T:
    """The record of a row (columns by name); ``values`` are fields that the row does not have.

    Raises:
        ValueError: a value does not have the type of its field.
        CatalogFailure: a column of JSON text does not parse.
    """
    name = ""
    try:
        for name, part in _plan(record):
            if name in values:
                continue
            if isinstance(part, Column):
                value = row[name]
                # Most values have the right type already, and decoding each would take long.
                values[name] = value if type(value) is part.plain else part.decode(value)
            else:
                values[name] = from_columns(part, row)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return record(**values)


def _plan(record: type) -> Plan:
    """The fields that are a column or a nested record."""
    if record not in _PLANS:
        hints = hints_of(record)
        parts = [(field.name, _part(field.name, hints[field.name])) for field in fields(record)]
        _PLANS[record] = tuple((name, part) for name, part in parts if part is not None)
    return _PLANS[record]


def _part(name: str, hint: Any) -> Column | type | None:
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    kind = _kind(hint)
    if kind is None:
        return None
    decode = _decode_of(hint)
    if kind in (dict, list):
        decode = _parsed(kind, is_optional=NoneType in get_args(hint))
    return Column(name, kind, decode, kind if hint in _PLAIN else None)


def _kind(hint: Any) -> type | None:
    """The kind of the column for a type; None when it has no column."""
    if get_origin(hint) in (Union, UnionType):
        (inner, *others) = [arg for arg in get_args(hint) if arg is not NoneType]
        return None if others else _kind(inner)
    if get_origin(hint) is Literal:
        return str
    if get_origin(hint) is tuple:
        item, *end = get_args(hint)
        return list if item is str and end == [Ellipsis] else None
    if get_origin(hint) in (dict, Mapping):
        return None if is_dataclass(get_args(hint)[1]) else dict
    return hint if hint in (str, int, float, bool, bytes) else None


def _parsed(kind: type, *, is_optional: bool) -> Decode:
    """Parses JSON text, whose values were checked when they were stored."""

    def run(text: Any) -> Any:
        if text is None and is_optional:
            return None
        if kind is list:
            return _short_list(text) if len(text) <= SHORT_LIST else tuple(decode_json(text, list))
        return decode_json(text, kind)

    return run


@lru_cache(maxsize=1000)  # each request reads the rights of its key, and keys have few kinds
def _short_list(text: str) -> tuple[Any, ...]:
    return tuple(decode_json(text, list))


# JSON ----------------------------------------------------------------------------------------


def encode_json(value: object) -> str:
    """JSON text with sorted keys.

    Raises:
        InputError: a value is NaN or not a JSON value, or text is not valid Unicode.
    """
    try:
        # Not ASCII-escaped: databases then compare the characters themselves.
        text = json.dumps(
            value, ensure_ascii=False, sort_keys=True, allow_nan=False, default=_plain
        )
        text.encode()  # here, so that every engine refuses a lone surrogate at the same point
        return text
    except (TypeError, ValueError) as error:
        raise InputError("a stored object must hold only finite JSON values") from error


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def plain_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels in their stored form. Raises InputError: ``require_name`` refuses one."""
    plain = {
        require_name(name, "a label name"): require_name(value, "a label value")
        for name, value in labels.items()
    }
    if len(plain) < len(labels):
        raise InputError("two label names are the same text")
    return plain


def plain_attributes(attributes: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The attributes in their stored form. Raises InputError: not scalars, NaN, over 64 bits."""
    plain = {
        require_name(name, "an attribute name"): require_scalar(value)
        for name, value in attributes.items()
    }
    if len(plain) < len(attributes):
        raise InputError("two attribute names are the same text")
    return plain


def decode_json(text: str, expected: type[T]) -> T:
    """Parse a JSON column. Raises CatalogFailure: damaged, or not of the expected type."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError) as error:
        raise CatalogFailure("a stored JSON column does not parse") from error
    if not isinstance(value, expected):
        raise CatalogFailure(
            f"a stored JSON column holds {type(value).__name__}, expected {expected.__name__}"
        )
    return value


def from_json(record: type[T], value: object) -> T:
    """The record of a parsed JSON object, as ``dataclasses.asdict`` wrote it.

    Raises:
        ValueError: not an object, or a field is unknown, missing, or of another type.
    """
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {type(value).__name__}")
    hints = hints_of(record)
    unknown = len(value.keys() - hints.keys())
    if unknown:
        raise ValueError(f"{unknown} unknown fields in {record.__name__}")
    values: dict[str, Any] = {}
    for name, inner in value.items():
        try:
            values[name] = _decode_of(hints[name])(inner)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    try:
        return record(**values)
    except TypeError as error:
        raise ValueError(f"fields of {record.__name__} are missing") from error


@cache
def _decode_of(hint: Any) -> Decode:
    """A function that checks a parsed value against a type and raises ValueError."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda value: value
    if origin in (Union, UnionType):
        kinds = [arg for arg in args if arg is not NoneType]
        inner = _decode_of(kinds[0]) if len(kinds) == 1 else _checked(*kinds)
        return (lambda v: None if v is None else inner(v)) if len(kinds) < len(args) else inner
    if origin is Literal:
        return _chosen(args)
    if origin in (dict, Mapping):
        if args[1] is Any:
            return _checked(dict)
        entry = _decode_of(args[1])
        return lambda value: {name: entry(v) for name, v in _checked(dict)(value).items()}
    if origin is tuple:
        item = _decode_of(args[0])
        return lambda value: tuple(item(v) for v in _checked(list)(value))
    if is_dataclass(hint):
        return lambda value: from_json(hint, value)  # type: ignore[arg-type]
    if hint is float:
        return lambda value: float(_checked(int, float)(value))
    return _flag if hint is bool else _checked(hint)


def _checked(*kinds: type) -> Decode:
    expected = " or ".join(kind.__name__ for kind in kinds)

    def run(value: Any) -> Any:
        if type(value) not in kinds:
            raise ValueError(f"expected {expected}, got {type(value).__name__}")
        return value

    return run


def _flag(value: Any) -> bool:
    if value is True or value is False or (type(value) is int and value in (0, 1)):
        return bool(value)
    raise ValueError(f"expected a boolean, got {type(value).__name__}")


def _chosen(words: Sequence[str]) -> Decode:
    def run(value: Any) -> Any:
        if value not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return value

    return run


# vectors -------------------------------------------------------------------------------------


def encode_vector(embedding_D: npt.NDArray[np.float32], dim: int) -> bytes:
    """Little-endian float32, 4 * dim bytes. Raises InputError: wrong dtype or shape, not finite."""
    if embedding_D.dtype != np.float32 or embedding_D.shape != (dim,):
        raise InputError(
            f"an embedding must be float32 of shape ({dim},), "
            f"got {embedding_D.dtype} of shape {embedding_D.shape}"
        )
    if not np.isfinite(embedding_D).all():
        raise InputError("an embedding must be finite")
    return embedding_D.astype("<f4").tobytes()


def decode_vector(blob: object, dim: int) -> npt.NDArray[np.float32]:
    """embedding_D, float32 (dim,), read only. Raises CatalogFailure: missing, or wrong length."""
    if not isinstance(blob, bytes) or len(blob) != 4 * dim:
        size = f"{len(blob)} bytes" if isinstance(blob, bytes) else "nothing"
        raise CatalogFailure(f"a stored vector has {size}, expected {4 * dim} bytes")
    return np.frombuffer(blob, "<f4").astype(np.float32, copy=False)


STORED_VIEWS = 7  # of an upload of a fit with views; the first is its embedding


def frame_part(blob: bytes, dim: int) -> bytes:
    """The embedding of an upload, without those of its views where they are stored behind it."""
    return blob[: 4 * dim] if len(blob) == 4 * STORED_VIEWS * dim else blob


def views_part(blob: bytes, dim: int) -> npt.NDArray[np.float32] | None:
    """The embeddings of all views of an upload, float32 (7, dim); None where none are stored."""
    if len(blob) != 4 * STORED_VIEWS * dim:
        return None
    return decode_vector(blob, STORED_VIEWS * dim).reshape(STORED_VIEWS, dim)


def decode_vectors(blobs: Sequence[object], dim: int) -> npt.NDArray[np.float32]:
    """float32 (N, dim) of many blobs. Raises CatalogFailure as ``decode_vector``."""
    try:
        widths, joined = set(map(len, blobs)), b"".join(blobs)  # type: ignore[arg-type]
    except TypeError:
        widths, joined = {-1}, b""
    if widths - {4 * dim}:
        for blob in blobs:
            decode_vector(blob, dim)
    joined_ND = np.frombuffer(joined, "<f4").reshape(len(blobs), dim)
    return joined_ND.astype(np.float32, copy=False)
