"""What schema 3 adds to schema 2."""

FEWSHOT: tuple[str, ...] = ()
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
GALLERY: tuple[str, ...] = ()

FROM_2 = (*FEWSHOT, *INTAKE, *GALLERY)
