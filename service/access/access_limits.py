"""The limits of keys and workspaces: their names, and which of several holds."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from service.errors import InputError

# Name -> the greatest allowed value. What is not named is not limited.
Limits: TypeAlias = Mapping[str, float]

RATES = ("requests_per_minute", "images_per_minute", "decode_s_per_minute")
STORED = ("stored_bytes", "scans", "collections", "classifiers")
MAX_LIMIT = 1e15


def limits_of(document: Mapping[str, Any], names: Iterable[str], where: str) -> dict[str, float]:
    """Limits of a document; null leaves one out.

    Raises:
        InputError: a name is not one of ``names``, or a value is not a positive number; ``where``
            names the document.
    """
    known = tuple(names)
    if not set(document) <= set(known):
        raise InputError(f"{where}: expected only {', '.join(known)}")
    limits = {name: value for name, value in document.items() if value is not None}
    for name, value in limits.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{where}: expected {name} to be a number")
        if not 0 < value <= MAX_LIMIT:
            raise InputError(f"{where}: expected {name} above 0 and at most {MAX_LIMIT:g}")
    return {name: float(value) for name, value in limits.items()}


def strictest(*all_limits: Limits) -> dict[str, float]:
    """The lowest of each limit."""
    lowest: dict[str, float] = {}
    for limits in all_limits:
        for name, value in limits.items():
            lowest[name] = min(value, lowest.get(name, value))
    return lowest
