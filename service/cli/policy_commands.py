"""Commands for the policies of workspaces: show, set, grant, rename ids of before."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from service.access.access_limits import STORED
from service.access.keys import DEFAULT_WORKSPACE, workspace_id_of
from service.access.policy_store import ALL_LIMITS, PolicyStore, WorkspacePolicy
from service.access.workspace_rules import policy_store
from service.catalog.interface import Catalog
from service.cli.audited import audited
from service.cli.remote.answer_rows import operation_row
from service.cli.terminal import (
    AsJson,
    Key,
    Server,
    catalog_at,
    explained,
    show,
    workspace_at,
)
from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import ultrasound_test_of
from service.errors import InputError
from service.gallery.pseudonymize import pseudonymize
from service.settings import Settings, read_settings
from sonoprobe_client.bodies import PolicyBody

app = typer.Typer(no_args_is_help=True, help="Policies of workspaces: rules and limits.")
Workspace = Annotated[str | None, typer.Option(help="Name of the workspace; default: `default`.")]


@app.command("show")
def policy_show(
    workspace: Workspace = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Print the policy of a workspace, what holds of it, and what the workspace stores."""
    if server is not None:
        with workspace_at(server, key, workspace) as client:
            usage = client.usage().workspace or ()
            found = client.policy().document()
            found["stored"] = {u.limit: u.used for u in usage if u.limit in STORED}
            show(found, [json.dumps(found, indent=1)], as_json=as_json)
            return
    with explained():
        settings = read_settings()
        with catalog_at(settings) as catalog:
            workspace_id = workspace_id_of(catalog, workspace or DEFAULT_WORKSPACE)
            policy = _store(catalog, settings).current(workspace_id)
            _print(catalog, workspace_id, policy, as_json=as_json)


@app.command("set")
def policy_set(
    file: Annotated[Path, typer.Argument(help="JSON of PUT /v1/policy.", exists=True)],
    workspace: Workspace = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Replace the policy of a workspace; running services follow with their next request."""
    if server is not None:
        with workspace_at(server, key, workspace) as client:
            made = client.replace_policy(cast(PolicyBody, _document(file)))
            show(made.document(), [json.dumps(made.document(), indent=1)], as_json=as_json)
            _tell_unfit(made.unfit or {})
            return
    with explained():
        settings = read_settings()
        document = _document(file)
        with catalog_at(settings) as catalog:
            workspace_id = workspace_id_of(catalog, workspace or DEFAULT_WORKSPACE)
            store = _store(catalog, settings)
            with audited(settings, catalog, "policy.set", workspace_id):
                policy = store.replace(workspace_id, document, if_version=None)
            _print(catalog, workspace_id, policy, as_json=as_json)
            _tell_unfit(store.unfit(policy, workspace_id))


def _tell_unfit(unfit: Mapping[str, int]) -> None:
    for rule, count in unfit.items():
        typer.echo(f"{count} stored scans do not fit {rule}; they stay", err=True)


@app.command("grant")
def policy_grant(
    limits: Annotated[
        list[str] | None,
        typer.Argument(help="LIMIT=VALUE, repeatable; none: what the settings say holds again."),
    ] = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Set limits of one workspace in place of those of the settings.

    Only here: no key can raise the limits that the operator set.
    """
    with explained():
        settings = read_settings()
        granted = dict(_limit(text) for text in limits or [])
        with catalog_at(settings) as catalog:
            workspace_id = workspace_id_of(catalog, workspace or DEFAULT_WORKSPACE)
            store = _store(catalog, settings)
            with audited(settings, catalog, "policy.grant", workspace_id):
                policy = store.grant(workspace_id, granted)
            _print(catalog, workspace_id, policy, as_json=as_json)


@app.command("pseudonymize")
def policy_pseudonymize(
    workspace: Workspace = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Give pseudonyms to ids that were stored before the policy of a workspace demanded them.

    It can be interrupted and run again. A service may run meanwhile. With --server the service does
    it; `operations wait` waits for it.
    """
    if server is not None:
        with workspace_at(server, key, workspace) as client:
            begun = client.pseudonymize()
            show(begun.document(), [operation_row(begun)], as_json=as_json)
            return
    with explained():
        settings = read_settings()
        with catalog_at(settings) as catalog:
            workspace_id = workspace_id_of(catalog, workspace or DEFAULT_WORKSPACE)
            with audited(settings, catalog, "policy.pseudonymize", workspace_id):
                renamed = pseudonymize(catalog, workspace_id, lambda done, total: None)
        counts = asdict(renamed)
        show(counts, [f"{name}: {count}" for name, count in counts.items()], as_json=as_json)


def _store(catalog: Catalog, settings: Settings) -> PolicyStore:
    bundle = settings.bundle_dir or SHIPPED_BUNDLE
    return policy_store(catalog, settings, ultrasound_test_of(bundle))


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("expected a file with JSON") from error
    if not isinstance(document, dict):
        raise InputError("expected a JSON object")
    return document


def _limit(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        if equals and name in ALL_LIMITS:
            return name, float(value)
    except ValueError:
        pass
    raise InputError(f"expected LIMIT=VALUE with one of {', '.join(ALL_LIMITS)}")


def _print(catalog: Catalog, workspace_id: str, policy: WorkspacePolicy, *, as_json: bool) -> None:
    stored = catalog.stored_usage(workspace_id)
    shown = {
        **policy.stored.document,
        "granted": policy.stored.granted,
        "in_force": policy.limits,
        "in_force_each_key": policy.each_key,
        "stored": {name: getattr(stored, name) for name in STORED},
    }
    show(shown, [json.dumps(shown, indent=1)], as_json=as_json)
