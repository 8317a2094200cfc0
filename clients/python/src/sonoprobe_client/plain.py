"""A client whose answers are the JSON of the service as dictionaries, as in release 0.1.0."""

from typing import Any, ClassVar, Self

from sonoprobe_client.answer import Answer
from sonoprobe_client.requests import JsonObject
from sonoprobe_client.synchronous.client import Client


class _Untyped(Client):
    """A client that reads nothing into the answers. Its annotations are wrong."""

    _is_plain: ClassVar[bool] = True

    def _read(self, model: type[Answer], document: JsonObject) -> Any:
        return document

    def scans(self, collection: str, **options: Any) -> Any:
        """As in 0.1.0, with ``fields`` too."""
        if fields := options.pop("fields", ()):
            return self.scan_parts(collection, fields, **options)
        return super().scans(collection, **options)


class PlainClient:
    """Has the methods of ``Client``, with dictionaries as answers.

    Each call is one request, which is sent once: nothing is repeated or split, and errors of httpx
    are raised as they are. For programs of release 0.1.0, and for tests of the service.

    Args:
        options: as of ``Client``.
    """

    def __init__(self, base_url: str, **options: Any) -> None:
        self._client = _Untyped(base_url, **({"retries": 0} | options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()
