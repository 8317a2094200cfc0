"""The calls about the service: health, operations, audit log."""

import time
from collections.abc import AsyncIterator, Callable

from sonoprobe_client.asynchronous.transport import AsyncTransport
from sonoprobe_client.asynchronous.waiting import sleep
from sonoprobe_client.models import (
    AuditEntryAnswer,
    AuditPage,
    AuditVerificationAnswer,
    Live,
    OperationAnswer,
    Ready,
)
from sonoprobe_client.problems import OperationFailed
from sonoprobe_client.requests import part, without_none


class AsyncServiceCalls(AsyncTransport):
    """The part for the service itself."""

    async def live(self) -> Live:
        """GET /health/live."""
        return self._read(Live, await self._json("GET", "/health/live"))

    async def ready(self) -> Ready:
        """GET /health/ready; ApiError 503 while the service is not ready."""
        return self._read(Ready, await self._json("GET", "/health/ready"))

    async def metrics(self) -> str:
        """GET /metrics, Prometheus text."""
        return (await self.request("GET", "/metrics")).text

    # operations ---------------------------------------------------------------------------

    def operations(self) -> AsyncIterator[OperationAnswer]:
        """GET /v1/operations, all pages, newest first."""
        return self._pages(OperationAnswer, "/v1/operations")

    async def operation(self, operation_id: str) -> OperationAnswer:
        """GET /v1/operations/{operation_id}."""
        path = f"/v1/operations/{part(operation_id)}"
        return self._read(OperationAnswer, await self._json("GET", path))

    async def cancel(self, operation_id: str) -> OperationAnswer:
        """DELETE /v1/operations/{operation_id}."""
        path = f"/v1/operations/{part(operation_id)}"
        return self._read(OperationAnswer, await self._json("DELETE", path))

    async def wait(
        self,
        operation_id: str,
        *,
        timeout_s: float = 3600,
        poll_s: float = 0.2,
        on_progress: Callable[[OperationAnswer], None] | None = None,
    ) -> OperationAnswer:
        """Poll until the operation has ended, and return it.

        Raises:
            OperationFailed: it failed or was cancelled.
            TimeoutError: it goes on after ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        path = f"/v1/operations/{part(operation_id)}"
        while (operation := await self._json("GET", path))["state"] in ("waiting", "running"):
            if on_progress is not None:
                on_progress(self._read(OperationAnswer, operation))
            if time.monotonic() > deadline:
                raise TimeoutError(f"the operation is still {operation['state']}")
            await sleep(poll_s)
        if operation["state"] != "done" and not self._is_plain:
            raise OperationFailed(operation)
        return self._read(OperationAnswer, operation)

    # audit log, with the scope audit.read -----------------------------------------------------

    def audit(
        self,
        *,
        action: str | None = None,
        author: str | None = None,
        outcome: str | None = None,
        since: str | None = None,
        until: str | None = None,
        name: str | None = None,
    ) -> AsyncIterator[AuditEntryAnswer]:
        """GET /v1/audit, all pages, newest first."""
        wanted = {"action": action, "author": author, "outcome": outcome}
        wanted |= {"since": since, "until": until, "name": name}
        return self._pages(AuditEntryAnswer, "/v1/audit", without_none(wanted))

    async def audit_page(self, *, limit: int | None = None, cursor: str | None = None) -> AuditPage:
        """GET /v1/audit, one page."""
        params = without_none({"limit": limit, "cursor": cursor})
        return self._read(AuditPage, await self._json("GET", "/v1/audit", params=params))

    async def verify_audit(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> AuditVerificationAnswer:
        """GET /v1/audit/verification: what a part of the chain says of itself."""
        params = without_none({"limit": limit, "cursor": cursor})
        answer = await self._json("GET", "/v1/audit/verification", params=params)
        return self._read(AuditVerificationAnswer, answer)
