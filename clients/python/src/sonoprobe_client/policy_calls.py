"""The client's calls about the policy of the workspace and its use of limits."""

from sonoprobe_client.transport import JsonObject, Transport


class PolicyCalls(Transport):
    """The part of ``PlainClient`` for limits and rules."""

    def policy(self) -> JsonObject:
        """GET /v1/policy; it needs the scope admin."""
        return self._json("GET", "/v1/policy")

    def replace_policy(self, policy: JsonObject, *, if_match: str | None = None) -> JsonObject:
        """PUT /v1/policy: the whole policy; it needs the scope admin.

        Args:
            if_match: the ``etag`` of the policy that it replaces.
        """
        return self._json("PUT", "/v1/policy", json=policy, if_match=if_match)

    def usage(self) -> JsonObject:
        """GET /v1/usage: of the own key; of the workspace with the scope admin."""
        return self._json("GET", "/v1/usage")
