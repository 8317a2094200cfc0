"""The command line in this process, built once: building all commands takes longer than most."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from click.testing import CliRunner, Result
from typer.main import get_command

from service.cli.main import app

Run = Callable[..., Any]  # words -> what the command printed


@cache
def _command() -> Any:
    return get_command(app)


def invoke(words: list[str], env: Mapping[str, str] | None = None) -> Result:
    """Run a command with nothing on its standard input."""
    return CliRunner().invoke(_command(), words, env=env)
