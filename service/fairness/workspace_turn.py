"""For which workspace the running code works, so that queues can share among workspaces.

A context variable, because every layer between the API key and a queue would otherwise pass the
workspace on: a call site that forgot it would still run and be unfair without a word. It is set in
two places: where a caller is authenticated, and where an operation begins.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SERVICE = ""  # work of the service itself
_workspace_id: ContextVar[str] = ContextVar("workspace_id", default=SERVICE)


def current_workspace() -> str:
    """The id of the workspace; ``SERVICE`` where nobody is named."""
    return _workspace_id.get()


@contextmanager
def working_for(workspace_id: str) -> Iterator[None]:
    """Name the workspace for the block and for the tasks that it starts."""
    token = _workspace_id.set(workspace_id)
    try:
        yield
    finally:
        _workspace_id.reset(token)
