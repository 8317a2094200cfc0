"""The report of an ingest: a CSV or JSON Lines file from which a later run continues.

The report holds paths, because its owner needs them; it stays on the owner's machine. It holds
nothing of a DICOM header. An incomplete line at the end, left by a killed run, is skipped.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

from service.errors import InputError

Outcome: TypeAlias = Literal["stored", "known", "refused", "unreadable", "missing", "passed_over"]
SETTLED: frozenset[str] = frozenset({"stored", "known"})
FAILED: frozenset[str] = frozenset({"refused", "unreadable", "missing"})


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome of one file.

    Attributes:
        path: relative to the folder that is sent, as ``path_text`` writes it.
        code, detail: reason of a refusal, or what is odd about a stored file; empty otherwise.
        bytes, modified_ns: of the file when it was read, so that a changed file is read again.
        metadata: digest of what the table says of it, so that a changed row is sent again.
        collection: that it was sent to, as ``collection_mark`` writes it.
    """

    path: str
    outcome: Outcome
    code: str = ""
    detail: str = ""
    sha256: str = ""
    scan_id: str = ""
    bytes: int = 0
    modified_ns: int = 0
    metadata: str = ""
    collection: str = ""

    @property
    def is_there(self) -> bool:
        """Whether the collection has the file."""
        return self.outcome in SETTLED

    def marked(self, code: str, detail: str) -> "Settled":
        """The same line with a remark."""
        return replace(self, code=code, detail=detail)


_COLUMNS = [column.name for column in fields(Settled)]
_NUMBERS = ("bytes", "modified_ns")
_LATER_COLUMNS = ("metadata", "collection")  # which reports of 0.1.0 lack
_NEEDED = frozenset(_COLUMNS) - set(_LATER_COLUMNS)


def path_text(path: Path, folder: Path | None = None) -> str:
    """A path as text that every report and terminal can hold: one line, valid Unicode."""
    inside = folder is not None and path.is_relative_to(folder)
    text = str(path.relative_to(folder) if inside and folder is not None else path)
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def collection_mark(name: str, created_at: str) -> str:
    """Text that another collection does not have, even if it gets the name after a deletion."""
    return f"{name} {created_at}"


class Report:
    """Adds lines to a new or existing report file; use it as a context manager.

    Attributes:
        collection: mark of the collection that is sent to; its lines alone are continued, and
            those of releases that wrote none.

    Raises:
        InputError: the file ends neither in ``.csv`` nor in ``.jsonl``.
    """

    def __init__(self, file: Path) -> None:
        if file.suffix not in (".csv", ".jsonl"):
            raise InputError(f"expected a report named .csv or .jsonl, got {file.suffix!r}")
        self.file = file
        self.collection = ""
        self._columns = _COLUMNS
        self._stream: IO[str] | None = None

    def earlier(self) -> dict[str, Settled]:
        """The latest line of earlier runs for each path."""
        if not self.file.exists():
            return {}
        with self.file.open(newline="", encoding="utf-8", errors="replace") as stream:
            rows = csv.DictReader(stream) if self.file.suffix == ".csv" else _objects(stream)
            lines = [line for row in rows if (line := _read(row)) is not None]
        return {line.path: line for line in lines if line.collection in ("", self.collection)}

    def __enter__(self) -> "Report":
        is_new = not self.file.exists() or self.file.stat().st_size == 0
        if not is_new:
            self._columns = self._existing_columns()
        cut_off = not is_new and not self._ends_with_line()
        self._stream = self.file.open("a", newline="", encoding="utf-8")
        if cut_off:
            self._stream.write("\n")
        if is_new and self.file.suffix == ".csv":
            csv.writer(self._stream).writerow(_COLUMNS)
        return self

    def _existing_columns(self) -> list[str]:
        """Those of a CSV that an earlier version began. Raises InputError: it is no report."""
        if self.file.suffix != ".csv":
            return _COLUMNS
        with self.file.open(newline="", encoding="utf-8", errors="replace") as stream:
            columns = next(csv.reader(stream), [])
        if not set(columns) >= _NEEDED:
            raise InputError("expected a report of an earlier ingest, or a new file")
        return columns

    def _ends_with_line(self) -> bool:
        with self.file.open("rb") as stream:
            stream.seek(-1, 2)
            return stream.read(1) == b"\n"

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def add(self, settled: Iterable[Settled]) -> None:
        """Write lines and flush them, so that a kill loses none of them."""
        if self._stream is None:
            raise InputError("expected an open report")
        for row in (asdict(replace(line, collection=self.collection)) for line in settled):
            if self.file.suffix == ".csv":
                csv.DictWriter(self._stream, self._columns, extrasaction="ignore").writerow(row)
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
        values = {name: row[name] for name in _NEEDED}
        values |= {name: row.get(name) or "" for name in _LATER_COLUMNS}
        return Settled(**values | {name: int(row[name]) for name in _NUMBERS})
    except (KeyError, TypeError, ValueError):
        return None
