"""Commands for API keys, of the catalog here or of a service: create, list, rotate, revoke."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from service.access.audit.audit_entries import SERVICE_CHAIN
from service.access.keys import (
    DEFAULT_WORKSPACE,
    create_key,
    grant_until,
    known_workspace,
    rotate_key,
    workspace_id_of,
)
from service.access.name_limits import NameLimits
from service.access.scopes import ADMIN, ROLES
from service.catalog.access_records import KeyRecord
from service.catalog.ids import now
from service.catalog.interface import Catalog
from service.cli.audited import audited
from service.cli.terminal import (
    AsJson,
    Key,
    Server,
    catalog_at,
    errors,
    explained,
    show,
    workspace_at,
)
from service.settings import read_settings

app = typer.Typer(no_args_is_help=True, help="API keys, of the catalog here or of a service.")
MAX_DAYS = 36_500
OTHERS = ", or the beginning of its name and *; repeatable. Without: all."
Workspace = Annotated[
    str | None, typer.Option(help="Workspace that the key opens; default: `default`.")
]
KeyId = Annotated[str, typer.Argument(help="Id of the key, from the list.")]


@app.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="Who will use the key.")],
    workspace: Workspace = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(ROLES)}; repeatable. Without role and scope: admin."),
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="One scope, such as predict; repeatable.")
    ] = None,
    expires_days: Annotated[
        float | None, typer.Option(min=0, max=MAX_DAYS, help="Days until the key expires.")
    ] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help=f"A collection that it may name{OTHERS}")
    ] = None,
    classifier: Annotated[
        list[str] | None, typer.Option(help=f"A classifier that it may name{OTHERS}")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Create a key and print it once; only its hash is stored."""
    roles = role or [] if role or scope else [ADMIN]
    if server is not None:
        with workspace_at(server, key, workspace) as client:
            made = client.create_key(
                name,
                roles=roles,
                scopes=scope or [],
                expires_at=_time_in(expires_days),
                collections=collection,
                classifiers=classifier,
            )
            _tell_secret(made.key.document(), made.secret, "made", as_json=as_json)
            return
    limits = NameLimits(
        None if collection is None else tuple(collection),
        None if classifier is None else tuple(classifier),
    )
    grant = grant_until(roles, scope or [], _in_days(expires_days), limits)
    settings, where = read_settings(), workspace or DEFAULT_WORKSPACE
    with explained(), catalog_at(settings) as catalog:
        with audited(settings, catalog, "keys.create", _chain(catalog, where)) as names:
            record, token = create_key(catalog, name, where, grant)
            names |= {"key": [record.key_id], "workspace": [where]}
        _tell_secret(_document(record), token, f"for workspace {where}", as_json=as_json)


@app.command("list")
def keys_list(
    workspace: Workspace = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """List all keys, including revoked ones, with state, rights and last use."""
    if server is not None:
        with workspace_at(server, key, workspace) as client:
            found = [answer.document() for answer in client.list_keys()]
    else:
        with explained(), catalog_at(read_settings()) as catalog:
            workspace_id = workspace_id_of(catalog, workspace or DEFAULT_WORKSPACE)
            found = [_document(record) for record in catalog.list_keys(workspace_id)]
    show(found, map(_row, found), as_json=as_json)


def _row(key: dict[str, Any]) -> str:
    rights = ",".join((*key["roles"], *key["scopes"], *_limits(key)))
    used = key["last_used_at"] or "never used"
    return "\t".join((key["key_id"], key["name"], key["created_at"], _state(key), rights, used))


def _document(key: KeyRecord) -> dict[str, Any]:
    """The record, with what it allows beside the rest as in /v1/keys."""
    fields = asdict(key)
    del fields["policy_version"], fields["workspace_id"]
    return {**fields, **fields.pop("grant")}


def _in_days(days: float | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def _time_in(days: float | None) -> str | None:
    moment = _in_days(days)
    return None if moment is None else moment.isoformat()


def _tell_secret(key: dict[str, Any], secret: str, told: str, *, as_json: bool) -> None:
    errors.print(f"key {key['key_id']} {told}; shown once:")
    show(key | {"secret": secret}, [secret], as_json=as_json)


def _limits(key: dict[str, Any]) -> list[str]:
    """Such as ``collections=ward study-*``."""
    kinds = {kind: key[kind] for kind in ("collections", "classifiers")}
    return [f"{kind}={' '.join(names)}" for kind, names in kinds.items() if names is not None]


def _chain(catalog: Catalog, workspace: str) -> str:
    """The audit chain of a workspace; that of the service if the command creates it."""
    known = known_workspace(catalog, workspace)
    return SERVICE_CHAIN if known is None else known.workspace_id


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"] is not None:
        return f"revoked {key['revoked_at']}"
    expires_at = key["expires_at"]
    if expires_at is None:
        return "active"
    return f"expired {expires_at}" if expires_at <= now() else f"active until {expires_at}"


@app.command("rotate")
def keys_rotate(
    key_id: KeyId,
    workspace: Workspace = None,
    overlap_s: Annotated[
        float, typer.Option(min=0, max=30 * 86_400, help="Seconds for which both keys are valid.")
    ] = 86_400.0,
    expires_days: Annotated[
        float | None,
        typer.Option(
            min=0, max=MAX_DAYS, help="Days until the new key expires; default as the old."
        ),
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Create the successor of a key, with its name and rights, and print it once."""
    told = f"replaces {key_id}"
    if server is not None:
        with workspace_at(server, key, workspace) as client:
            expires_at = _time_in(expires_days)
            made = client.rotate_key(key_id, overlap_s=overlap_s, expires_at=expires_at)
            _tell_secret(made.key.document(), made.secret, told, as_json=as_json)
            return
    settings = read_settings()
    with explained(), catalog_at(settings) as catalog:
        owner_id = workspace_id_of(catalog, workspace or DEFAULT_WORKSPACE)
        with audited(settings, catalog, "keys.rotate", owner_id) as names:
            record, token = rotate_key(
                catalog, owner_id, key_id, overlap_s=overlap_s, expires_at=_in_days(expires_days)
            )
            names["key"] = [key_id, record.key_id]
        _tell_secret(_document(record), token, told, as_json=as_json)


@app.command("revoke")
def keys_revoke(
    key_id: KeyId,
    workspace: Workspace = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Revoke a key permanently."""
    if server is not None:
        with workspace_at(server, key, workspace) as client:
            gone = client.revoke_key(key_id)
            show(gone.document(), [f"revoked {gone.key_id}"], as_json=as_json)
            return
    settings = read_settings()
    with explained(), catalog_at(settings) as catalog:
        owner_id = workspace_id_of(catalog, workspace or DEFAULT_WORKSPACE)
        with audited(settings, catalog, "keys.revoke", owner_id) as names:
            record = catalog.revoke_key(owner_id, key_id)
            names["key"] = [record.key_id]
        show(_document(record), [f"revoked {record.key_id}"], as_json=as_json)
