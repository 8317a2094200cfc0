"""A client whose answers are plain dictionaries: one method per route."""

import time
from collections.abc import Iterator, Sequence

from sonoprobe_client.audit_calls import AuditCalls
from sonoprobe_client.classifier_calls import ClassifierCalls
from sonoprobe_client.collection_calls import CollectionCalls
from sonoprobe_client.key_calls import KeyCalls
from sonoprobe_client.policy_calls import PolicyCalls
from sonoprobe_client.signing_calls import SigningCalls
from sonoprobe_client.transport import ApiError as ApiError
from sonoprobe_client.transport import JsonObject, files, part, without_none


class PlainClient(
    CollectionCalls, ClassifierCalls, KeyCalls, SigningCalls, PolicyCalls, AuditCalls
):
    """Talks to one service with one API key, or with a ``MachineLogin`` as ``login``.

    Use it as a context manager.
    """

    def live(self) -> JsonObject:
        """GET /health/live."""
        return self._json("GET", "/health/live")

    def ready(self) -> JsonObject:
        """GET /health/ready; ApiError 503 while the service is not ready."""
        return self._json("GET", "/health/ready")

    def metrics(self) -> str:
        """GET /metrics, Prometheus text."""
        return self.request("GET", "/metrics").text

    def encoder(self) -> JsonObject:
        """GET /v1/encoder: manifest and model card."""
        return self._json("GET", "/v1/encoder")

    def embed(
        self,
        images: Sequence[bytes],
        *,
        encoding_format: str = "float",
        dtype: str = "float32",
        frames: str | None = None,
        region: str | None = None,
        pool: str = "mean",
    ) -> JsonObject:
        """POST /v1/embeddings; one item per file, each with ``embedding`` or ``problem``."""
        params = {"encoding_format": encoding_format, "dtype": dtype, "pool": pool}
        params |= without_none({"frames": frames, "region": region})
        return self._json("POST", "/v1/embeddings", files=files(images), params=params)

    # operations ---------------------------------------------------------------------------

    def operations(self) -> Iterator[JsonObject]:
        """GET /v1/operations, all pages, newest first."""
        return self._pages("/v1/operations")

    def operation(self, operation_id: str) -> JsonObject:
        """GET /v1/operations/{operation_id}."""
        return self._json("GET", f"/v1/operations/{part(operation_id)}")

    def cancel(self, operation_id: str) -> JsonObject:
        """DELETE /v1/operations/{operation_id}."""
        return self._json("DELETE", f"/v1/operations/{part(operation_id)}")

    def wait(
        self, operation_id: str, *, timeout_s: float = 3600, poll_s: float = 0.2
    ) -> JsonObject:
        """Poll until the operation has ended. Raises TimeoutError when it has not."""
        deadline = time.monotonic() + timeout_s
        while (operation := self.operation(operation_id))["state"] in ("waiting", "running"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the operation is still {operation['state']}")
            time.sleep(poll_s)
        return operation
