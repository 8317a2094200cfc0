"""Labelled image files: a folder per class, or a CSV with paths and labels."""

import csv
from dataclasses import dataclass
from pathlib import Path

from service.cli.ingest import image_files
from service.errors import InputError

COLUMNS = ("path", "label", "subject_id", "study_id")


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """One image file with its class, subject and study; empty = not known."""

    path: Path
    label: str
    subject_id: str = ""
    study_id: str = ""

    @property
    def example(self) -> dict[str, str]:
        """The example in a request."""
        fields = {"label": self.label, "subject_id": self.subject_id, "study_id": self.study_id}
        return {name: value for name, value in fields.items() if value}


def labelled_files(source: Path) -> list[LabelledFile]:
    """Read a folder with one sub-folder per class, or a CSV with the columns path and label.

    A CSV may also have subject_id and study_id; its paths are relative to its folder.

    Raises:
        InputError: no labelled images, missing or unknown columns, or missing files.
    """
    files = _of_folder(source) if source.is_dir() else _of_csv(source)
    if not files:
        raise InputError("expected labelled images, got none")
    return files


def _of_folder(folder: Path) -> list[LabelledFile]:
    """Images directly in the folder have no class and are skipped."""
    files = [file for file in image_files(folder) if file.parent != folder]
    return [LabelledFile(file, file.relative_to(folder).parts[0]) for file in files]


def _of_csv(path: Path) -> list[LabelledFile]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            names = set(reader.fieldnames or ())
            if not {"path", "label"} <= names or names - set(COLUMNS):
                raise InputError(f"expected columns path, label and no others than {COLUMNS}")
            rows = [_of_row(path.parent, reader.line_num, row) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"the CSV cannot be read: {error}") from error
    missing = [number for number, file in enumerate(rows, 1) if not file.path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(rows)} files do not exist, first row {missing[0]}"
        )
    return rows


def _of_row(folder: Path, line: int, row: dict[str, str | None]) -> LabelledFile:
    fields = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if not fields["path"] or not fields["label"] or None in row:
        raise InputError(
            f"line {line}: expected a path and a label, and no more fields than columns"
        )
    path = folder / fields.pop("path")
    return LabelledFile(path, **fields)
