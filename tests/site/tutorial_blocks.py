"""The code of the tutorial, as readers copy it."""

import re
from dataclasses import dataclass
from pathlib import Path

TUTORIAL = Path(__file__).parents[2] / "docs/tutorial.md"
BLOCK = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: ``sh setup``, ``sh skip``, or ``python`` and ``sh`` of the tabs."""

    language: str
    mark: str
    code: str


def blocks(page: Path = TUTORIAL) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text())]


def script(language: str, mark: str = "", page: Path = TUTORIAL) -> str:
    """The blocks of one kind, one after the other."""
    return "\n".join(b.code for b in blocks(page) if (b.language, b.mark) == (language, mark))
