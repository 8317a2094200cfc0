"""Typed client of the HTTP API."""

from service.client.client import ApiError, Client
from service.client.machine_login import LoginFailed, MachineLogin

__all__ = ["ApiError", "Client", "LoginFailed", "MachineLogin"]
