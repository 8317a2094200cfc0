"""Client of the HTTP API of Sonoprobe."""

from sonoprobe_client.classifier_calls import outcome_of
from sonoprobe_client.machine_login import LoginFailed, MachineLogin
from sonoprobe_client.plain import PlainClient
from sonoprobe_client.transport import ApiError

__all__ = ["ApiError", "LoginFailed", "MachineLogin", "PlainClient", "outcome_of"]
