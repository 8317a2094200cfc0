"""The table of an ingest: a CSV that says of each file whose it is and what it shows.

Columns: ``path``, ``scan_id``, ``subject_id``, ``study_id``, ``label`` (of the command's task),
``label:TASK`` and ``attribute:NAME``.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.cli.csv_table import TableRow, located, read_table
from service.cli.folder_walk import real
from service.errors import InputError

_PLAIN = ("path", "scan_id", "subject_id", "study_id", "label")
EXPECTED = f"{', '.join(_PLAIN)}, label:TASK, attribute:NAME"
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")  # as in JSON
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class MissingFile:
    """A row whose file does not exist, or lies outside the folder."""

    line: int
    text: str
    outside: bool = False


@dataclass(frozen=True, slots=True)
class FileTable:
    """What a table says.

    Attributes:
        metadata: the metadata of each file that exists, by its path without links.
        missing: the other rows.
        tasks: of all columns of labels, although every cell of one may be empty.
    """

    metadata: Mapping[Path, dict[str, Any]]
    missing: tuple[MissingFile, ...]
    tasks: frozenset[str]


def read_file_table(table: Path, folder: Path, label_task: str | None) -> FileTable:
    """Read a table for the files of a folder.

    Paths are relative to the table's folder, or else to the folder that is sent.

    Args:
        label_task: task of the column ``label``.

    Raises:
        InputError: the CSV cannot be read (see ``read_table``), a row has no path, the column
            ``label`` has no task, or rows contradict each other.
    """
    rows = read_table(table, is_known=_is_known, required=("path",), expected=EXPECTED)
    root = real(folder)
    first: dict[Path, tuple[int, dict[str, Any]]] = {}
    missing: list[MissingFile] = []
    for row in rows:
        if "path" not in row.cells:
            raise InputError(f"line {row.line}: expected a path")
        found = located(row.cells["path"], (table.parent, folder))
        if found is None or not real(found).is_relative_to(root):
            missing.append(MissingFile(row.line, row.cells["path"], outside=found is not None))
            continue
        metadata = _metadata(row, label_task)
        line, earlier = first.setdefault(real(found), (row.line, metadata))
        if earlier != metadata:
            raise InputError(f"lines {line} and {row.line} give one file different values")
    _refuse_shared_ids(dict(first.values()))
    by_path = {path: metadata for path, (_, metadata) in first.items()}
    tasks = (_task_of(column, label_task) for row in rows[:1] for column in row.columns)
    return FileTable(by_path, tuple(missing), frozenset(task for task in tasks if task))


def _is_known(column: str) -> bool:
    kind, colon, name = column.partition(":")
    return kind in ("label", "attribute") and bool(name) if colon else column in _PLAIN


def _task_of(column: str, label_task: str | None) -> str | None:
    """The task that a column has labels of."""
    kind, _, name = column.partition(":")
    if kind != "label":
        return None
    return name or label_task


def _metadata(row: TableRow, label_task: str | None) -> dict[str, Any]:
    """The metadata of an upload. Raises InputError: a label without a task, or two of one."""
    metadata: dict[str, Any] = {}
    labels: dict[str, str] = {}
    attributes: dict[str, Any] = {}
    for column, cell in row.cells.items():
        kind, colon, name = column.partition(":")
        if column == "label" and label_task is None:
            raise InputError("the column label needs --label-task, or the name label:TASK")
        task = label_task if column == "label" else name
        if kind == "label" and task is not None:
            if labels.setdefault(task, cell) != cell:
                raise InputError(f"line {row.line}: expected one label per task, got two")
        elif colon:
            attributes[name] = attribute_value(cell)
        elif column != "path":
            metadata[column] = cell
    groups = {"labels": labels, "attributes": attributes}
    return metadata | {name: values for name, values in groups.items() if values}


def attribute_value(cell: str) -> str | int | float | bool:
    """Numbers and booleans as JSON writes them; all else is text, such as 3,5 or 007."""
    if cell.casefold() in ("true", "false"):
        return cell.casefold() == "true"
    if not _NUMBER.fullmatch(cell):
        return cell
    number: int | float = json.loads(cell)
    is_storable = -_INT64 <= number < _INT64 if isinstance(number, int) else math.isfinite(number)
    return number if is_storable else cell


def _refuse_shared_ids(metadata: Mapping[int, dict[str, Any]]) -> None:
    """Raises InputError: two files with one scan_id."""
    lines: dict[str, int] = {}
    for line, row in metadata.items():
        scan_id = row.get("scan_id")
        if scan_id is not None and lines.setdefault(scan_id, line) != line:
            raise InputError(f"lines {lines[scan_id]} and {line} give two files one scan_id")
