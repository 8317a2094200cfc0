"""Find the frames of an unpacked data set, with their labels and groups.

An adapter is a function of the folder and a few parameters; a published layout is parameters in
``datasets.toml``. Patterns are regular expressions searched in the path below the folder,
written with slashes; their groups, joined by a slash, are the value.
"""

import csv
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter
from typing import Any, TypeAlias

from service.errors import InputError

Adapter: TypeAlias = Callable[..., Iterator["FoundFile"]]
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
CLIP_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mpeg", ".mpg", ".mkv", ".webm"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
_FRAME_SUFFIXES = PICTURE_SUFFIXES | CLIP_SUFFIXES | DICOM_SUFFIXES
_DICOM_MARK = slice(128, 132)  # "DICM" after the preamble, DICOM PS3.10 7.1


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file that should be a frame.

    Attributes:
        group: patient or video, empty when the layout does not tell.
        split: the set's own split, empty when it has none.
        problem: why the file cannot be used, empty when it can.
    """

    path: Path
    label: str = ""
    group: str = ""
    split: str = ""
    problem: str = ""


def class_folders(
    root: Path, *, classes: Sequence[str] = (), within: str = "", skip: str = "", group: str = ""
) -> Iterator[FoundFile]:
    """Frames in folders named after their class.

    Args:
        classes: names of class folders at any depth, nearest first; empty: the folders at the
            top are the classes.
        within: only frames below a folder of this name.
        skip: pattern of paths that are no frames, such as masks.

    Raises:
        InputError: no folder, or a pattern that is no regular expression.
    """
    skipped, grouped = _compile(skip), _compile(group)
    for path, inner in _files(root):
        folders = inner.split("/")[:-1]
        named = [part for part in reversed(folders) if part in classes] if classes else folders
        if not named or (within and within not in folders) or (skipped and skipped.search(inner)):
            continue
        yield _found_file(path, inner, grouped, label=named[0])


def image_folder(
    root: Path,
    *,
    label: str = "",
    labels: Mapping[str, str] | None = None,
    group: str = "",
    group_depth: int = 0,
    split: str = "",
    skip: str = "",
) -> Iterator[FoundFile]:
    """Frames anywhere below a folder; label, group and split from patterns of their paths.

    Args:
        label: pattern of the label; a path without it is unlabelled.
        labels: names to give to what ``label`` finds, by lower case; others stay.
        group: pattern of the group; a path without it is reported, not guessed.
        group_depth: instead: so many folders below ``root`` name the group.

    Raises:
        InputError: no folder, a pattern that is no regular expression, or two kinds of group.
    """
    if group and group_depth:
        raise InputError("expected a group pattern or a group depth, got both")
    names = labels or {}
    labelled, grouped, parted = _compile(label), _compile(group), _compile(split)
    skipped = _compile(skip)
    for path, inner in _files(root):
        if skipped and skipped.search(inner):
            continue
        name = _match(labelled, inner)
        name, own_split = names.get(name.lower(), name), _match(parted, inner)
        found_file = _found_file(path, inner, grouped, label=name, split=own_split)
        yield _by_depth(found_file, inner, group_depth) if group_depth else found_file


def csv_table(
    root: Path,
    *,
    table: str,
    path: str,
    label: str = "",
    group: str = "",
    split: str = "",
    delimiter: str = ",",
) -> Iterator[FoundFile]:
    """Frames named by a table; columns in braces make up each value: ``Images/{ID}.png``.

    Args:
        table: name of the file, or a pattern such as ``*.csv``; it lies anywhere below ``root``.
        path: of the frame, from the table's folder.

    Raises:
        InputError: not exactly one such table, a column it lacks, or a path outside ``root``.
    """
    file = _one_table(root, table)
    templates = {"path": path, "label": label, "group": group, "split": split}
    columns = {name for text in templates.values() for name in _columns_of(text)}
    for record in _records(file, delimiter, columns):
        values = {key: text.format_map(record) for key, text in templates.items()}
        yield _of_table(root, file, values, group_wanted=bool(group))


def dicom_folder(root: Path, *, group_depth: int = 0) -> Iterator[FoundFile]:
    """DICOM files anywhere below a folder, with or without a suffix.

    Args:
        group_depth: so many folders below ``root`` name the group (1 for patient folders);
            0: each folder that holds files is a group.

    Raises:
        InputError: no folder.
    """
    for path, inner in _files(root, suffixes=None):
        if path.suffix.lower() in DICOM_SUFFIXES or _is_dicom(path):
            folders = inner.split("/")[:-1]
            yield _by_depth(FoundFile(path), inner, group_depth or len(folders))


ADAPTERS: Mapping[str, Adapter] = {
    "class_folders": class_folders,
    "image_folder": image_folder,
    "csv_table": csv_table,
    "dicom_folder": dicom_folder,
}


def check_layout(layout: Mapping[str, Any]) -> None:
    """Refuse a layout whose adapter or parameters do not exist.

    Raises:
        InputError: with what there is.
    """
    name = str(layout.get("adapter"))
    if name not in ADAPTERS:
        raise InputError(f"expected an adapter of {', '.join(ADAPTERS)}, got {name!r}")
    signature = inspect.signature(ADAPTERS[name]).parameters
    known = {key for key in signature if key != "root"}
    names = set(layout) - {"adapter"}
    needed = {key for key in known if signature[key].default is inspect.Parameter.empty}
    if names - known or needed - names:
        raise InputError(
            f"{name}: expected parameters among {sorted(known)}, {sorted(needed)} at least; "
            f"got {sorted(names)}"
        )


def find_frames(root: Path, layout: Mapping[str, Any]) -> Iterator[FoundFile]:
    """Apply a layout to an unpacked folder.

    Raises:
        InputError: the layout does not exist, or does not fit the folder.
    """
    check_layout(layout)
    parameters = {key: value for key, value in layout.items() if key != "adapter"}
    return ADAPTERS[layout["adapter"]](root, **parameters)


def _files(
    root: Path, suffixes: frozenset[str] | None = _FRAME_SUFFIXES
) -> Iterator[tuple[Path, str]]:
    """Files below the folder with these suffixes, sorted, hidden ones and links left out."""
    if not root.is_dir():
        raise InputError(f"expected a folder: {root}")
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root).as_posix()
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in inner.split("/"))
        if hidden or path.is_symlink() or not path.is_file():
            continue
        if suffixes is None or path.suffix.lower() in suffixes:
            yield path, inner


def _compile(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern) if pattern else None
    except re.error as error:
        raise InputError(f"{pattern!r} is no regular expression: {error}") from error


def _match(pattern: re.Pattern[str] | None, inner: str) -> str:
    """The pattern's groups joined by a slash, or the whole match of one without groups."""
    match = pattern.search(inner) if pattern else None
    if match is None:
        return ""
    parts = [part for part in match.groups() if part]
    return "/".join(parts) if match.re.groups else match[0]


def _found_file(
    path: Path, inner: str, grouped: re.Pattern[str] | None, *, label: str, split: str = ""
) -> FoundFile:
    group = _match(grouped, inner)
    problem = "its path does not match the group pattern" if grouped and not group else ""
    return FoundFile(path, label, group, split, problem)


def _by_depth(found_file: FoundFile, inner: str, depth: int) -> FoundFile:
    folders = inner.split("/")[:-1]
    if len(folders) < depth:
        return replace(found_file, group="", problem=f"lies less than {depth} folders in")
    return replace(found_file, group="/".join(folders[:depth]))


def _one_table(root: Path, table: str) -> Path:
    if not root.is_dir():
        raise InputError(f"expected a folder: {root}")
    hidden = ("._", "__MACOSX")
    files = [f for f in sorted(root.rglob(table)) if not any(mark in str(f) for mark in hidden)]
    if len(files) != 1:
        names = ", ".join(str(f.relative_to(root)) for f in files[:5]) or "none"
        raise InputError(f"expected one table {table!r} in the folder, got {names}")
    return files[0]


def _records(file: Path, delimiter: str, names: set[str]) -> list[dict[str, str]]:
    """The cells of these columns of every row, stripped; a column's name is stripped as well."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter=delimiter)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            if missing := sorted(names - set(columns)):
                raise InputError(f"{file.name}: expected the columns {missing}, got {columns}")
            return [{name: (row[name] or "").strip() for name in names} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
        raise InputError(f"{file.name} is no table: {error}") from error


def _columns_of(template: str) -> list[str]:
    try:
        return [name for _, name, _, _ in Formatter().parse(template) if name]
    except ValueError as error:
        raise InputError(f"{template!r}: {error}") from error


def _of_table(
    root: Path, table: Path, values: Mapping[str, str], *, group_wanted: bool
) -> FoundFile:
    path = (table.parent / values["path"]).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"{table.name}: a path leaves the folder: {values['path']!r}")
    problem = "" if path.is_file() else "named by the table, but not in the folder"
    if group_wanted and not values["group"].strip("/"):
        problem = problem or "the table names no group"
    return FoundFile(path, values["label"], values["group"], values["split"], problem)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(_DICOM_MARK.stop)[_DICOM_MARK] == b"DICM"
    except OSError:
        return False
