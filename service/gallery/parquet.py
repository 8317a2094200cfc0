"""A collection as a folder of files, to keep, to look at with other tools, and to take in again.

Format 1:

    collection.json       format and version, name, encoder_id, dim, scans, and sha256 per file
    scans.parquet         one row per scan; ``labels`` and ``attributes`` are JSON objects
    thumbnails.parquet    scan_id, jpeg
    images.parquet        scan_id, png; only of collections that keep images

The folder appears under its name only when it is whole. It holds patient data and no erasure
reaches it: keep it as you keep the images.

Needs pyarrow (``pip install 'sonoprobe[parquet]'``).

Shape suffixes: D embedding width.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from service.catalog.interface import Catalog
from service.catalog.lifecycle_records import WholeScan
from service.catalog.records import ClipFrame, Collection, NewScan, ScanImage, StoredScan
from service.errors import (
    CatalogFailure,
    EncoderMismatch,
    InputError,
    InvalidArtifact,
    NameTaken,
    ServiceError,
    UnknownItem,
)

FORMAT, VERSION = "sonoprobe-collection", 1
SAID, SCANS, THUMBNAILS, IMAGES = (
    "collection.json",
    "scans.parquet",
    "thumbnails.parquet",
    "images.parquet",
)
AT_ONCE = 200  # rows of one row group, and of one transaction
_SCAN_ID = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,127}")  # as of uploads
_UNIT = 1e-3

OnScan = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the rows of an export."""

    stored: int
    known: int


def export_collection(
    catalog: Catalog,
    workspace_id: str,
    name: str,
    folder: Path,
    *,
    on_scan: OnScan = lambda done, total: None,
) -> int:
    """Write a collection into a folder that is not there yet; return how many scans.

    Args:
        on_scan: called with the scans written and of all; what it raises ends the writing.

    Raises:
        UnknownItem: no such collection.
        NameTaken: the folder is there already.
        InputError: pyarrow is not installed.
        CatalogFailure: the folder cannot be written.
    """
    arrow = _Arrow()
    found = catalog.get_collection(workspace_id, name)
    if folder.exists():
        raise NameTaken("the folder to export to is there already")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            scans = _write(arrow, catalog, workspace_id, found, unfinished, on_scan)
            _describe(unfinished, found, scans)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        raise CatalogFailure("the folder to export to cannot be written") from error
    return scans


def import_collection(
    catalog: Catalog,
    workspace_id: str,
    folder: Path,
    name: str,
    *,
    on_scan: OnScan = lambda done, total: None,
) -> Imported:
    """Take an exported collection in; one that was broken off goes on where it was.

    The collection is created when there is none, for the encoder of the export. Ages, labels
    and ids are kept; a scan whose bytes the collection holds stays as it is there.

    Raises:
        UnknownItem: no export in the folder.
        InvalidArtifact: damaged, of another format or of another format version.
        EncoderMismatch: the collection is there and of another encoder.
        InputError: pyarrow is not installed.
    """
    arrow = _Arrow()
    said = _verified(folder)
    _prepare(catalog, workspace_id, name, said, keeps=(folder / IMAGES).exists())
    stored = known = 0
    for batch in _read(arrow, folder, said["dim"]):
        answers = catalog.add_scans(workspace_id, name, batch, encoder_id=said["encoder_id"])
        for answer in answers:
            if isinstance(answer, ServiceError):
                raise InvalidArtifact(f"a row cannot be stored: {answer}") from answer
        stored += sum(isinstance(answer, StoredScan) and answer.created for answer in answers)
        known += sum(isinstance(answer, StoredScan) and not answer.created for answer in answers)
        on_scan(stored + known, said["scans"])
    return Imported(stored, known)


class _Arrow:
    """pyarrow, which only exports need. Raises InputError: it is not installed."""

    def __init__(self) -> None:
        try:
            import pyarrow
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise InputError("expected pyarrow: pip install 'sonoprobe[parquet]'") from error
        self.lib: Any = pyarrow
        self.parquet: Any = parquet

    def scans(self, dim: int) -> Any:
        """The schema of ``scans.parquet``."""
        lib = self.lib
        texts = ["scan_id", "sha256", "kind", "format", "subject_id", "study_id"]
        texts += ["labels", "attributes", "created_at", "content_sha256", "looked"]
        columns = [(name, lib.string()) for name in texts]
        sizes = ("width_px", "height_px", "frames", "frames_used")
        columns += [(name, lib.int64()) for name in sizes]
        vector = lib.list_(lib.float32(), dim)
        frame = [("place", lib.int64()), ("time_s", lib.float64()), ("copies", lib.int64())]
        columns += [
            ("frame_rate_hz", lib.float64()),
            ("clip_frames", lib.list_(lib.struct([*frame, ("embedding", vector)]))),
        ]
        return lib.schema([*columns, ("embedding", vector)])

    def blobs(self, column: str) -> Any:
        """The schema of the other two files."""
        return self.lib.schema([("scan_id", self.lib.string()), (column, self.lib.binary())])


def _write(
    arrow: _Arrow,
    catalog: Catalog,
    workspace_id: str,
    found: Collection,
    folder: Path,
    on_scan: OnScan,
) -> int:
    done, after = 0, 0
    with ExitStack() as stack:

        def writer(file: str, schema: Any) -> Any:
            made = arrow.parquet.ParquetWriter(folder / file, schema, compression="zstd")
            return stack.enter_context(made)

        scans = writer(SCANS, arrow.scans(found.dim))
        thumbnails = writer(THUMBNAILS, arrow.blobs("jpeg"))
        images = writer(IMAGES, arrow.blobs("png")) if found.keep_images else None
        while page := catalog.whole_scans(workspace_id, found.name, after=after, limit=AT_ONCE):
            ids = [whole.scan.scan_id for whole in page]
            scans.write_batch(_batch(arrow, arrow.scans(found.dim), [_row(w) for w in page]))
            jpegs = [{"scan_id": i, "jpeg": w.jpeg} for i, w in zip(ids, page, strict=True)]
            thumbnails.write_batch(_batch(arrow, arrow.blobs("jpeg"), jpegs))
            if images is not None:
                kept = zip(ids, page, strict=True)
                pngs = [{"scan_id": i, "png": w.png} for i, w in kept if w.png is not None]
                images.write_batch(_batch(arrow, arrow.blobs("png"), pngs))
            done, after = done + len(page), page[-1].scan.row_id
            on_scan(done, max(done, found.scans))
    return done


def _batch(arrow: _Arrow, schema: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    return arrow.lib.RecordBatch.from_pylist(list(rows), schema=schema)


def _row(whole: WholeScan) -> dict[str, Any]:
    scan, image = whole.scan, whole.scan.image
    return {
        "scan_id": scan.scan_id,
        "sha256": image.sha256,
        "kind": image.kind,
        "format": image.format,
        "width_px": image.width_px,
        "height_px": image.height_px,
        "subject_id": scan.subject_id,
        "study_id": scan.study_id,
        "labels": json.dumps(dict(scan.labels), ensure_ascii=False, sort_keys=True),
        "attributes": json.dumps(dict(scan.attributes), ensure_ascii=False, sort_keys=True),
        "created_at": scan.created_at,
        "content_sha256": image.content_sha256,
        "looked": None
        if image.analysis is None
        else json.dumps(dict(image.analysis), sort_keys=True),
        "frames": image.frames,
        "frames_used": image.frames_used,
        "frame_rate_hz": image.frame_rate_hz,
        "clip_frames": [
            {"place": f.place, "time_s": f.time_s, "copies": f.copies, "embedding": f.embedding_D}
            for f in whole.frames
        ],
        "embedding": whole.embedding_D,
    }


def _describe(folder: Path, found: Collection, scans: int) -> None:
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        for file in sorted(folder.iterdir())
    }
    said = {
        "format": FORMAT,
        "format_version": VERSION,
        "name": found.name,
        "description": found.description,
        "encoder_id": found.encoder_id,
        "dim": found.dim,
        "scans": scans,
        "retention_days": found.retention_days,
        "intake": dict(found.intake),
        "files": files,
    }
    (folder / SAID).write_text(json.dumps(said, indent=1, ensure_ascii=False), encoding="utf-8")


def _verified(folder: Path) -> dict[str, Any]:
    if not (folder / SAID).is_file():
        raise UnknownItem("no exported collection in this folder")
    try:
        said: dict[str, Any] = json.loads((folder / SAID).read_text(encoding="utf-8"))
        found = (said["format"], said["format_version"])
        if found != (FORMAT, VERSION):
            raise InvalidArtifact(f"expected {FORMAT} {VERSION}, got another format or version")
        files = dict(said["files"])
        fields = (said["encoder_id"], said["dim"], said["scans"], said["description"])
        if [type(field) for field in fields] != [str, int, int, str]:
            raise InvalidArtifact(f"expected whole fields in {SAID}")
        for name in {SCANS, THUMBNAILS, *files} - {IMAGES} | ({IMAGES} & files.keys()):
            if name not in (SCANS, THUMBNAILS, IMAGES) or name not in files:
                raise InvalidArtifact("expected scans, thumbnails and perhaps images")
            if _sha256(folder / name) != files[name]["sha256"]:
                raise InvalidArtifact(f"{name} is not what was written")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArtifact("the exported collection cannot be read") from error
    return said


def _prepare(
    catalog: Catalog, workspace_id: str, name: str, said: Mapping[str, Any], *, keeps: bool
) -> None:
    try:
        found = catalog.get_collection(workspace_id, name)
    except UnknownItem:
        catalog.create_collection(
            workspace_id,
            name,
            encoder_id=said["encoder_id"],
            dim=said["dim"],
            description=said["description"],
            keep_images=keeps,
            retention_days=said.get("retention_days"),
            intake=said.get("intake"),
        )
        return
    if (found.encoder_id, found.dim) != (said["encoder_id"], said["dim"]):
        raise EncoderMismatch(
            f"the collection is of {found.encoder_id}, the export of {said['encoder_id']}"
        )


def _read(arrow: _Arrow, folder: Path, dim: int) -> Iterator[list[NewScan]]:
    """Batches of scans. Raises InvalidArtifact."""
    try:
        blobs = _blobs(arrow, folder / THUMBNAILS, "jpeg")
        images = _blobs(arrow, folder / IMAGES, "png")
        image = next(images, None)
        with arrow.parquet.ParquetFile(folder / SCANS) as scans:
            if not scans.schema_arrow.equals(arrow.scans(dim)):
                raise InvalidArtifact(f"{SCANS} has other columns than expected")
            for batch in scans.iter_batches(batch_size=AT_ONCE):
                found: list[NewScan] = []
                for row in batch.to_pylist():
                    scan_id, jpeg = next(blobs, (None, b""))
                    if scan_id != row["scan_id"]:
                        raise InvalidArtifact("thumbnails are not in the order of the scans")
                    png = None
                    if image is not None and image[0] == scan_id:
                        png, image = image[1], next(images, None)
                    found.append(_new_scan(row, jpeg, png))
                yield found
    except (arrow.lib.ArrowException, ValueError, TypeError) as error:
        raise InvalidArtifact("the exported collection cannot be read") from error


def _blobs(arrow: _Arrow, file: Path, column: str) -> Iterator[tuple[str, bytes]]:
    if not file.exists():
        return
    with arrow.parquet.ParquetFile(file) as stored:
        if not stored.schema_arrow.equals(arrow.blobs(column)):
            raise InvalidArtifact(f"{file.name} has other columns than expected")
        for batch in stored.iter_batches(batch_size=AT_ONCE):
            for row in batch.to_pylist():
                yield row["scan_id"], row[column]


def _new_scan(row: Mapping[str, Any], jpeg: bytes, png: bytes | None) -> NewScan:
    if not _SCAN_ID.fullmatch(row["scan_id"]):
        raise InvalidArtifact("a scan id is not one that could be addressed")
    labels, attributes = json.loads(row["labels"]), json.loads(row["attributes"])
    analysis = None if row["looked"] is None else json.loads(row["looked"])
    if not all(isinstance(each, dict) for each in (labels, attributes, analysis or {})):
        raise InvalidArtifact("labels, attributes or what was looked at are not objects")
    if not _is_count((analysis or {}).get("regions_used", 1)):
        raise InvalidArtifact("the number of regions is no count")
    clip = tuple(
        ClipFrame(f["place"], f["time_s"], f["copies"], _unit(f["embedding"]))
        for f in row["clip_frames"] or ()
    )
    return NewScan(
        scan_id=row["scan_id"],
        image=ScanImage(
            sha256=row["sha256"],
            kind=row["kind"],
            format=row["format"],
            width_px=row["width_px"],
            height_px=row["height_px"],
            content_sha256=row["content_sha256"] or "",
            frames=row["frames"],
            frames_used=row["frames_used"],
            frame_rate_hz=row["frame_rate_hz"],
            analysis=analysis,
        ),
        embedding_D=_unit(row["embedding"]),
        thumbnail_jpeg=jpeg,
        subject_id=row["subject_id"],
        study_id=row["study_id"],
        labels=labels,
        attributes=attributes,
        image_png=png,
        created_at=row["created_at"],
        frames=clip,
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 1 <= value < 1000


def _unit(numbers: Sequence[float]) -> npt.NDArray[np.float32]:
    embedding_D = np.array(numbers, np.float32)
    if not abs(float(np.linalg.norm(embedding_D)) - 1) < _UNIT:
        raise InvalidArtifact("an embedding is not of unit length")
    return embedding_D


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
