"""The table of docs/command-line.md: ``python -m tests.client.command_table`` writes it anew."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from service.cli.main import app

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
BLOCK = re.compile(r"(<!-- commands:begin -->\n).*?(<!-- commands:end -->)", re.DOTALL)
EVERYWHERE = {"--help", "--json", "--url", "--server", "--key"}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its words, such as ``collections create``."""
    groups = [("", get_command(app))]
    while groups:
        words, group = groups.pop(0)
        for name, command in sorted(group.commands.items()):
            path = f"{words} {name}".strip()
            if hasattr(command, "commands"):
                groups.append((path, command))
            else:
                yield path, command


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def talks_to_a_service(command: Any) -> bool:
    return "--url" in options_of(command)


def table() -> str:
    """One row per command."""
    rows = ["| command | options | what it does |", "|---|---|---|"]
    for path, command in sorted(commands()):
        named = [p for p in command.params if p.param_type_name == "argument"]
        words = " ".join([path, *(p.name.upper().rstrip("_") for p in named)])
        own = sorted(
            opt
            for parameter in command.params
            if parameter.param_type_name == "option"
            for opt in parameter.opts
            if opt not in EVERYWHERE
        )
        mark = " †" if talks_to_a_service(command) else ""
        mark = " ‡" if "--server" in options_of(command) else mark
        told = (command.help or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        options = ", ".join(f"`{option}`" for option in own)
        rows.append(f"| `{words}`{mark} | {options} | {told} |")
    return "\n".join(rows) + "\n"


def page_with(text: str) -> str:
    return BLOCK.sub(lambda match: match[1] + text + match[2], PAGE.read_text())


if __name__ == "__main__":
    PAGE.write_text(page_with(table()))
