"""The client's calls about signing keys, and exports with their signature."""

import base64
from collections.abc import Iterator

from sonoprobe_client.transport import JsonObject, Transport, part


class SigningCalls(Transport):
    """The part of ``PlainClient`` for signatures; changes of keys need the scope admin."""

    def signing_keys(self) -> Iterator[JsonObject]:
        """GET /v1/signing-keys, all pages, oldest first."""
        return self._pages("/v1/signing-keys")

    def signing_key(self, key_id: str) -> JsonObject:
        """GET /v1/signing-keys/{key_id}."""
        return self._json("GET", f"/v1/signing-keys/{part(key_id)}")

    def trust_signing_key(self, name: str, public_key: str) -> JsonObject:
        """POST /v1/signing-keys: trust what the owner of the key (PEM or base64) signs."""
        body = {"name": name, "public_key": public_key}
        return self._json("POST", "/v1/signing-keys", json=body)

    def rotate_signing_key(self) -> JsonObject:
        """POST /v1/signing-keys/rotate: the key that signs from now on."""
        return self._json("POST", "/v1/signing-keys/rotate")

    def distrust_signing_key(self, key_id: str) -> JsonObject:
        """DELETE /v1/signing-keys/{key_id}."""
        return self._json("DELETE", f"/v1/signing-keys/{part(key_id)}")

    def export_signed_onnx(
        self, name: str, *, version: int | str = "published"
    ) -> tuple[bytes, bytes]:
        """GET .../export as ONNX, and its Ed25519 signature (64 bytes)."""
        path = f"/v1/classifiers/{part(name)}/versions/{part(str(version))}/export"
        answer = self.request("GET", path, params={"format": "onnx"})
        return answer.content, base64.b64decode(answer.headers["Signature-Ed25519"])
