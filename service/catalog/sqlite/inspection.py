"""Checks that every row of a catalog file is present and valid.

It only reads, so it can run beside a running service.

Shape suffixes: D embedding width.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.catalog.sqlite import schema
from service.catalog.sqlite.database import opened_to_read

MAX_FINDINGS = 100  # listed of each kind
_JPEG, _JPEG_END, _PNG = b"\xff\xd8", b"\xff\xd9", b"\x89PNG\r\n\x1a\n"
_UNIT = 1e-3  # embeddings are of unit length; float32 leaves 1e-6, a damaged one far more

_ROWS = """
    SELECT s.row_id, c.dim, c.keep_images, v.vector, t.jpeg, i.png, i.row_id AS image_row,
        s.workspace_id, v.workspace_id AS vector_owner, t.workspace_id AS thumbnail_owner,
        json_valid(s.labels) AND json_valid(s.attributes) AS parses
    FROM scans AS s JOIN collections AS c ON c.collection_id = s.collection_id
    LEFT JOIN scan_vectors AS v ON v.row_id = s.row_id
    LEFT JOIN scan_thumbnails AS t ON t.row_id = s.row_id
    LEFT JOIN scan_images AS i ON i.row_id = s.row_id
    ORDER BY s.row_id
"""


@dataclass
class Inspection:
    """The size of a catalog and the damage in it.

    Attributes:
        schema: version of the file.
        findings: row numbers by kind, or messages of SQLite's own check, which quote no data.
    """

    schema: int = 0
    scans: int = 0
    collections: int = 0
    classifiers: int = 0
    findings: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Whether there is no finding."""
        return not self.findings

    def note(self, kind: str, what: str) -> None:
        """Add a finding, unless the kind has ``MAX_FINDINGS`` already."""
        findings = self.findings.setdefault(kind, [])
        if len(findings) < MAX_FINDINGS:
            findings.append(what)


def inspect(
    file: Path, *, on_scan: Callable[[int, int], None] = lambda done, all: None
) -> Inspection:
    """Check pages, references, vectors, thumbnails and kept images of a catalog file.

    Args:
        on_scan: called with the number of scans checked and of all.

    Raises:
        CatalogFailure: not a catalog, of another schema, or too damaged to read.
    """
    with opened_to_read(file) as connection:
        report = Inspection(schema.version_of(connection))
        try:
            _check_pages(connection, report)
            _check_rows(connection, report, on_scan)
        except sqlite3.DatabaseError as error:
            report.note("unreadable", error.sqlite_errorname)
    return report


def _check_pages(connection: sqlite3.Connection, report: Inspection) -> None:
    for (text,) in connection.execute("PRAGMA integrity_check(100)"):
        if text != "ok":
            report.note("damaged_page", text)
    for row in connection.execute("PRAGMA foreign_key_check"):
        report.note("dangling_reference", f"{row[0]} row {row[1]}")


def _check_rows(
    connection: sqlite3.Connection, report: Inspection, on_scan: Callable[[int, int], None]
) -> None:
    for name in ("scans", "collections", "classifiers"):
        sql = f"SELECT count(*) FROM {name}"  # noqa: S608 - of the names above
        setattr(report, name, int(connection.execute(sql).fetchone()[0]))
    for done, row in enumerate(connection.execute(_ROWS), start=1):
        _check_row(row, report)
        on_scan(done, report.scans)


def _check_row(row: sqlite3.Row, report: Inspection) -> None:
    where = f"row {row['row_id']}"
    vector, jpeg, png = row["vector"], row["jpeg"], row["png"]
    if vector is None:
        report.note("missing_vector", where)
    elif not isinstance(vector, bytes) or len(vector) != 4 * row["dim"]:
        report.note("vector_of_other_width", where)
    elif not abs(float(np.linalg.norm(np.frombuffer(vector, "<f4"))) - 1) < _UNIT:
        report.note("vector_not_of_unit_length", where)
    if jpeg is None:
        report.note("missing_thumbnail", where)
    elif jpeg and not (jpeg.startswith(_JPEG) and jpeg.endswith(_JPEG_END)):
        report.note("damaged_thumbnail", where)
    if row["image_row"] is not None and not png.startswith(_PNG):
        report.note("damaged_image", where)
    owners = {row["workspace_id"], row["vector_owner"], row["thumbnail_owner"]} - {None}
    if len(owners) > 1:
        report.note("mixed_workspaces", where)
    if not row["parses"]:
        report.note("damaged_labels", where)
