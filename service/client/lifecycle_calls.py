"""The part of the client that is about the life of data: counts, erasure, long work, moves."""

import time
from collections.abc import Iterator
from typing import Any, TypeAlias
from urllib.parse import quote

JsonObject: TypeAlias = dict[str, Any]


class LifeCalls:
    """One method per route; ``Client`` has them all."""

    def _json(self, method: str, path: str, **options: Any) -> JsonObject:
        raise NotImplementedError

    def _pages(self, path: str, params: JsonObject) -> Iterator[JsonObject]:
        raise NotImplementedError

    def patch_collection(
        self, name: str, changes: JsonObject, *, if_match: str | None = None
    ) -> JsonObject:
        """PATCH /v1/collections/{name}: ``description``, ``keep_images``, ``retention_days``."""
        path = f"/v1/collections/{_part(name)}"
        headers = {} if if_match is None else {"If-Match": if_match}
        return self._json("PATCH", path, json=changes, headers=headers)

    def facets(self, collection: str, asked: JsonObject | None = None) -> JsonObject:
        """POST .../facets: counts over a ``filter``, by ``labels`` and ``attributes``."""
        return self._json("POST", f"/v1/collections/{_part(collection)}/facets", json=asked or {})

    def move(self, collection: str, action: str = "start") -> JsonObject:
        """POST .../move to the loaded encoder: ``start``, ``confirm`` or ``take_back``."""
        path = f"/v1/collections/{_part(collection)}/move"
        return self._json("POST", path, json={"action": action})

    def move_state(self, collection: str) -> JsonObject:
        """GET .../move."""
        return self._json("GET", f"/v1/collections/{_part(collection)}/move")

    def export_collection(self, collection: str, to: str) -> JsonObject:
        """POST .../export into the service's folder of exports; an operation to ``wait`` for."""
        path = f"/v1/collections/{_part(collection)}/export"
        return self._json("POST", path, json={"to": to})

    def import_collection(self, collection: str, source: str) -> JsonObject:
        """POST .../import from the service's folder of exports; an operation to ``wait`` for."""
        path = f"/v1/collections/{_part(collection)}/import"
        return self._json("POST", path, json={"from": source})

    # operations ---------------------------------------------------------------------------

    def operations(self) -> Iterator[JsonObject]:
        """GET /v1/operations, all pages, newest first."""
        return self._pages("/v1/operations", {})

    def operation(self, operation_id: str) -> JsonObject:
        """GET /v1/operations/{operation_id}."""
        return self._json("GET", f"/v1/operations/{_part(operation_id)}")

    def cancel(self, operation_id: str) -> JsonObject:
        """DELETE /v1/operations/{operation_id}."""
        return self._json("DELETE", f"/v1/operations/{_part(operation_id)}")

    def wait(
        self, operation_id: str, *, timeout_s: float = 3600, poll_s: float = 0.2
    ) -> JsonObject:
        """Poll until the operation has ended, however it did.

        Raises:
            TimeoutError: it has not.
        """
        deadline = time.monotonic() + timeout_s
        while (found := self.operation(operation_id))["state"] in ("waiting", "running"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the operation is still {found['state']}")
            time.sleep(poll_s)
        return found

    def erase_study(self, study_id: str, *, refit: bool = False) -> JsonObject:
        """DELETE /v1/studies/{study_id}; returns the receipt."""
        return self._json("DELETE", f"/v1/studies/{_part(study_id)}", params={"refit": refit})


def _part(text: str) -> str:
    return quote(text, safe="")
