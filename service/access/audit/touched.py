"""What a request concerned beyond its address, noted where it becomes known."""

from collections.abc import Iterable
from contextvars import ContextVar, Token

Names = dict[str, list[str]]
_names: ContextVar[Names | None] = ContextVar("touched", default=None)


def start_noting(names: Names) -> Token[Names | None]:
    """Let ``touched`` note into ``names`` in this context and those that are copied from it."""
    return _names.set(names)


def stop_noting(token: Token[Names | None]) -> None:
    """Undo ``start_noting``."""
    _names.reset(token)


def touched(kind: str, names: Iterable[str | None]) -> None:
    """Note for the audit log that the request concerns these, such as ``scan`` ids."""
    noted = _names.get()
    if noted is None:
        return
    of_kind = noted.setdefault(kind, [])
    for name in names:
        if name is not None and name not in of_kind:
            of_kind.append(name)
