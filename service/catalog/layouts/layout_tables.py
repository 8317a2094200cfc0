"""The table of places on maps, for each engine."""

LAYOUT_TABLE = "scan_places"
SQLITE_LAYOUT_TABLES = (
    """
CREATE TABLE scan_places (
    row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    encoder_id TEXT NOT NULL, -- of the embeddings that were laid out
    x REAL NOT NULL,
    y REAL NOT NULL,
    kept REAL NOT NULL, -- share of its neighbours that are neighbours on the map
    placed_at TEXT NOT NULL
)""",
)
POSTGRES_LAYOUT_TABLES = (
    """
CREATE TABLE scan_places (
    row_id bigint PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
    workspace_id text COLLATE "C" NOT NULL,
    encoder_id text COLLATE "C" NOT NULL, -- of the embeddings that were laid out
    x real NOT NULL,
    y real NOT NULL,
    kept real NOT NULL, -- share of its neighbours that are neighbours on the map
    placed_at text COLLATE "C" NOT NULL
)""",
)
