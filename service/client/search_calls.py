"""The searches of the client beyond a single one; ``service.client.client.Client`` has them."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

JsonObject = dict[str, Any]


class SearchCalls:
    """Part of ``Client``."""

    def _json(self, method: str, path: str, **options: Any) -> JsonObject:
        raise NotImplementedError

    def index(self, collection: str) -> JsonObject:
        """GET .../index: exact or approximate, and the recall that was measured."""
        return self._json("GET", f"/v1/collections/{quote(collection, safe='')}/index")

    def search_many(self, collection: str, queries: Sequence[JsonObject]) -> JsonObject:
        """POST .../searches: one item per query, each with ``hits`` or ``problem``."""
        path = f"/v1/collections/{quote(collection, safe='')}/searches"
        return self._json("POST", path, json={"queries": list(queries)})

    def search_across(self, collections: Sequence[str], body: JsonObject) -> JsonObject:
        """POST /v1/search: several collections as if they were one."""
        return self._json("POST", "/v1/search", json={"collections": list(collections), **body})
