"""A collection as a folder of files, to keep, to read with other tools, and to import again.

Format 1:

    collection.json       format and version, name, encoder_id, dim, scans, and sha256 per file
    scans.parquet         one row per scan; ``labels`` and ``attributes`` are JSON objects
    thumbnails.parquet    scan_id, jpeg
    images.parquet        scan_id, png; only of collections that keep images

The folder gets its name only when it is complete. It holds patient data, and an erasure does not
reach it: protect it as you protect the images.

Needs pyarrow (``pip install 'sonoprobe[parquet]'``).

Shape suffixes: D embedding width.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.codec import columns, from_columns, from_json, to_columns
from service.catalog.data_folder import make_private, make_private_folder
from service.catalog.ids import file_sha256
from service.catalog.interface import Catalog
from service.catalog.plain_text import name_of, settled_attributes, settled_labels
from service.catalog.records import ClipFrame, Collection, ExportRow, NewScan, Scan, StoredScan
from service.errors import (
    CatalogFailure,
    EncoderMismatch,
    Erased,
    InputError,
    InvalidArtifact,
    NameTaken,
    PolicyRefused,
    ServiceError,
    UnknownItem,
)

FORMAT, VERSION = "sonoprobe-collection", 1
MANIFEST = "collection.json"
SCANS, THUMBNAILS, IMAGES = "scans.parquet", "thumbnails.parquet", "images.parquet"
AT_ONCE = 200  # rows of one row group, and of one transaction
_SCAN_ID = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,127}")  # as of uploads
_UNIT = 1e-3
MAX_REGIONS = 999  # of a frame
# Fields that belong to one catalog; the next one gives its own.
LOCAL = frozenset({"row_id", "collection", "encoder_id", "updated_at", "version"})

OnScan: TypeAlias = Callable[[int, int], None]
Store: TypeAlias = Callable[..., list[StoredScan | ServiceError]]  # as ``Catalog.add_scans``


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """Size and digest of a file of an export."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ExportManifest:
    """The content of ``collection.json``."""

    format: str
    format_version: int
    name: str
    description: str
    encoder_id: str
    dim: int
    scans: int
    retention_days: float | None
    intake: Mapping[str, Any]
    files: Mapping[str, ExportedFile]


@dataclass(frozen=True, slots=True)
class Imported:
    """How many scans of an export were new, and how many the collection had already.

    Attributes:
        ignored: how many of the known ones have other labels or ids in the export.
        erased: how many were left out, because their subject or study was erased since.
        refused: how many the policy of the workspace left out.
    """

    stored: int
    known: int
    ignored: int = 0
    erased: int = 0
    refused: int = 0


def export_collection(
    catalog: Catalog,
    workspace_id: str,
    name: str,
    folder: Path,
    *,
    on_scan: OnScan = lambda done, total: None,
) -> int:
    """Write a collection into a new folder; return the number of scans.

    Args:
        on_scan: called with the number of scans written and of all; its exception stops the export.

    Raises:
        UnknownItem: no such collection.
        NameTaken: the folder exists.
        InputError: pyarrow is not installed.
        CatalogFailure: the folder cannot be written.
    """
    arrow = _Arrow()
    source = catalog.get_collection(workspace_id, name)
    if folder.exists():
        raise NameTaken("the folder to export to exists already")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        make_private_folder(folder.parent)
        make_private_folder(unfinished)
        try:
            scans = _write(arrow, catalog, workspace_id, source, unfinished, on_scan)
            _describe(unfinished, source, scans)
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
    store: Store | None = None,
) -> Imported:
    """Import an exported collection; after an interruption, call it again to continue.

    A missing collection is created for the encoder of the export. Ages, labels and ids are kept;
    a scan whose image the collection has already under the same subject is left unchanged. Scans
    of a subject or study that was erased since they were first stored are left out, and so are
    those that the policy of the workspace refuses.

    Args:
        store: stores a batch of scans; None = the catalog stores them, without an index.

    Raises:
        UnknownItem: the folder holds no export.
        InvalidArtifact: damaged, or of another format or format version.
        EncoderMismatch: the collection exists and is of another encoder.
        InputError: pyarrow is not installed.
        QuotaExceeded: the workspace may not store more; the batches before stay.
    """
    arrow = _Arrow()
    manifest = _verified(folder)
    _prepare(catalog, workspace_id, name, manifest)
    stored = known = ignored = erased = refused = 0
    # Who was erased is asked in the transaction that stores: an erasure may come at any moment.
    keep = partial(store or catalog.add_scans, encoder_id=manifest.encoder_id, unless_erased=True)
    for batch in _read(arrow, folder, manifest):
        for answer in keep(workspace_id, name, batch):
            if isinstance(answer, Erased):
                erased += 1
                continue
            if isinstance(answer, PolicyRefused):
                refused += 1
                continue
            if isinstance(answer, ServiceError):
                raise InvalidArtifact(f"a row cannot be stored: {answer}") from answer
            stored += answer.created
            known += not answer.created
            ignored += bool(answer.ignored)
        on_scan(stored + known + erased + refused, manifest.scans)
    return Imported(stored, known, ignored, erased, refused)


class _Arrow:
    """pyarrow, which only exports and imports need. Raises InputError: it is not installed."""

    def __init__(self) -> None:
        try:
            import pyarrow
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise InputError("expected pyarrow: pip install 'sonoprobe[parquet]'") from error
        self.lib: Any = pyarrow
        self.parquet: Any = parquet

    def scans(self, dim: int) -> Any:
        """The schema of ``scans.parquet``: the columns that do not depend on one catalog."""
        lib = self.lib
        vector = ("embedding", lib.list_(lib.float32(), dim))
        frame = lib.struct([*self._columns(ClipFrame), vector])
        kept = [column for column in self._columns(Scan) if column[0] not in LOCAL]
        return lib.schema([*kept, ("clip_frames", lib.list_(frame)), vector])

    def _columns(self, record: type) -> list[tuple[str, Any]]:
        types = {int: self.lib.int64(), float: self.lib.float64()}
        return [(c.name, types.get(c.kind, self.lib.string())) for c in columns(record)]

    def blobs(self, column: str) -> Any:
        """The schema of the other two files."""
        return self.lib.schema([("scan_id", self.lib.string()), (column, self.lib.binary())])

    def batch(self, schema: Any, rows: Iterable[Mapping[str, Any]]) -> Any:
        """Rows as one batch of a Parquet file."""
        return self.lib.RecordBatch.from_pylist(list(rows), schema=schema)


def _write(
    arrow: _Arrow,
    catalog: Catalog,
    workspace_id: str,
    source: Collection,
    folder: Path,
    on_scan: OnScan,
) -> int:
    done, after = 0, 0
    with ExitStack() as stack:

        def writer(file: str, schema: Any) -> Any:
            make_private(folder / file)
            table = arrow.parquet.ParquetWriter(folder / file, schema, compression="zstd")
            return stack.enter_context(table)

        scans = writer(SCANS, arrow.scans(source.dim))
        thumbnails = writer(THUMBNAILS, arrow.blobs("jpeg"))
        images = writer(IMAGES, arrow.blobs("png")) if source.keep_images else None
        while page := catalog.export_rows(workspace_id, source.name, after=after, limit=AT_ONCE):
            scans.write_batch(arrow.batch(arrow.scans(source.dim), map(_row, page)))
            jpegs = ({"scan_id": row.scan.scan_id, "jpeg": row.jpeg} for row in page)
            thumbnails.write_batch(arrow.batch(arrow.blobs("jpeg"), jpegs))
            if images is not None:
                kept = (row for row in page if row.png is not None)
                pngs = ({"scan_id": row.scan.scan_id, "png": row.png} for row in kept)
                images.write_batch(arrow.batch(arrow.blobs("png"), pngs))
            done, after = done + len(page), page[-1].scan.row_id
            on_scan(done, max(done, source.scans))
    return done


def _row(row: ExportRow) -> dict[str, Any]:
    frames = [to_columns(frame) | {"embedding": frame.embedding_D} for frame in row.frames]
    return to_columns(row.scan) | {"clip_frames": frames, "embedding": row.embedding_D}


def _describe(folder: Path, source: Collection, scans: int) -> None:
    manifest = ExportManifest(
        format=FORMAT,
        format_version=VERSION,
        name=source.name,
        description=source.description,
        encoder_id=source.encoder_id,
        dim=source.dim,
        scans=scans,
        retention_days=source.retention_days,
        intake=dict(source.intake),
        files={
            file.name: ExportedFile(file.stat().st_size, file_sha256(file))
            for file in sorted(folder.iterdir())
        },
    )
    text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False)
    make_private(folder / MANIFEST)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _verified(folder: Path) -> ExportManifest:
    if not (folder / MANIFEST).is_file():
        raise UnknownItem("the folder holds no exported collection")
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if (document["format"], document["format_version"]) != (FORMAT, VERSION):
            raise InvalidArtifact(f"expected {FORMAT} {VERSION}, got another format or version")
        manifest = from_json(ExportManifest, document)
        if not {SCANS, THUMBNAILS} <= manifest.files.keys() <= {SCANS, THUMBNAILS, IMAGES}:
            raise InvalidArtifact(f"expected the files {SCANS}, {THUMBNAILS} and perhaps {IMAGES}")
        for name, file in manifest.files.items():
            if file_sha256(folder / name) != file.sha256:
                raise InvalidArtifact(f"{name} is not what was written")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidArtifact("the exported collection cannot be read") from error
    return manifest


def _prepare(catalog: Catalog, workspace_id: str, name: str, manifest: ExportManifest) -> None:
    try:
        target = catalog.get_collection(workspace_id, name)
    except UnknownItem:
        catalog.create_collection(
            workspace_id,
            name,
            encoder_id=manifest.encoder_id,
            dim=manifest.dim,
            description=manifest.description,
            keep_images=IMAGES in manifest.files,
            retention_days=manifest.retention_days,
            intake=manifest.intake,
        )
        return
    if (target.encoder_id, target.dim) != (manifest.encoder_id, manifest.dim):
        raise EncoderMismatch(
            f"the collection is of {target.encoder_id}, the export of {manifest.encoder_id}"
        )


def _read(arrow: _Arrow, folder: Path, manifest: ExportManifest) -> Iterator[list[NewScan]]:
    """Batches of scans. Raises InvalidArtifact."""
    try:
        blobs = _blobs(arrow, folder / THUMBNAILS, "jpeg")
        images = _blobs(arrow, folder / IMAGES, "png") if IMAGES in manifest.files else iter(())
        image = next(images, None)
        with arrow.parquet.ParquetFile(folder / SCANS) as scans:
            if not scans.schema_arrow.equals(arrow.scans(manifest.dim)):
                raise InvalidArtifact(f"{SCANS} has other columns than expected")
            for batch in scans.iter_batches(batch_size=AT_ONCE):
                scans_read: list[NewScan] = []
                for row in batch.to_pylist():
                    scan_id, jpeg = next(blobs, (None, b""))
                    if scan_id != row["scan_id"]:
                        raise InvalidArtifact("thumbnails are not in the order of the scans")
                    png = None
                    if image is not None and image[0] == scan_id:
                        png, image = image[1], next(images, None)
                    scans_read.append(_new_scan(row, jpeg, png))
                yield scans_read
    except (
        arrow.lib.ArrowException,
        CatalogFailure,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise InvalidArtifact("the exported collection cannot be read") from error


def _blobs(arrow: _Arrow, file: Path, column: str) -> Iterator[tuple[str, bytes]]:
    with arrow.parquet.ParquetFile(file) as stored:
        if not stored.schema_arrow.equals(arrow.blobs(column)):
            raise InvalidArtifact(f"{file.name} has other columns than expected")
        for batch in stored.iter_batches(batch_size=AT_ONCE):
            for row in batch.to_pylist():
                yield row["scan_id"], row[column]


def _new_scan(row: dict[str, Any], jpeg: bytes, png: bytes | None) -> NewScan:
    if not _SCAN_ID.fullmatch(row["scan_id"] or ""):
        raise InvalidArtifact("a scan id holds characters that a URL cannot address")
    scan = from_columns(
        NewScan,
        row | _settled(row),
        embedding_D=_unit(row["embedding"]),
        thumbnail_jpeg=jpeg,
        image_png=png,
        frames=tuple(
            from_columns(ClipFrame, frame, embedding_D=_unit(frame["embedding"]))
            for frame in row["clip_frames"] or ()
        ),
    )
    if not 1 <= scan.image.regions_used <= MAX_REGIONS:
        raise InvalidArtifact(f"expected 1 to {MAX_REGIONS} regions of a frame")
    return scan


def _settled(row: Mapping[str, Any]) -> dict[str, Any]:
    """Ids, labels and attributes in their stored form: release 0.1.0 did not check them."""
    ids = {name: row[name] for name in ("scan_id", "subject_id", "study_id")}
    labels, attributes = json.loads(row["labels"]), json.loads(row["attributes"])
    return {
        **{name: None if text is None else name_of(text) for name, text in ids.items()},
        "labels": json.dumps(settled_labels(labels)),
        "attributes": json.dumps(settled_attributes(attributes)),
    }


def _unit(numbers: Sequence[float]) -> npt.NDArray[np.float32]:
    embedding_D = np.array(numbers, np.float32)
    if not abs(float(np.linalg.norm(embedding_D)) - 1) < _UNIT:
        raise InvalidArtifact("an embedding is not of unit length")
    return embedding_D
