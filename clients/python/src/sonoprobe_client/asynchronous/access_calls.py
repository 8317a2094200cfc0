"""The calls about keys, workspaces, policies and signing keys."""

from collections.abc import AsyncIterator, Sequence

from sonoprobe_client.asynchronous.transport import AsyncTransport
from sonoprobe_client.bodies import PolicyBody
from sonoprobe_client.models import (
    CallerAnswer,
    KeyAnswer,
    KeyCreated,
    OperationAnswer,
    PolicyAnswer,
    SigningKeyAnswer,
    UsageAnswer,
    WorkspaceAnswer,
    WorkspaceCreated,
    WorkspaceDetail,
)
from sonoprobe_client.requests import JsonObject, part, without_none


class AsyncAccessCalls(AsyncTransport):
    """The part for whoever administers a workspace: most of it needs the scope admin."""

    async def create_key(
        self,
        name: str,
        *,
        roles: Sequence[str] = (),
        scopes: Sequence[str] = (),
        expires_at: str | None = None,
        collections: Sequence[str] | None = None,
        classifiers: Sequence[str] | None = None,
    ) -> KeyCreated:
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
        return self._read(KeyCreated, await self._json("POST", "/v1/keys", json=body))

    def list_keys(self) -> AsyncIterator[KeyAnswer]:
        """GET /v1/keys, all pages, oldest first."""
        return self._pages(KeyAnswer, "/v1/keys")

    async def key(self, key_id: str) -> KeyAnswer:
        """GET /v1/keys/{key_id}."""
        return self._read(KeyAnswer, await self._json("GET", f"/v1/keys/{part(key_id)}"))

    async def rotate_key(
        self, key_id: str, *, overlap_s: float = 86_400, expires_at: str | None = None
    ) -> KeyCreated:
        """POST /v1/keys/{key_id}/rotate: the successor, as ``create_key``.

        Args:
            expires_at: of the successor; None = as the old key.
        """
        body = {"overlap_s": overlap_s} | without_none({"expires_at": expires_at})
        path = f"/v1/keys/{part(key_id)}/rotate"
        return self._read(KeyCreated, await self._json("POST", path, json=body))

    async def revoke_key(self, key_id: str) -> KeyAnswer:
        """DELETE /v1/keys/{key_id}."""
        return self._read(KeyAnswer, await self._json("DELETE", f"/v1/keys/{part(key_id)}"))

    # limits and rules ---------------------------------------------------------------------------

    async def policy(self) -> PolicyAnswer:
        """GET /v1/policy; it needs the scope admin."""
        return self._read(PolicyAnswer, await self._json("GET", "/v1/policy"))

    async def replace_policy(
        self, policy: PolicyBody, *, if_match: str | None = None
    ) -> PolicyAnswer:
        """PUT /v1/policy: the whole policy; it needs the scope admin.

        Args:
            if_match: the ``etag`` of the policy that it replaces.
        """
        answer = await self._json("PUT", "/v1/policy", json=policy, if_match=if_match)
        return self._read(PolicyAnswer, answer)

    async def pseudonymize(self) -> OperationAnswer:
        """POST /v1/policy/pseudonyms: rename ids of before the policy; ``wait`` for it."""
        answer = await self._json("POST", "/v1/policy/pseudonyms")
        return self._read(OperationAnswer, answer)

    async def me(self) -> CallerAnswer:
        """GET /v1/me: who the own key or token is, and what it allows."""
        return self._read(CallerAnswer, await self._json("GET", "/v1/me"))

    async def usage(self) -> UsageAnswer:
        """GET /v1/usage: of the own key; of the workspace with the scope admin."""
        return self._read(UsageAnswer, await self._json("GET", "/v1/usage"))

    # signing keys -------------------------------------------------------------------------------

    def signing_keys(self) -> AsyncIterator[SigningKeyAnswer]:
        """GET /v1/signing-keys, all pages, oldest first."""
        return self._pages(SigningKeyAnswer, "/v1/signing-keys")

    async def signing_key(self, key_id: str) -> SigningKeyAnswer:
        """GET /v1/signing-keys/{key_id}."""
        path = f"/v1/signing-keys/{part(key_id)}"
        return self._read(SigningKeyAnswer, await self._json("GET", path))

    async def trust_signing_key(self, name: str, public_key: str) -> SigningKeyAnswer:
        """POST /v1/signing-keys: trust what the owner of the key (PEM or base64) signs."""
        body = {"name": name, "public_key": public_key}
        return self._read(SigningKeyAnswer, await self._json("POST", "/v1/signing-keys", json=body))

    async def rotate_signing_key(self) -> SigningKeyAnswer:
        """POST /v1/signing-keys/rotate: the key that signs from now on."""
        return self._read(SigningKeyAnswer, await self._json("POST", "/v1/signing-keys/rotate"))

    async def distrust_signing_key(self, key_id: str) -> SigningKeyAnswer:
        """DELETE /v1/signing-keys/{key_id}."""
        path = f"/v1/signing-keys/{part(key_id)}"
        return self._read(SigningKeyAnswer, await self._json("DELETE", path))

    # workspaces, for keys with the scope service.admin ------------------------------------------

    async def create_workspace(self, name: str) -> WorkspaceCreated:
        """POST /v1/workspaces: ``workspace``, ``key`` and ``secret`` of its administrator."""
        answer = await self._json("POST", "/v1/workspaces", json={"name": name})
        return self._read(WorkspaceCreated, answer)

    def list_workspaces(self) -> AsyncIterator[WorkspaceAnswer]:
        """GET /v1/workspaces, all pages, oldest first."""
        return self._pages(WorkspaceAnswer, "/v1/workspaces")

    async def workspace(self, name: str) -> WorkspaceDetail:
        """GET /v1/workspaces/{workspace}: with how much is in it."""
        return self._read(WorkspaceDetail, await self._json("GET", f"/v1/workspaces/{part(name)}"))

    async def suspend_workspace(self, name: str) -> WorkspaceAnswer:
        """POST /v1/workspaces/{workspace}/suspend."""
        path = f"/v1/workspaces/{part(name)}/suspend"
        return self._read(WorkspaceAnswer, await self._json("POST", path))

    async def resume_workspace(self, name: str) -> WorkspaceAnswer:
        """POST /v1/workspaces/{workspace}/resume."""
        path = f"/v1/workspaces/{part(name)}/resume"
        return self._read(WorkspaceAnswer, await self._json("POST", path))

    async def delete_workspace(self, name: str) -> OperationAnswer:
        """DELETE /v1/workspaces/{workspace}: the operation, whose result is the receipt."""
        answer = await self._json("DELETE", f"/v1/workspaces/{part(name)}")
        return self._read(OperationAnswer, answer)
