"""The client's calls about the audit log."""

from collections.abc import Iterator

from sonoprobe_client.transport import JsonObject, Transport, without_none


class AuditCalls(Transport):
    """The part of ``PlainClient`` that reads the audit log; it needs the scope audit.read."""

    def audit(
        self,
        *,
        action: str | None = None,
        author: str | None = None,
        outcome: str | None = None,
        since: str | None = None,
        until: str | None = None,
        name: str | None = None,
    ) -> Iterator[JsonObject]:
        """GET /v1/audit, all pages, newest first."""
        wanted = {"action": action, "author": author, "outcome": outcome}
        wanted |= {"since": since, "until": until, "name": name}
        return self._pages("/v1/audit", without_none(wanted))

    def audit_page(self, *, limit: int | None = None, cursor: str | None = None) -> JsonObject:
        """GET /v1/audit, one page."""
        params = without_none({"limit": limit, "cursor": cursor})
        return self._json("GET", "/v1/audit", params=params)
