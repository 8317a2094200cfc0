"""Segments on disk, format 1: a folder of files and a manifest with the checksum of each.

No file is opened before its checksum is verified, because a damaged file can overflow FAISS.
Nothing is synced: a file that a power cut leaves incomplete fails its checksum, and every file
can be rebuilt from the catalog.

    rows.f32        N x D little-endian float32, unit rows
    ids.i64         N little-endian int64, ascending row ids
    hashes.u64      N little-endian uint64, content hash of each row (see ``vector_index``)
    compressed.faiss  the compressed index over positions 0 .. N-1; absent until built
    manifest.json   format_version, encoder_id, dim, rows, files, probes (since 0.2.0); and the
                    sha256 of all that

Shape suffixes: N rows, B rows of a block, D embedding width.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from service.arrays import Floats
from service.errors import IndexDamaged
from service.index.neighbours import ContentHashes, Ids

FORMAT_VERSION = 1
ROWS, IDS, HASHES, COMPRESSED, MANIFEST = (
    "rows.f32",
    "ids.i64",
    "hashes.u64",
    "compressed.faiss",
    "manifest.json",
)
Block: TypeAlias = tuple[Ids, ContentHashes, Floats]


@dataclass(frozen=True, slots=True)
class SegmentManifest:
    """The content of a ``manifest.json``; ``files`` is {name: sha256}.

    Attributes:
        probes: lists that a search looks through; None = not measured, as in release 0.1.0.
    """

    encoder_id: str
    dim: int
    rows: int
    files: dict[str, str]
    probes: int | None = None


def write_rows(
    folder: Path, blocks: Iterable[Block], *, encoder_id: str, dim: int
) -> SegmentManifest:
    """Write a segment without a compressed index; ids ascend over all blocks.

    Raises:
        IndexDamaged: the files cannot be written; none of them is left.
    """
    digests = {name: hashlib.sha256() for name in (ROWS, IDS, HASHES)}
    count = 0
    try:
        _make_private_folder(folder)
        with ExitStack() as stack:
            for name in digests:
                _make_private(folder / name)
            files = {name: stack.enter_context((folder / name).open("wb")) for name in digests}
            for ids_B, hashes_B, rows_BD in blocks:
                count += len(ids_B)
                for name, array in ((ROWS, rows_BD), (IDS, ids_B), (HASHES, hashes_B)):
                    data = np.ascontiguousarray(array).view(np.uint8).data
                    files[name].write(data)
                    digests[name].update(data)
        checksums = {name: digest.hexdigest() for name, digest in digests.items()}
        manifest = SegmentManifest(encoder_id, dim, count, checksums)
        write_manifest(folder, manifest)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise IndexDamaged("the index files cannot be written") from error
    return manifest


def add_file(
    folder: Path, manifest: SegmentManifest, name: str, write: Callable[[Path], None]
) -> SegmentManifest:
    """Let ``write`` create one more file of a segment, and add it to the manifest.

    Raises:
        IndexDamaged: the file cannot be written.
    """
    try:
        part = folder / f"{name}.part"
        _make_private(part)
        write(part)
        digest = _sha256_of(part)
        part.replace(folder / name)
        grown = replace(manifest, files=manifest.files | {name: digest})
        write_manifest(folder, grown)
    except OSError as error:
        raise IndexDamaged("the index files cannot be written") from error
    return grown


def put_probes(folder: Path, manifest: SegmentManifest, probes: int) -> SegmentManifest:
    """Add the number of lists to the manifest. Raises IndexDamaged: it cannot be written."""
    grown = replace(manifest, probes=probes)
    try:
        write_manifest(folder, grown)
    except OSError as error:
        raise IndexDamaged("the index files cannot be written") from error
    return grown


def write_manifest(folder: Path, manifest: SegmentManifest) -> None:
    """Replace the manifest atomically."""
    fields = {"format_version": FORMAT_VERSION, **asdict(manifest)}
    part = folder / f"{MANIFEST}.part"
    _make_private(part)
    part.write_text(json.dumps({"segment": fields, "sha256": _digest_of(fields)}, indent=1))
    part.replace(folder / MANIFEST)


def verified(folder: Path, *, encoder_id: str, dim: int) -> SegmentManifest:
    """Compare every byte of a segment with its checksums; only then may its files be opened.

    Raises:
        IndexDamaged: a file is missing or changed, or has another format, encoder or width.
    """
    try:
        manifest = _parsed(json.loads((folder / MANIFEST).read_text()))
        if (manifest.encoder_id, manifest.dim) != (encoder_id, dim):
            raise IndexDamaged("the index files belong to another encoder")
        for name, expected in manifest.files.items():
            if _sha256_of(folder / name) != expected:
                raise IndexDamaged(f"{name} of an index does not have its checksum")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexDamaged("the index files cannot be read") from error
    return manifest


def read_ids(folder: Path, manifest: SegmentManifest) -> tuple[Ids, ContentHashes]:
    """(row_ids_N, hashes_N) of a verified segment. Raises IndexDamaged: they do not fit."""
    ids_N = np.fromfile(folder / IDS, "<i8")
    hashes_N = np.fromfile(folder / HASHES, "<u8")
    if not len(ids_N) == len(hashes_N) == manifest.rows or (np.diff(ids_N) <= 0).any():
        raise IndexDamaged("the ids of an index do not fit its rows")
    return ids_N, hashes_N


def _parsed(document: Any) -> SegmentManifest:
    fields = document["segment"]
    if document["sha256"] != _digest_of(fields) or fields["format_version"] != FORMAT_VERSION:
        raise IndexDamaged("the manifest of an index is damaged or has another format")
    files = fields["files"]
    if not {ROWS, IDS, HASHES} <= files.keys() <= {ROWS, IDS, HASHES, COMPRESSED}:
        raise IndexDamaged(f"the manifest of an index lists unexpected files: {sorted(files)}")
    probes = fields.get("probes")
    if probes is not None and not (type(probes) is int and probes > 0):
        raise IndexDamaged("the manifest of an index has an impossible number of lists")
    return SegmentManifest(fields["encoder_id"], fields["dim"], fields["rows"], files, probes)


def _make_private_folder(folder: Path) -> None:
    """Create a folder, and those above it, so that only their owner can enter them."""
    for parent in reversed(folder.parents):
        if not parent.is_dir():
            parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700)


def _make_private(file: Path) -> None:
    """Create an empty file that only its owner can read, whatever the umask."""
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
