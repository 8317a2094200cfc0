"""Commands for the API keys of the catalog: create, list, rotate, revoke."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

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
from service.cli.terminal import AsJson, catalog_at, errors, explained, show
from service.settings import read_settings

app = typer.Typer(no_args_is_help=True, help="API keys of the catalog.")
MAX_DAYS = 36_500
OTHERS = ", or the beginning of its name and *; repeatable. Without: all."
Workspace = Annotated[str, typer.Option(help="Workspace that the key opens.")]
KeyId = Annotated[str, typer.Argument(help="Id of the key, from the list.")]


@app.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="Who will use the key.")],
    workspace: Workspace = DEFAULT_WORKSPACE,
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
) -> None:
    """Create a key and print it once; the catalog stores only its hash."""
    roles = role or [] if role or scope else [ADMIN]
    limits = NameLimits(
        None if collection is None else tuple(collection),
        None if classifier is None else tuple(classifier),
    )
    grant = grant_until(roles, scope or [], _in_days(expires_days), limits)
    settings = read_settings()
    with explained(), catalog_at(settings) as catalog:
        with audited(settings, catalog, "keys.create", _chain(catalog, workspace)) as names:
            record, token = create_key(catalog, name, workspace, grant)
            names |= {"key": [record.key_id], "workspace": [workspace]}
        errors.print(f"key {record.key_id} for workspace {workspace}; shown once:")
        show(_document(record) | {"secret": token}, [token], as_json=as_json)


@app.command("list")
def keys_list(workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """List all keys, including revoked ones, with state, rights and last use."""
    with explained(), catalog_at(read_settings()) as catalog:
        found = list(catalog.list_keys(workspace_id_of(catalog, workspace)))
        show([_document(key) for key in found], map(_row, found), as_json=as_json)


def _row(key: KeyRecord) -> str:
    rights = ",".join((*key.grant.roles, *key.grant.scopes, *_limits(key)))
    used = key.last_used_at or "never used"
    return f"{key.key_id}\t{key.name}\t{key.created_at}\t{_state(key)}\t{rights}\t{used}"


def _document(key: KeyRecord) -> dict[str, object]:
    """The record, with what it allows beside the rest as in /v1/keys."""
    fields = asdict(key)
    del fields["policy_version"], fields["workspace_id"]
    return {**fields, **fields.pop("grant")}


def _in_days(days: float | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def _limits(key: KeyRecord) -> list[str]:
    """Such as ``collections=ward study-*``."""
    kinds = {"collections": key.grant.collections, "classifiers": key.grant.classifiers}
    return [f"{kind}={' '.join(names)}" for kind, names in kinds.items() if names is not None]


def _chain(catalog: Catalog, workspace: str) -> str:
    """The audit chain of a workspace; that of the service if the command creates it."""
    known = known_workspace(catalog, workspace)
    return SERVICE_CHAIN if known is None else known.workspace_id


def _state(key: KeyRecord) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at}"
    expires_at = key.grant.expires_at
    if expires_at is None:
        return "active"
    return f"expired {expires_at}" if expires_at <= now() else f"active until {expires_at}"


@app.command("rotate")
def keys_rotate(
    key_id: KeyId,
    workspace: Workspace = DEFAULT_WORKSPACE,
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
) -> None:
    """Create the successor of a key, with its name and rights, and print it once."""
    settings = read_settings()
    with explained(), catalog_at(settings) as catalog:
        owner_id = workspace_id_of(catalog, workspace)
        with audited(settings, catalog, "keys.rotate", owner_id) as names:
            record, token = rotate_key(
                catalog, owner_id, key_id, overlap_s=overlap_s, expires_at=_in_days(expires_days)
            )
            names["key"] = [key_id, record.key_id]
        errors.print(f"key {record.key_id} replaces {key_id}; shown once:")
        show(_document(record) | {"secret": token}, [token], as_json=as_json)


@app.command("revoke")
def keys_revoke(
    key_id: KeyId, workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False
) -> None:
    """Revoke a key permanently."""
    settings = read_settings()
    with explained(), catalog_at(settings) as catalog:
        owner_id = workspace_id_of(catalog, workspace)
        with audited(settings, catalog, "keys.revoke", owner_id) as names:
            record = catalog.revoke_key(owner_id, key_id)
            names["key"] = [record.key_id]
        show(_document(record), [f"revoked {record.key_id}"], as_json=as_json)
