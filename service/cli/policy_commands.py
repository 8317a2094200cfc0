"""Commands for the policies of workspaces: show, set, grant, rename ids of before."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from service.access.access_limits import STORED
from service.access.keys import DEFAULT_WORKSPACE, workspace_id_of
from service.access.policy_store import ALL_LIMITS, PolicyStore, WorkspacePolicy
from service.access.workspace_rules import policy_store
from service.catalog.interface import Catalog
from service.cli.audited import audited
from service.cli.terminal import AsJson, catalog_at, explained, show
from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import ultrasound_test_of
from service.errors import InputError
from service.gallery.pseudonymize import pseudonymize
from service.settings import Settings, read_settings

app = typer.Typer(no_args_is_help=True, help="Policies of workspaces: rules and limits.")
Workspace = Annotated[str, typer.Option(help="Name of the workspace.")]


@app.command("show")
def policy_show(workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Print the policy of a workspace, what holds of it, and what the workspace stores."""
    with explained():
        settings = read_settings()
        with catalog_at(settings) as catalog:
            workspace_id = workspace_id_of(catalog, workspace)
            policy = _store(catalog, settings).current(workspace_id)
            _print(catalog, workspace_id, policy, as_json=as_json)


@app.command("set")
def policy_set(
    file: Annotated[Path, typer.Argument(help="JSON of PUT /v1/policy.", exists=True)],
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Replace the policy of a workspace; running services follow with their next request."""
    with explained():
        settings = read_settings()
        document = _document(file)
        with catalog_at(settings) as catalog:
            workspace_id = workspace_id_of(catalog, workspace)
            store = _store(catalog, settings)
            policy = store.replace(workspace_id, document, if_version=None)
            _print(catalog, workspace_id, policy, as_json=as_json)
            for rule, count in store.unfit(policy, workspace_id).items():
                typer.echo(f"{count} stored scans do not fit {rule}; they stay", err=True)


@app.command("grant")
def policy_grant(
    limits: Annotated[
        list[str] | None,
        typer.Argument(help="LIMIT=VALUE, repeatable; none: what the settings say holds again."),
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Set limits of one workspace in place of those of the settings."""
    with explained():
        settings = read_settings()
        granted = dict(_limit(text) for text in limits or [])
        with catalog_at(settings) as catalog:
            workspace_id = workspace_id_of(catalog, workspace)
            policy = _store(catalog, settings).grant(workspace_id, granted)
            _print(catalog, workspace_id, policy, as_json=as_json)


@app.command("pseudonymize")
def policy_pseudonymize(workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Give pseudonyms to ids that were stored before the policy of a workspace demanded them.

    It can be interrupted and run again. A service may run meanwhile.
    """
    with explained():
        settings = read_settings()
        with catalog_at(settings) as catalog:
            workspace_id = workspace_id_of(catalog, workspace)
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
