"""What the commands share: output, one-line errors, a progress bar, address and key."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.client.client import ApiError
from service.errors import ServiceError

console = Console()
errors = Console(stderr=True)
NO_ANSWER = (httpx.HTTPError, httpx.InvalidURL)

Url = Annotated[str, typer.Option(envvar="SONOPROBE_URL", help="Address of the service.")]
Key = Annotated[str | None, typer.Option(envvar="SONOPROBE_KEY", help="API key.")]


@contextmanager
def explained() -> Iterator[None]:
    """An expected failure is one line and exit code 1, not a traceback."""
    try:
        yield
    except (ServiceError, ApiError, OSError, RuntimeError, *NO_ANSWER) as error:
        said = f"no answer: {error}" if isinstance(error, NO_ANSWER) else str(error)
        errors.print(f"[red]error[/red] {escape(said)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


@contextmanager
def progress(title: str, total: int) -> Iterator[Any]:
    """Show a bar on standard error; the block is lent a function that takes what was done more."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
