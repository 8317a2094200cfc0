"""Segments on disk (format 2): a folder of files and a manifest with the checksum of each.

Nothing is opened before its checksum was verified: a damaged file can overflow the reader of
FAISS. Nothing is synced either: what a power cut tears fails its checksum, and everything here
can be made again from the catalog.

    rows.f32        N x D little-endian float32, unit rows
    ids.i64         N little-endian int64, ascending row ids
    marks.u64       N little-endian uint64, what each id stood for (see ``index``)
    coarse.faiss    the compressed index over positions 0 .. N-1; absent until it is built
    manifest.json   format_version, encoder_id, dim, rows, files; and the sha256 of all that

Shape suffixes: N rows, B rows of a block, D embedding width.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from service.errors import IndexDamaged
from service.index.neighbours import Floats, Ids, Marks

FORMAT_VERSION = 2
ROWS, IDS, MARKS, COARSE, MANIFEST = (
    "rows.f32",
    "ids.i64",
    "marks.u64",
    "coarse.faiss",
    "manifest.json",
)
Block: TypeAlias = tuple[Ids, Marks, Floats]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a manifest says; ``files`` is {name: sha256}."""

    encoder_id: str
    dim: int
    rows: int
    files: dict[str, str]


def write_rows(folder: Path, blocks: Iterable[Block], *, encoder_id: str, dim: int) -> Facts:
    """Write a segment without a coarse index, ids ascending over all blocks.

    Raises:
        IndexDamaged: the disk refuses; nothing that looks whole is left behind.
    """
    digests = {name: hashlib.sha256() for name in (ROWS, IDS, MARKS)}
    count = 0
    try:
        folder.mkdir(parents=True)
        with ExitStack() as stack:
            files = {name: stack.enter_context((folder / name).open("wb")) for name in digests}
            for ids_B, marks_B, rows_BD in blocks:
                count += len(ids_B)
                for name, array in ((ROWS, rows_BD), (IDS, ids_B), (MARKS, marks_B)):
                    data = np.ascontiguousarray(array).view(np.uint8).data
                    files[name].write(data)
                    digests[name].update(data)
        known = {name: digest.hexdigest() for name, digest in digests.items()}
        facts = Facts(encoder_id, dim, count, known)
        write_manifest(folder, facts)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise IndexDamaged("the index files cannot be written") from error
    return facts


def add_file(folder: Path, facts: Facts, name: str, write: Callable[[Path], None]) -> Facts:
    """Let ``write`` make one more file of a segment, and name it in the manifest.

    Raises:
        IndexDamaged: the disk refuses.
    """
    try:
        part = folder / f"{name}.part"
        write(part)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        part.replace(folder / name)
        grown = Facts(facts.encoder_id, facts.dim, facts.rows, facts.files | {name: digest})
        write_manifest(folder, grown)
    except OSError as error:
        raise IndexDamaged("the index files cannot be written") from error
    return grown


def write_manifest(folder: Path, facts: Facts) -> None:
    """Name what the folder holds, in one step: the old manifest or the new one is there."""
    said = {
        "format_version": FORMAT_VERSION,
        "encoder_id": facts.encoder_id,
        "dim": facts.dim,
        "rows": facts.rows,
        "files": facts.files,
    }
    part = folder / f"{MANIFEST}.part"
    part.write_text(json.dumps({"segment": said, "sha256": _digest_of(said)}, indent=1))
    part.replace(folder / MANIFEST)


def verified(folder: Path, *, encoder_id: str, dim: int) -> Facts:
    """Read every byte of a segment and compare; only then may its files be opened.

    Raises:
        IndexDamaged: anything is missing, changed, of another format, encoder or width.
    """
    try:
        facts = _facts(json.loads((folder / MANIFEST).read_text()))
        if (facts.encoder_id, facts.dim) != (encoder_id, dim):
            raise IndexDamaged("the index files are of another encoder")
        for name, expected in facts.files.items():
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != expected:
                raise IndexDamaged(f"{name} of an index does not have its checksum")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexDamaged("the index files cannot be read") from error
    return facts


def read_ids(folder: Path, facts: Facts) -> tuple[Ids, Marks]:
    """(row_ids_N, marks_N) of a verified segment. Raises IndexDamaged: they do not fit."""
    ids_N = np.fromfile(folder / IDS, "<i8")
    marks_N = np.fromfile(folder / MARKS, "<u8")
    if not len(ids_N) == len(marks_N) == facts.rows or (np.diff(ids_N) <= 0).any():
        raise IndexDamaged("the ids of an index do not fit its rows")
    return ids_N, marks_N


def _facts(document: Any) -> Facts:
    said = document["segment"]
    if document["sha256"] != _digest_of(said) or said["format_version"] != FORMAT_VERSION:
        raise IndexDamaged("the manifest of an index is damaged or of another format")
    files = said["files"]
    if not {ROWS, IDS, MARKS} <= files.keys() <= {ROWS, IDS, MARKS, COARSE}:
        raise IndexDamaged("the manifest of an index names other files than expected")
    return Facts(said["encoder_id"], said["dim"], said["rows"], files)


def _digest_of(said: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
