"""Typed client of the HTTP API."""

from service.client.client import ApiError, Client

__all__ = ["ApiError", "Client"]
