"""API keys of the workspace: create, list, read, rotate, revoke.

No answer with a secret is kept under an Idempotency-Key: the catalog stores digests only.
"""

import asyncio

from fastapi import APIRouter, Response

from service.api.dependencies import KnownCaller, Service
from service.api.paging import Paging, next_cursor
from service.api.permissions import needs
from service.api.routing import StrictRoute
from service.api.shapes.key_shapes import (
    KeyAnswer,
    KeyCreated,
    KeyPage,
    KeyRotationBody,
    NewKeyBody,
)

router = APIRouter(
    route_class=StrictRoute,
    prefix="/v1/keys",
    tags=["keys"],
    dependencies=[needs("admin", limited="shown")],
)
KIND = "keys"


@router.post("", status_code=201)
async def create_key(
    body: NewKeyBody, service: Service, caller: KnownCaller, response: Response
) -> KeyCreated:
    """Create a key; the answer shows its secret once.

    A key allows at most what the key of the caller allows.
    """
    create = service.key_registry.create
    key, secret = await asyncio.to_thread(create, caller, body.name, body.grant())
    return _created(response, KeyAnswer.of(key), secret)


@router.get("")
async def list_keys(service: Service, caller: KnownCaller, paging: Paging) -> KeyPage:
    """List the keys of the workspace, oldest first, revoked and expired ones included."""
    keys, next_after = await asyncio.to_thread(
        service.key_registry.list_keys, caller, limit=paging.limit, after=paging.after(KIND)
    )
    items = [KeyAnswer.of(key) for key in keys]
    return KeyPage(items=items, next_cursor=next_cursor(KIND, next_after))


@router.get("/{key_id}")
async def get_key(key_id: str, service: Service, caller: KnownCaller) -> KeyAnswer:
    """Read one key, without its secret."""
    return KeyAnswer.of(await asyncio.to_thread(service.key_registry.get, caller, key_id))


@router.post("/{key_id}/rotate", status_code=201, responses={409: {}})
async def rotate_key(
    key_id: str, body: KeyRotationBody, service: Service, caller: KnownCaller, response: Response
) -> KeyCreated:
    """Create the successor of a key, with its name and rights; both work for a time.

    The answer shows the secret once. A key that is revoked, has expired or was rotated already
    answers 409.
    """
    rotate = service.key_registry.rotate
    key, secret = await asyncio.to_thread(
        rotate, caller, key_id, overlap_s=body.overlap_s, expires_at=body.expires_at
    )
    return _created(response, KeyAnswer.of(key), secret)


@router.delete("/{key_id}")
async def revoke_key(key_id: str, service: Service, caller: KnownCaller) -> KeyAnswer:
    """Revoke a key for ever; every replica refuses its next request."""
    return KeyAnswer.of(await asyncio.to_thread(service.key_registry.revoke, caller, key_id))


def _created(response: Response, key: KeyAnswer, secret: str) -> KeyCreated:
    response.headers["Location"] = f"/v1/keys/{key.key_id}"
    return KeyCreated(key=key, secret=secret)
