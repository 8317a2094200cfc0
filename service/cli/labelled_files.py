"""Labelled image files: a folder per class, or a CSV with paths and labels."""

from dataclasses import dataclass
from pathlib import Path

from service.cli.csv_table import TableRow, located, read_table
from service.cli.folder_walk import image_files, walk
from service.cli.terminal import errors
from service.errors import InputError
from sonoprobe_client.bodies import LabelledExample

COLUMNS = ("path", "label", "subject_id", "study_id")


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """One image file with its class, subject and study; empty = not known."""

    path: Path
    label: str
    subject_id: str = ""
    study_id: str = ""

    @property
    def example(self) -> LabelledExample:
        """The example in a request."""
        example: LabelledExample = {"label": self.label}
        if self.subject_id:
            example["subject_id"] = self.subject_id
        if self.study_id:
            example["study_id"] = self.study_id
        return example


def labelled_files(source: Path) -> list[LabelledFile]:
    """Read a folder with one sub-folder per class, or a CSV with the columns path and label.

    A CSV may also have subject_id and study_id; its paths are relative to its folder.

    Raises:
        InputError: no labelled images, a CSV that cannot be read (see ``read_table``), missing
            files, or a file with two labels, subjects or studies.
    """
    files = _of_folder(source) if source.is_dir() else _of_csv(source)
    if not files:
        raise InputError("expected labelled images, got none")
    return files


def _of_folder(folder: Path) -> list[LabelledFile]:
    """Images directly in the folder have no class; they, and what is no image, are counted."""
    images = image_files(folder)
    files = [file for file in images if file.parent != folder]
    for count, kind in (
        (len(images) - len(files), "images lie in no sub-folder and have no class"),
        (sum(1 for _ in walk(folder)) - len(images), "files are no images and are left out"),
    ):
        if count:
            errors.print(f"{count} {kind}", highlight=False, soft_wrap=True)
    return [LabelledFile(file, file.relative_to(folder).parts[0]) for file in files]


def _of_csv(path: Path) -> list[LabelledFile]:
    rows = read_table(
        path,
        is_known=lambda column: column in COLUMNS,
        required=("path", "label"),
        expected=f"path, label and no others than {COLUMNS}",
    )
    for row in rows:
        if not {"path", "label"} <= set(row.cells):
            raise InputError(f"line {row.line}: expected a path and a label")
    found = [(row, located(row.cells["path"], [path.parent])) for row in rows]
    missing = [row.line for row, file in found if file is None]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(rows)} files do not exist, first on line {missing[0]}"
        )
    return _agreeing([(row, file) for row, file in found if file is not None])


def _agreeing(found: list[tuple[TableRow, Path]]) -> list[LabelledFile]:
    """One example per file. Raises InputError: a file has two rows with different values."""
    first: dict[Path, tuple[int, LabelledFile]] = {}
    for row, path in found:
        cells = {name: value for name, value in row.cells.items() if name != "path"}
        file = LabelledFile(path, **cells)
        line, earlier = first.setdefault(path, (row.line, file))
        if earlier != file:
            raise InputError(f"lines {line} and {row.line} give one file different values")
    return [file for _, file in first.values()]
