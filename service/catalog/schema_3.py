"""What schema 3 adds to schema 2."""

FEWSHOT: tuple[str, ...] = (
    "ALTER TABLE classifier_versions ADD COLUMN kind TEXT NOT NULL DEFAULT 'single_label'",
)
INTAKE: tuple[str, ...] = ()
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
