"""The client's calls about API keys."""

from collections.abc import Iterator, Sequence

from sonoprobe_client.transport import JsonObject, Transport, part, without_none


class KeyCalls(Transport):
    """The part that manages the keys of the workspace; it needs the scope admin."""

    def create_key(
        self,
        name: str,
        *,
        roles: Sequence[str] = (),
        scopes: Sequence[str] = (),
        expires_at: str | None = None,
        collections: Sequence[str] | None = None,
        classifiers: Sequence[str] | None = None,
    ) -> JsonObject:
        """POST /v1/keys: ``key`` and ``secret``, which no other answer shows.

        Args:
            collections, classifiers: the names that the key may name, such as ``ward`` or
                ``study-*``; None = all.
        """
        body: JsonObject = {"name": name, "roles": list(roles), "scopes": list(scopes)}
        body |= without_none(
            {
                "expires_at": expires_at,
                "collections": None if collections is None else list(collections),
                "classifiers": None if classifiers is None else list(classifiers),
            }
        )
        return self._json("POST", "/v1/keys", json=body)

    # workspaces, for keys with the scope service.admin ------------------------------------------

    def create_workspace(self, name: str) -> JsonObject:
        """POST /v1/workspaces: ``workspace``, ``key`` and ``secret`` of its administrator."""
        return self._json("POST", "/v1/workspaces", json={"name": name})

    def list_workspaces(self) -> Iterator[JsonObject]:
        """GET /v1/workspaces, all pages, oldest first."""
        return self._pages("/v1/workspaces")

    def workspace(self, name: str) -> JsonObject:
        """GET /v1/workspaces/{workspace}: with how much is in it."""
        return self._json("GET", f"/v1/workspaces/{part(name)}")

    def suspend_workspace(self, name: str) -> JsonObject:
        """POST /v1/workspaces/{workspace}/suspend."""
        return self._json("POST", f"/v1/workspaces/{part(name)}/suspend")

    def resume_workspace(self, name: str) -> JsonObject:
        """POST /v1/workspaces/{workspace}/resume."""
        return self._json("POST", f"/v1/workspaces/{part(name)}/resume")

    def delete_workspace(self, name: str) -> JsonObject:
        """DELETE /v1/workspaces/{workspace}: the operation, whose result is the receipt."""
        return self._json("DELETE", f"/v1/workspaces/{part(name)}")

    # keys ---------------------------------------------------------------------------------------

    def list_keys(self) -> Iterator[JsonObject]:
        """GET /v1/keys, all pages, oldest first."""
        return self._pages("/v1/keys")

    def key(self, key_id: str) -> JsonObject:
        """GET /v1/keys/{key_id}."""
        return self._json("GET", f"/v1/keys/{part(key_id)}")

    def rotate_key(
        self, key_id: str, *, overlap_s: float = 86_400, expires_at: str | None = None
    ) -> JsonObject:
        """POST /v1/keys/{key_id}/rotate: the successor, as ``create_key``.

        Args:
            expires_at: of the successor; None = as the old key.
        """
        body = {"overlap_s": overlap_s} | without_none({"expires_at": expires_at})
        return self._json("POST", f"/v1/keys/{part(key_id)}/rotate", json=body)

    def revoke_key(self, key_id: str) -> JsonObject:
        """DELETE /v1/keys/{key_id}."""
        return self._json("DELETE", f"/v1/keys/{part(key_id)}")
