"""The client's calls about the policy of the workspace and its use of limits."""

from service.client.transport import JsonObject, Transport


class PolicyCalls(Transport):
    """The part of ``Client`` for limits and rules."""

    def usage(self) -> JsonObject:
        """GET /v1/usage: of the own key; of the workspace with the scope admin."""
        return self._json("GET", "/v1/usage")
