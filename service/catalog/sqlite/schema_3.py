"""What schema 3 adds to schema 2."""

FEWSHOT: tuple[str, ...] = (
    "ALTER TABLE classifier_versions ADD COLUMN kind TEXT NOT NULL DEFAULT 'single_label'",
)
INTAKE: tuple[str, ...] = (
    "ALTER TABLE scans ADD COLUMN content_sha256 TEXT",  # of the pixels; NULL before schema 3
    "ALTER TABLE scans ADD COLUMN frames INTEGER NOT NULL DEFAULT 1",  # in the file
    "ALTER TABLE scans ADD COLUMN frames_used INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE scans ADD COLUMN frame_rate_hz REAL",
    """
    CREATE INDEX scans_of_content ON scans (collection_id, content_sha256)
    WHERE content_sha256 IS NOT NULL
    """,
    """
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
    )
    """,
    "CREATE INDEX frames_of_collection ON scan_frames (collection_id)",
    "ALTER TABLE scans ADD COLUMN looked TEXT",  # JSON: regions, masked_px, risk, quality
    "ALTER TABLE collections ADD COLUMN intake TEXT NOT NULL DEFAULT '{}'",  # JSON: what it refuses
)
GALLERY: tuple[str, ...] = (
    "ALTER TABLE collections ADD COLUMN keep_images INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE collections ADD COLUMN retention_days REAL",  # NULL = for ever
    "CREATE INDEX scans_by_age ON scans (collection_id, created_at)",
    """
    CREATE INDEX scans_of_study ON scans (workspace_id, study_id) WHERE study_id IS NOT NULL
    """,
    """
    CREATE TABLE scan_images (
        row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
        workspace_id TEXT NOT NULL,
        png BLOB NOT NULL -- the looked-at pixels without metadata, lossless
    )
    """,
    # A collection that moves to another encoder. The second vector of each scan waits here
    # until the switch; the first one waits here after it, until the move is confirmed.
    """
    CREATE TABLE moves (
        collection_id INTEGER PRIMARY KEY
            REFERENCES collections (collection_id) ON DELETE CASCADE,
        workspace_id TEXT NOT NULL,
        encoder_id TEXT NOT NULL, -- of the vectors in spare_vectors
        dim INTEGER NOT NULL CHECK (dim > 0),
        state TEXT NOT NULL CHECK (state IN ('embedding', 'switched'))
    )
    """,
    """
    CREATE TABLE spare_vectors (
        row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
        workspace_id TEXT NOT NULL,
        vector BLOB NOT NULL -- little-endian float32
    )
    """,
    """
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
        updated_at TEXT NOT NULL
    )
    """,
    "CREATE INDEX operations_of_workspace ON operations (workspace_id)",
    # What was deleted on request, so that older backups can follow: a row number is never used
    # again, and a subject is known here by a digest alone.
    """
    CREATE TABLE erased_scans (
        row_id INTEGER PRIMARY KEY,
        workspace_id TEXT NOT NULL,
        erased_at TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE erased_subjects (
        workspace_id TEXT NOT NULL,
        subject_sha256 TEXT NOT NULL, -- of the workspace id, a line feed and the subject id
        erased_at TEXT NOT NULL,
        PRIMARY KEY (workspace_id, subject_sha256)
    ) WITHOUT ROWID
    """,
)

FROM_2 = (*FEWSHOT, *INTAKE, *GALLERY)
