"""Manifests: tables that name every frame with its licence, group and label.

Shape suffixes: H height, W width.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.imaging.formats.decode import decode

MAX_PIXELS = 100_000_000
_COLUMNS = ("path", "use", "dataset", "label", "group", "split", "licence", "label_conflict")
_OPTIONAL_COLUMNS = ("organ", "source", "sha256")


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One frame of a manifest.

    Attributes:
        path: of the file, absolute.
        use: ``corpus`` (may be trained on) or ``bench`` (never).
        dataset: name of the published set.
        label: class name, empty when unlabelled.
        group: patient, video or near-duplicate group, after its set's name and a slash; never
            split across folds.
        split: the set's own split, empty when it has none.
        licence: as published.
        label_conflict: near-duplicates of this frame carry other labels.
        organ: what is shown, empty when unknown.
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

    Raises:
        InputError: a column is missing, or the file is not there.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = set(_COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise InputError(f"the manifest lacks the columns {sorted(missing)}")
            return [_row(path.parent, fields) for fields in reader]
    except OSError as error:
        raise InputError(f"the manifest cannot be read: {error.strerror}") from error


def _row(folder: Path, fields: dict[str, str]) -> ManifestRow:
    return ManifestRow(
        path=folder / fields["path"],
        use=fields["use"],
        dataset=fields["dataset"],
        label=fields["label"],
        group=_group(fields),
        split=fields["split"],
        licence=fields["licence"],
        label_conflict=fields["label_conflict"] == "1",
        organ=fields.get("organ") or "",
        sha256=fields.get("sha256") or "",
        source=fields.get("source") or "",
    )


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
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow((*_COLUMNS, *_OPTIONAL_COLUMNS))
            writer.writerows(_fields(row, path.parent) for row in rows)
    except OSError as error:
        raise InputError(f"the manifest cannot be written: {error.strerror}") from error


def _fields(row: ManifestRow, folder: Path) -> tuple[str, ...]:
    own = f"{row.dataset}/"
    return (
        os.path.relpath(row.path, folder),
        row.use,
        row.dataset,
        row.label,
        row.group.removeprefix(own) if row.group.startswith(own) else f"/{row.group}",
        row.split,
        row.licence,
        str(int(row.label_conflict)),
        row.organ,
        row.source,
        row.sha256,
    )


def load_frames(rows: Iterable[ManifestRow]) -> list[npt.NDArray[np.uint8]]:
    """Decode every row's frame exactly as the service does: uint8 (H, W) each.

    Raises:
        InputError: a file is missing or does not decode; it is named.
    """
    return [load_frame(row.path) for row in rows]


def load_frame(path: Path) -> npt.NDArray[np.uint8]:
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
