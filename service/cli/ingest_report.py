"""The report of an ingest: a CSV or JSON Lines file from which a later run continues.

The report holds paths, because its owner needs them; it stays on the owner's machine. An
incomplete line at the end, left by a killed run, is skipped.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

from service.errors import InputError

Outcome: TypeAlias = Literal["stored", "known", "refused", "unreadable"]
SETTLED: frozenset[str] = frozenset({"stored", "known"})


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome of one file.

    Attributes:
        code, detail: reason of a refusal; empty otherwise.
        bytes, modified_ns: of the file when it was read, so that a changed file is read again.
    """

    path: str
    outcome: Outcome
    code: str = ""
    detail: str = ""
    sha256: str = ""
    scan_id: str = ""
    bytes: int = 0
    modified_ns: int = 0

    @property
    def is_there(self) -> bool:
        """Whether the collection has the file."""
        return self.outcome in SETTLED


_COLUMNS = [column.name for column in fields(Settled)]
_NUMBERS = ("bytes", "modified_ns")


class Report:
    """Adds lines to a new or existing report file; use it as a context manager.

    Raises:
        InputError: the file ends neither in ``.csv`` nor in ``.jsonl``.
    """

    def __init__(self, file: Path) -> None:
        if file.suffix not in (".csv", ".jsonl"):
            raise InputError(f"expected a report named .csv or .jsonl, got {file.suffix!r}")
        self._file = file
        self._stream: IO[str] | None = None

    def earlier(self) -> dict[str, Settled]:
        """The latest line of earlier runs for each path."""
        if not self._file.exists():
            return {}
        with self._file.open(newline="", encoding="utf-8", errors="replace") as stream:
            rows = csv.DictReader(stream) if self._file.suffix == ".csv" else _objects(stream)
            return {line.path: line for row in rows if (line := _read(row)) is not None}

    def __enter__(self) -> "Report":
        is_new = not self._file.exists() or self._file.stat().st_size == 0
        cut_off = not is_new and not self._file.read_bytes().endswith(b"\n")
        self._stream = self._file.open("a", newline="", encoding="utf-8")
        if cut_off:
            self._stream.write("\n")
        if is_new and self._file.suffix == ".csv":
            csv.writer(self._stream).writerow(_COLUMNS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def add(self, settled: Iterable[Settled]) -> None:
        """Write lines and flush them, so that a kill loses none of them."""
        if self._stream is None:
            raise InputError("expected an open report")
        for row in map(asdict, settled):
            if self._file.suffix == ".csv":
                csv.DictWriter(self._stream, _COLUMNS).writerow(row)
            else:
                self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._stream.flush()


def _objects(stream: IO[str]) -> Iterator[dict[str, Any]]:
    for line in stream:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _read(row: dict[str, Any]) -> Settled | None:
    try:
        numbers = {name: int(row[name]) for name in _NUMBERS}
        return Settled(**({name: row[name] for name in _COLUMNS} | numbers))
    except (KeyError, TypeError, ValueError):
        return None
