"""What a command line shows of an expected failure."""

from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from service.errors import ServiceError


class ErrorGroup(TyperGroup):
    """Commands whose expected failures are one line and exit status 1, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ServiceError as error:
            console = Console(stderr=True, soft_wrap=True)
            console.print(f"error: {error}", markup=False, highlight=False)
            raise typer.Exit(1) from error
