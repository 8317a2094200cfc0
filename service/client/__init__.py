"""The client moved to ``sonoprobe_client``; programs written for 0.1.0 find it here for a while."""

import warnings
from typing import Any

import sonoprobe_client

_MOVED = {"ApiError": "ApiError", "Client": "PlainClient", "LoginFailed": "LoginFailed"}
_MOVED |= {"MachineLogin": "MachineLogin"}

__all__ = ["ApiError", "Client", "LoginFailed", "MachineLogin"]


def __getattr__(name: str) -> Any:
    """What ``service.client`` held in 0.1.0, with a warning."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    moved = f"sonoprobe_client.{_MOVED[name]}"
    warnings.warn(f"service.client.{name} is {moved} now", DeprecationWarning, stacklevel=2)
    return getattr(sonoprobe_client, _MOVED[name])
