"""Manifests: tables that name every frame with its licence, group and label.

Shape suffixes: H height, W width.
"""

import csv
import dataclasses
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.arrays import Pixels
from service.errors import InputError
from service.imaging.formats.decode import decode

MAX_PIXELS = 100_000_000
USES = ("corpus", "bench")
_COLUMNS = ("path", "use", "dataset", "label", "group", "split", "licence", "label_conflict")
_CONFLICTS = {"": False, "0": False, "1": True}
_ALL_COLUMNS = (*_COLUMNS, "organ", "source", "sha256")


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One frame of a manifest.

    Attributes:
        use: ``corpus`` (may be trained on) or ``bench`` (never).
        label: class name, empty when unlabelled.
        group: patient, video or near-duplicate group, after its set's name and a slash; never
            split across folds.
        split: the set's own split, empty when it has none.
        label_conflict: near-duplicates of this frame carry other labels.
        sha256: of the file, hexadecimal, empty when not recorded.
        source: where the frame came from in the published archive, empty when unknown.
    """

    path: Path
    use: str
    dataset: str
    label: str
    group: str
    split: str
    licence: str
    label_conflict: bool
    organ: str = ""
    sha256: str = ""
    source: str = ""


def read_manifest(path: Path) -> list[ManifestRow]:
    """Read ``manifest.csv``; frame paths are relative to the folder it lies in.

    Columns that it does not know are left out. A byte order mark, which spreadsheets write, is no
    part of the first column.

    Raises:
        InputError: a column is missing, a row lacks fields or says neither 0 nor 1 of a label
            conflict, or the file is not there or not UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = set(_COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise InputError(f"the manifest lacks the columns {sorted(missing)}")
            return [_row(path.parent, fields, reader.line_num) for fields in reader]
    except OSError as error:
        raise InputError(f"the manifest cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the manifest cannot be read: {error}") from error


def _row(folder: Path, fields: dict[str, str], line: int) -> ManifestRow:
    lacking = sorted(name for name in _COLUMNS if fields[name] is None)
    if lacking or not fields["path"]:
        raise InputError(f"line {line} of the manifest lacks {lacking or ['path']}")
    if fields["label_conflict"] not in _CONFLICTS:
        raise InputError(
            f"line {line} of the manifest: expected a label_conflict of 0 or 1, "
            f"got {fields['label_conflict']!r}"
        )
    values: dict[str, Any] = {name: fields.get(name) or "" for name in _ALL_COLUMNS}
    values["path"] = folder / fields["path"]
    values["group"] = _group(fields)
    values["label_conflict"] = _CONFLICTS[fields["label_conflict"]]
    return ManifestRow(**values)


def _group(fields: dict[str, str]) -> str:
    """Groups are a set's own, unless they begin with a slash: those are shared across sets."""
    if fields["group"].startswith("/"):
        return fields["group"][1:]
    return f"{fields['dataset']}/{fields['group'] or fields['path']}"


def write_manifest(rows: Iterable[ManifestRow], path: Path) -> None:
    """Write rows as a manifest that ``read_manifest`` gives back equal.

    Frame paths are written relative to the manifest's folder.

    Raises:
        InputError: the manifest cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, _ALL_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(_fields(row, path.parent) for row in rows)
    except OSError as error:
        raise InputError(f"the manifest cannot be written: {error.strerror}") from error


def _fields(row: ManifestRow, folder: Path) -> dict[str, Any]:
    own = f"{row.dataset}/"
    return dataclasses.asdict(row) | {
        "path": os.path.relpath(row.path, folder),
        "group": row.group.removeprefix(own) if row.group.startswith(own) else f"/{row.group}",
        "label_conflict": int(row.label_conflict),
    }


def load_frames(rows: Iterable[ManifestRow]) -> list[Pixels]:
    """Decode every row's frame exactly as the service does: uint8 (H, W) each.

    Raises:
        InputError: a file is missing or does not decode; it is named.
    """
    return [load_frame(row.path) for row in rows]


def load_frame(path: Path) -> Pixels:
    """Decode one frame exactly as the service does: uint8 (H, W).

    Raises:
        InputError: the file is missing or does not decode; it is named.
    """
    try:
        return decode(path.read_bytes(), max_pixels=MAX_PIXELS).pixels_HW
    except (OSError, InputError) as error:
        raise InputError(f"{path.name}: {error}") from error


def corpus_facts(rows: Iterable[ManifestRow]) -> tuple[dict[str, str], ...]:
    """Frames and licence of each data set among the rows, by name."""
    counts = Counter((row.dataset, row.licence) for row in rows)
    return tuple(
        {"dataset": dataset, "licence": licence, "frames": str(number)}
        for (dataset, licence), number in sorted(counts.items())
    )
