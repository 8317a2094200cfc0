"""The format of the catalog file: version 3. Release 0.1.0 wrote version 1 (``migration``).

Why the tables look like this:

- Vectors, thumbnails and images have tables of their own. SQLite reads whole pages, and a row of
  a few hundred bytes beside kilobytes of blob would make a filter over 100k scans read gigabytes.
- ``row_id`` is AUTOINCREMENT: a deleted scan's number is never given to another, so an index
  that missed the deletion cannot answer with the wrong scan.
- Every table has ``workspace_id``, children too, so that no query depends on a join for it.
- ``classifier_examples`` has no foreign key to scans: it must name what a classifier learnt from
  even after the scan is deleted. It keeps the row number too, because a scan id can be reused.
- Examples belong to the classifier, not to one version; a version lists the examples that it was
  fitted from. So ten versions of a thousand examples store each vector once.
- A scan that a fit used without a label is listed like an example, with an empty label and the
  group number -1: so an erasure finds and names what learnt from it.
- The vector of an example from a scan is read from the scan, and disappears with it.
- Columns that hold the fields of a record have the names of the fields (``codec``).
- The same file or the same pixels are one scan only under the same subject. Without a subject is
  a case of its own: '' stands for it, because no subject has an empty id.
- Thousands of scans have the same labels: in ``scans_by_labels`` filters and facets find each text
  once, with the scans that have it. Files of before get this index when they are opened.
"""

import sqlite3

from service.catalog.layouts.layout_tables import SQLITE_LAYOUT_TABLES
from service.catalog.monitoring.monitoring_tables import SQLITE_MONITORING_TABLES
from service.catalog.policies.sqlite_policy_tables import POLICY_TABLES
from service.catalog.signing.signing_tables import SQLITE_SIGNING_TABLES
from service.errors import CatalogFailure

SCHEMA_VERSION = 3
READABLE = frozenset({1, 2, 3})  # by commands that only read, and by backups

_INDEX = "CREATE INDEX scans_by_labels"

# Statements are separated by a semicolon and an empty line.
_TABLES = """\
CREATE TABLE workspaces (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    forgettings INTEGER NOT NULL DEFAULT 0, -- how often its saved answers were dropped
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleting'))
);

CREATE TABLE keys (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    key_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    revoked_at TEXT,
    roles TEXT NOT NULL DEFAULT '["admin"]', -- JSON list; what keys of schemas 1 and 2 allow
    scopes TEXT NOT NULL DEFAULT '[]', -- JSON list, beside those of the roles
    expires_at TEXT,
    last_used_at TEXT, -- at most a minute old
    replaced_by TEXT, -- key_id of the key that a rotation made
    collections TEXT, -- JSON list of names, or their beginning and *; NULL = all
    classifiers TEXT -- the same
);

CREATE INDEX keys_of_workspace ON keys (workspace_id);

CREATE TABLE answers (
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    key TEXT NOT NULL,
    request_sha256 TEXT NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL,
    headers TEXT NOT NULL,
    expires_at REAL NOT NULL, -- seconds since 1970, UTC
    PRIMARY KEY (workspace_id, key)
);

CREATE INDEX answers_by_expiry ON answers (expires_at);

CREATE TABLE collections (
    collection_id INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    name TEXT NOT NULL,
    encoder_id TEXT NOT NULL,
    dim INTEGER NOT NULL CHECK (dim > 0),
    description TEXT NOT NULL,
    created_at TEXT NOT NULL,
    version INTEGER NOT NULL,
    keep_images INTEGER NOT NULL,
    retention_days REAL, -- NULL = for ever
    intake TEXT NOT NULL, -- JSON: what it refuses
    retention_held INTEGER NOT NULL DEFAULT 0, -- scans that the last sweep refused to delete
    stored_scans INTEGER NOT NULL DEFAULT 0, -- how many; triggers count them
    stored_bytes INTEGER NOT NULL DEFAULT 0, -- of its scans
    key_id TEXT, -- whose request created it; NULL = that of a command, or of schemas 1 and 2
    UNIQUE (workspace_id, name),
    UNIQUE (workspace_id, collection_id)
);

CREATE TABLE scans (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id TEXT NOT NULL,
    collection_id INTEGER NOT NULL,
    scan_id TEXT NOT NULL,
    sha256 TEXT NOT NULL, -- of the file
    kind TEXT NOT NULL,
    format TEXT NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    content_sha256 TEXT NOT NULL, -- of the pixels that were embedded
    frames INTEGER NOT NULL, -- in the file
    frames_used INTEGER NOT NULL,
    frame_rate_hz REAL,
    regions_used INTEGER NOT NULL DEFAULT 1, -- of each frame
    analysis TEXT NOT NULL, -- JSON: regions, masked_px, risk, quality, device
    subject_id TEXT,
    study_id TEXT,
    labels TEXT NOT NULL,
    attributes TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    version INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL DEFAULT 0, -- of vectors, thumbnail and kept image
    key_id TEXT, -- whose request stored it, for the quota of the key; NULL = nobody's
    UNIQUE (collection_id, scan_id),
    FOREIGN KEY (workspace_id, collection_id)
        REFERENCES collections (workspace_id, collection_id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX scans_by_file ON scans (collection_id, sha256, coalesce(subject_id, ''));

CREATE UNIQUE INDEX scans_by_pixels
ON scans (collection_id, content_sha256, coalesce(subject_id, ''));

CREATE INDEX scans_of_collection ON scans (workspace_id, collection_id);

CREATE INDEX scans_by_age ON scans (collection_id, created_at);

CREATE INDEX scans_by_labels ON scans (workspace_id, collection_id, labels);

CREATE INDEX scans_of_subject ON scans (workspace_id, subject_id)
WHERE subject_id IS NOT NULL;

CREATE INDEX scans_of_study ON scans (workspace_id, study_id) WHERE study_id IS NOT NULL;

CREATE TABLE scan_vectors (
    row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    vector BLOB NOT NULL -- little-endian float32, 4 * dim bytes
);

CREATE TABLE scan_thumbnails (
    row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    jpeg BLOB NOT NULL
);

CREATE TABLE scan_images (
    row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    png BLOB NOT NULL -- the embedded pixels without metadata, lossless
);

CREATE TABLE scan_frames (
    frame_id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given again, as scans.row_id
    row_id INTEGER NOT NULL REFERENCES scans (row_id) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    collection_id INTEGER NOT NULL,
    place INTEGER NOT NULL, -- in the file, from 0
    time_s REAL, -- since the first frame of the file
    copies INTEGER NOT NULL CHECK (copies > 0), -- used frames that it stands for
    vector BLOB NOT NULL, -- little-endian float32, 4 * dim bytes
    UNIQUE (row_id, place)
);

CREATE INDEX frames_of_collection ON scan_frames (collection_id);

-- Each search reads it twice: counting a million scans would take longer than the search.
CREATE VIEW collection_records AS
SELECT c.*, c.stored_scans AS scans FROM collections AS c;

CREATE VIEW scan_records AS
SELECT s.*, c.name AS collection, c.encoder_id
FROM scans AS s JOIN collections AS c ON c.collection_id = s.collection_id;

CREATE TABLE classifiers (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    classifier_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    published INTEGER NOT NULL, -- number of the version that predicts
    revision INTEGER NOT NULL, -- grows with each new version and each publishing
    UNIQUE (workspace_id, name)
);

CREATE TABLE classifier_versions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id TEXT NOT NULL,
    classifier_seq INTEGER NOT NULL REFERENCES classifiers (seq) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number > 0),
    kind TEXT NOT NULL,
    encoder_id TEXT NOT NULL,
    classes TEXT NOT NULL,
    report TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at TEXT NOT NULL,
    key_id TEXT, -- of the key that made it
    key_name TEXT,
    examples INTEGER NOT NULL, -- how many
    artifact BLOB NOT NULL, -- the portable document of the classifier
    out_of_fold BLOB NOT NULL, -- scores of heads that had not seen the examples
    UNIQUE (classifier_seq, number)
);

CREATE TABLE classifier_examples (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id TEXT NOT NULL,
    classifier_seq INTEGER NOT NULL REFERENCES classifiers (seq) ON DELETE CASCADE,
    example_id TEXT NOT NULL,
    collection TEXT, -- of a stored scan; NULL = an upload
    scan_id TEXT,
    scan_row_id INTEGER, -- NULL when the scan was gone before the classifier was stored
    sha256 TEXT, -- of the image file
    subject_id TEXT, -- of an upload; that of a scan is read from the scan
    study_id TEXT,
    vector BLOB, -- of an upload, and of its views (codec); NULL after its subject was erased
    UNIQUE (classifier_seq, example_id)
);

CREATE INDEX examples_of_scan ON classifier_examples (scan_row_id);

CREATE INDEX examples_of_subject ON classifier_examples (workspace_id, subject_id)
WHERE subject_id IS NOT NULL;

CREATE TABLE version_examples (
    version_seq INTEGER NOT NULL REFERENCES classifier_versions (seq) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    position INTEGER NOT NULL, -- 0, 1, ... in the order of fitting
    example_seq INTEGER NOT NULL REFERENCES classifier_examples (seq) ON DELETE CASCADE,
    label TEXT NOT NULL,
    group_number INTEGER NOT NULL, -- equal = same patient, study or image; says not who
    PRIMARY KEY (version_seq, position)
) WITHOUT ROWID;

CREATE INDEX versions_of_example ON version_examples (example_seq);

CREATE TABLE operations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    operation_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    request TEXT NOT NULL,
    done INTEGER NOT NULL,
    total INTEGER NOT NULL,
    cancel_asked INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    result TEXT,
    problem TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    collections TEXT NOT NULL DEFAULT '[]', -- JSON list: what its request named
    classifiers TEXT NOT NULL DEFAULT '[]' -- the same
);

CREATE INDEX operations_of_workspace ON operations (workspace_id);

-- Collections that move to another encoder. The second vector of each scan is staged until the
-- switch; afterwards the first one is, until the re-embedding is confirmed.
CREATE TABLE reembeddings (
    collection_id INTEGER PRIMARY KEY
        REFERENCES collections (collection_id) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    encoder_id TEXT NOT NULL, -- of the vectors in staged_vectors
    dim INTEGER NOT NULL CHECK (dim > 0),
    state TEXT NOT NULL CHECK (state IN ('embedding', 'switched'))
);

CREATE TABLE staged_vectors (
    row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    vector BLOB NOT NULL -- little-endian float32
);

-- What was erased, which older backups must lose as well (``erasure_ledger``): digests only.
CREATE TABLE erasures (
    erasure_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    erased_at TEXT NOT NULL
) WITHOUT ROWID;

-- The last sweep of expired scans whose clock was believed; at most one row.
CREATE TABLE retention_clock (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    swept_at TEXT NOT NULL,
    boot_id TEXT NOT NULL, -- of the machine; '' where it has none
    boot_s REAL NOT NULL -- seconds since the machine started
)"""


# What schema 1 kept of erasures, as rows of ``erasures``; the ids are the same in every copy.
ERASURES_OF_SCHEMA_1 = """
    SELECT 'v1-row-' || row_id AS erasure_id, 'row' AS kind, workspace_id,
        CAST(row_id AS TEXT) AS digest, erased_at
    FROM {database}.erased_scans
    UNION ALL
    SELECT 'v1-subject-' || subject_sha256 || '-' || erased_at, 'subject', workspace_id,
        subject_sha256, erased_at
    FROM {database}.erased_subjects
"""


def refuse_foreign(connection: sqlite3.Connection) -> None:
    """Raises CatalogFailure: an unknown schema, or a database that is not a catalog."""
    version = version_of(connection)
    if version != 0 and version not in READABLE:
        raise CatalogFailure(
            f"the catalog has schema {version}, this program reads schema {SCHEMA_VERSION}"
        )
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise CatalogFailure("the database has tables and no schema version: not a catalog")


def create(connection: sqlite3.Connection) -> None:
    """Create all tables in an empty database, inside the caller's transaction."""
    # Check again under the write lock: another process may have been faster.
    refuse_foreign(connection)
    if version_of(connection) == 0:
        for statement in statements():
            connection.execute(statement)
        stamp(connection)


def add_index(connection: sqlite3.Connection) -> None:
    """Create the index over labels, which earlier files of this schema lack."""
    (create,) = (statement for statement in statements() if statement.startswith(_INDEX))
    connection.execute(create.replace("INDEX", "INDEX IF NOT EXISTS", 1))


def statements() -> list[str]:
    """The statements that create the tables, indexes and views."""
    of_subjects = (*SQLITE_SIGNING_TABLES, *SQLITE_MONITORING_TABLES, *SQLITE_LAYOUT_TABLES)
    return [*_TABLES.split(";\n\n"), *POLICY_TABLES.split(";\n\n"), *of_subjects]


def stamp(connection: sqlite3.Connection) -> None:
    """Write the schema version; SQLite writes the page even when the value stays the same."""
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version of the file; 0 = an empty database."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
