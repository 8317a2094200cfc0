"""The searches of the client; ``service.client.client.Client`` has them."""

from collections.abc import Sequence
from typing import Any

from service.client.request_parts import JsonObject, files, options, part


class SearchCalls:
    """Part of ``Client``."""

    def _json(self, method: str, path: str, **request: Any) -> JsonObject:
        raise NotImplementedError

    def search(self, collection: str, query: JsonObject) -> JsonObject:
        """POST .../search by ``scan_id``, ``vector`` or ``positive`` and ``negative``."""
        return self._json("POST", f"/v1/collections/{part(collection)}/search", json=query)

    def search_image(
        self, collection: str, image: bytes, chosen: JsonObject | None = None
    ) -> JsonObject:
        """POST .../search by an uploaded image; ``chosen`` are its options."""
        path = f"/v1/collections/{part(collection)}/search"
        return self._json("POST", path, files=files([image]), data=options(chosen))

    def search_many(self, collections: Sequence[str], queries: Sequence[JsonObject]) -> JsonObject:
        """POST /v1/search with ``queries``: one item each, ``items`` or ``problem``."""
        body = {"collections": list(collections), "queries": list(queries)}
        return self._json("POST", "/v1/search", json=body)

    def search_across(self, collections: Sequence[str], query: JsonObject) -> JsonObject:
        """POST /v1/search: several collections as if they were one."""
        return self._json("POST", "/v1/search", json={"collections": list(collections), **query})

    def search_images(
        self, collections: Sequence[str], images: Sequence[bytes], chosen: JsonObject | None = None
    ) -> JsonObject:
        """POST /v1/search by uploaded images, which are positive examples of one query."""
        form = options({"collections": list(collections), **(chosen or {})})
        return self._json("POST", "/v1/search", files=files(images), data=form)
