"""The table of signing keys in both engines."""

# The private part is here, beside what it protects: replicas share it, and a backup without it
# could not sign as before. Who can read the catalog holds all patients' data anyway.
SQLITE_SIGNING_TABLES = (
    """\
CREATE TABLE signing_keys (
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id) ON DELETE CASCADE,
    key_id TEXT NOT NULL, -- digest of the public key
    public_key TEXT NOT NULL,
    private_key BLOB, -- of the own key that signs; NULL once it is retired
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    is_own INTEGER NOT NULL,
    retired_at TEXT,
    PRIMARY KEY (workspace_id, key_id)
) WITHOUT ROWID""",
    # Two that are made at the same time cannot both sign.
    """\
CREATE UNIQUE INDEX signing_key_in_use ON signing_keys (workspace_id)
WHERE private_key IS NOT NULL""",
)
POSTGRES_SIGNING_TABLES = (
    """\
CREATE TABLE signing_keys (
    workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces (workspace_id) ON DELETE CASCADE,
    key_id text COLLATE "C" NOT NULL, -- digest of the public key
    public_key text COLLATE "C" NOT NULL,
    private_key bytea, -- of the own key that signs; NULL once it is retired
    name text COLLATE "C" NOT NULL,
    created_at text COLLATE "C" NOT NULL,
    is_own boolean NOT NULL,
    retired_at text COLLATE "C",
    PRIMARY KEY (workspace_id, key_id)
)""",
    """\
CREATE UNIQUE INDEX signing_key_in_use ON signing_keys (workspace_id)
WHERE private_key IS NOT NULL""",
)
