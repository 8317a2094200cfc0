"""Signing keys of the workspace: whose classifiers it trusts, and what it signs with."""

import asyncio

from fastapi import APIRouter, Response

from service.api.dependencies import Service, WorkspaceId
from service.api.paging import Paging, next_cursor
from service.api.permissions import needs
from service.api.routing import StrictRoute
from service.api.shapes.signing_key_shapes import (
    SigningKeyAnswer,
    SigningKeyPage,
    TrustedKeyBody,
)

router = APIRouter(route_class=StrictRoute, prefix="/v1/signing-keys", tags=["keys"])
SIGNING_KIND = "signing-keys"


@router.get("", dependencies=[needs("classifier.read", limited="nothing")])
async def list_signing_keys(
    service: Service, workspace_id: WorkspaceId, paging: Paging
) -> SigningKeyPage:
    """List the public keys that the workspace trusts, its own included, oldest first.

    The first own key is made by the first export, or by `rotate`.
    """
    keys, next_after = await asyncio.to_thread(
        service.registry.signing.list_keys,
        workspace_id,
        limit=paging.limit,
        after=paging.after(SIGNING_KIND),
    )
    items = [SigningKeyAnswer.of(key) for key in keys]
    return SigningKeyPage(items=items, next_cursor=next_cursor(SIGNING_KIND, next_after))


@router.post(
    "", status_code=201, responses={409: {}}, dependencies=[needs("admin", limited="refused")]
)
async def trust_signing_key(
    body: TrustedKeyBody, service: Service, workspace_id: WorkspaceId, response: Response
) -> SigningKeyAnswer:
    """Trust what the owner of a public key signs. A key that is trusted already answers 409.

    Compare `key_id` with its owner over another channel than the one that the key came by.
    """
    trust = service.registry.signing.trust
    key = await asyncio.to_thread(trust, workspace_id, body.name, body.public_key)
    return _with_location(response, SigningKeyAnswer.of(key))


@router.post("/rotate", status_code=201, dependencies=[needs("admin", limited="refused")])
async def rotate_signing_key(
    service: Service, workspace_id: WorkspaceId, response: Response
) -> SigningKeyAnswer:
    """Sign with a new key from now on; the private part of the one before is overwritten.

    What that one signed stays trusted until it is deleted.
    """
    key = await asyncio.to_thread(service.registry.signing.rotate, workspace_id)
    return _with_location(response, SigningKeyAnswer.of(key))


@router.get("/{key_id}", dependencies=[needs("classifier.read", limited="nothing")])
async def get_signing_key(
    key_id: str, service: Service, workspace_id: WorkspaceId
) -> SigningKeyAnswer:
    """Read one public key."""
    return SigningKeyAnswer.of(
        await asyncio.to_thread(service.registry.signing.get, workspace_id, key_id)
    )


@router.delete("/{key_id}", responses={409: {}}, dependencies=[needs("admin", limited="refused")])
async def distrust_signing_key(
    key_id: str, service: Service, workspace_id: WorkspaceId
) -> SigningKeyAnswer:
    """Trust a key no longer; imports of what it signs are `unknown_key` from now on.

    The key that the workspace signs with answers 409: rotate it first.
    """
    key = await asyncio.to_thread(service.registry.signing.remove, workspace_id, key_id)
    return SigningKeyAnswer.of(key)


def _with_location(response: Response, key: SigningKeyAnswer) -> SigningKeyAnswer:
    response.headers["Location"] = f"/v1/signing-keys/{key.key_id}"
    return key
