"""Plain JSON values -> frozen dataclasses, checked against their annotations."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from service.errors import InputError

T = TypeVar("T")


def from_json(kind: type[T], document: Any) -> T:
    """The dataclass that ``dataclasses.asdict`` made ``document`` of.

    Raises:
        InputError: unknown or missing fields, or a value of another type.
    """
    value: T = _read(kind, document, kind.__name__)
    return value


def _read(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _read_union(arguments, value, where)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return _read_tuple(arguments, value, where)
    if origin is Mapping and isinstance(value, dict):
        return {key: _read(arguments[1], item, where) for key, item in value.items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise InputError(f"{where}: expected {kind}, got {type(value).__name__}")


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, got {type(value).__name__}")
    known = {field.name: field for field in fields(kind)}
    if unknown := sorted(value.keys() - known.keys()):
        raise InputError(f"{where}: unknown fields {unknown}")
    required = {
        name
        for name, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING
    }
    if missing := sorted(required - value.keys()):
        raise InputError(f"{where}: missing fields {missing}")
    hints = get_type_hints(kind)
    return kind(
        **{name: _read(hints[name], item, f"{where}.{name}") for name, item in value.items()}
    )


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    for kind in kinds:
        try:
            return _read(kind, value, where)
        except InputError:
            continue
    raise InputError(f"{where}: expected one of {kinds}, got {type(value).__name__}")


def _read_tuple(kinds: tuple[Any, ...], values: Any, where: str) -> tuple[Any, ...]:
    if kinds[1:] == (...,):
        return tuple(_read(kinds[0], value, where) for value in values)
    if len(kinds) != len(values):
        raise InputError(f"{where}: expected {len(kinds)} values, got {len(values)}")
    return tuple(_read(kind, value, where) for kind, value in zip(kinds, values, strict=True))
