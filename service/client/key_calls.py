"""The client's calls about API keys."""

from collections.abc import Iterator, Sequence

from service.client.transport import JsonObject, Transport, part, without_none


class KeyCalls(Transport):
    """The part of ``Client`` that manages the keys of the workspace; it needs the scope admin."""

    def create_key(
        self,
        name: str,
        *,
        roles: Sequence[str] = (),
        scopes: Sequence[str] = (),
        expires_at: str | None = None,
    ) -> JsonObject:
        """POST /v1/keys: ``key`` and ``secret``, which no other answer shows."""
        body: JsonObject = {"name": name, "roles": list(roles), "scopes": list(scopes)}
        return self._json("POST", "/v1/keys", json=body | without_none({"expires_at": expires_at}))

    def list_keys(self) -> Iterator[JsonObject]:
        """GET /v1/keys, all pages, oldest first."""
        return self._pages("/v1/keys")

    def key(self, key_id: str) -> JsonObject:
        """GET /v1/keys/{key_id}."""
        return self._json("GET", f"/v1/keys/{part(key_id)}")

    def rotate_key(self, key_id: str, *, overlap_s: float = 86_400) -> JsonObject:
        """POST /v1/keys/{key_id}/rotate: the successor, as ``create_key``."""
        body = {"overlap_s": overlap_s}
        return self._json("POST", f"/v1/keys/{part(key_id)}/rotate", json=body)

    def revoke_key(self, key_id: str) -> JsonObject:
        """DELETE /v1/keys/{key_id}."""
        return self._json("DELETE", f"/v1/keys/{part(key_id)}")
