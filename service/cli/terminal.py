"""Shared by the commands: output, one-line errors, a progress bar, connections."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.access.workspace_rules import workspace_rules
from service.catalog.interface import Catalog
from service.errors import InputError, InvalidSettings, ServiceError
from service.opening.catalog_opening import catalog_of
from service.server import LocalService, local_service
from service.settings import EnvironmentLogin, Settings, read_settings
from sonoprobe_client import Client, MachineLogin, SonoprobeError
from sonoprobe_client.synchronous.transport import RETRIES

console = Console()
errors = Console(stderr=True)
NO_ANSWER = (httpx.HTTPError, httpx.InvalidURL)

Url = Annotated[str, typer.Option(envvar="SONOPROBE_URL", help="Address of the service.")]
LOCAL_URL = "http://127.0.0.1:8000"
NewCollection = Annotated[str, typer.Option(help="Collection; created if it is missing.")]
Key = Annotated[str | None, typer.Option(envvar="SONOPROBE_KEY", help="API key.")]
Server = Annotated[
    str | None,
    typer.Option(help="Address of a running service; without it the catalog is opened here."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON value, and nothing else, on standard output.")
]


@contextmanager
def explained() -> Iterator[None]:
    """Print an expected failure in one line and exit with code 1, without a traceback."""
    try:
        yield
    except (ServiceError, SonoprobeError, OSError, RuntimeError, *NO_ANSWER) as error:
        message = f"no answer: {error}" if isinstance(error, NO_ANSWER) else str(error)
        errors.print(f"[red]error[/red] {escape(message)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def show(document: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print what a command found: the document for a program, or the lines for a person."""
    for line in [json.dumps(document)] if as_json else lines:
        typer.echo(line)


@contextmanager
def client_at(url: str, key: str | None, *, retries: int = RETRIES) -> Iterator[Client]:
    """A client of a running service, for a command; without a key it may sign in as a machine.

    Args:
        retries: 0 for commands that repeat requests by themselves.
    """
    with explained(), ExitStack() as stack:
        login = _login(key, stack)
        yield stack.enter_context(Client(url, key=key, login=login, retries=retries))


@contextmanager
def workspace_at(url: str, key: str | None, workspace: str | None) -> Iterator[Client]:
    """As ``client_at``, for a command that opens a named workspace where it runs without a service.

    Raises:
        InputError: a workspace is named. Over HTTP a key reaches its own, so none can be chosen.
    """
    with client_at(url, key) as client:
        if workspace is not None:
            raise InputError("expected no --workspace with --server: the key says which one it is")
        yield client


def _login(key: str | None, stack: ExitStack) -> MachineLogin | None:
    """Raises OSError, and InvalidSettings: a variable is missing or wrong."""
    login = None if key else _machine_login(EnvironmentLogin())
    if login is not None:
        stack.callback(login.close)
    return login


def _machine_login(settings: EnvironmentLogin) -> MachineLogin | None:
    """Raises OSError, and InvalidSettings: a variable is missing or wrong."""
    if not settings.issuer:
        return None
    if settings.key_file is None or not settings.client_id:
        raise InvalidSettings("expected SONOPROBE_LOGIN_CLIENT_ID and SONOPROBE_LOGIN_KEY_FILE")
    try:
        return MachineLogin(
            settings.issuer,
            settings.client_id,
            settings.key_file.read_text(),
            scope=settings.scope,
            resource=settings.resource or None,
        )
    except ValueError as error:
        raise InvalidSettings(f"SONOPROBE_LOGIN_*: {error}") from error


@contextmanager
def scratch_service(keep: Path | None = None) -> Iterator[tuple[LocalService, Client]]:
    """A service of this process over an empty folder, for a command.

    Args:
        keep: an empty or new folder whose data stay after the command; None = nothing stays.
    """
    with explained(), ExitStack() as stack:
        if keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        elif keep.exists() and any(keep.iterdir()):
            raise InputError("expected an empty or a new folder to keep the data in")
        else:
            folder = keep
        # Not the operator's catalog, nor its backups and exports.
        scratch = {"data_dir": folder, "drain_s": 0.0, "catalog": None, "shards": None}
        others = {"backup_dir": None, "exchange_dir": None, "audit_heads_dir": None}
        settings = read_settings().model_copy(update=scratch | others)
        with local_service(settings) as local, Client(local.url, key=local.key) as client:
            yield local, client


@contextmanager
def catalog_at(settings: Settings, *, is_owner: bool = False) -> Iterator[Catalog]:
    """The catalog of the settings, which may be in use by a service, or by the caller alone.

    It obeys the policies of its workspaces, as that of the service does.
    """
    catalog = catalog_of(settings, is_owner=is_owner)
    try:
        workspace_rules(catalog, settings)
        yield catalog
    finally:
        catalog.close()


@contextmanager
def progress(title: str, total: int) -> Iterator[Any]:
    """Show a bar on standard error; call the yielded function with the number of new steps."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
