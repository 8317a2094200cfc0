"""Client of the HTTP API of Sonoprobe."""

from sonoprobe_client.asynchronous.client import AsyncClient
from sonoprobe_client.images import Image
from sonoprobe_client.machine_login import MachineLogin
from sonoprobe_client.outcomes import outcome_of
from sonoprobe_client.plain import PlainClient
from sonoprobe_client.problems import (
    ApiError,
    Busy,
    ChangedSince,
    Conflict,
    Forbidden,
    ItemsError,
    LoginFailed,
    NoAnswer,
    NotFound,
    NotSignedIn,
    OperationFailed,
    Refused,
    ServiceFailed,
    SonoprobeError,
)
from sonoprobe_client.streams import AsyncFrameStream, FrameStream, StreamClosed
from sonoprobe_client.synchronous.client import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncFrameStream",
    "Busy",
    "ChangedSince",
    "Client",
    "Conflict",
    "Forbidden",
    "FrameStream",
    "Image",
    "ItemsError",
    "LoginFailed",
    "MachineLogin",
    "NoAnswer",
    "NotFound",
    "NotSignedIn",
    "OperationFailed",
    "PlainClient",
    "Refused",
    "ServiceFailed",
    "SonoprobeError",
    "StreamClosed",
    "outcome_of",
]
