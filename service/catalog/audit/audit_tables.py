"""The tables of the audit log in PostgreSQL: in the database of the directory.

Every request reads its key there already, so nothing more can be unreachable. A chain stays where
it is when its workspace moves to another shard, and when the workspace is deleted.
"""

# The column is named as in the other tables, for their row-level security.
AUDIT_TABLES = (
    """
    CREATE TABLE audit_chains (
        workspace_id text COLLATE "C" PRIMARY KEY, -- or the name of the service's own chain
        seq bigint NOT NULL, -- of the last entry
        sha256 text COLLATE "C" NOT NULL, -- of the last entry
        at text COLLATE "C" NOT NULL
    )
    """,
    """
    CREATE TABLE audit_entries (
        workspace_id text COLLATE "C" NOT NULL,
        seq bigint NOT NULL,
        text text COLLATE "C" NOT NULL, -- canonical JSON, which is what the digest is of
        sha256 text COLLATE "C" NOT NULL,
        -- Taken from the text, so that they cannot say anything else.
        at text COLLATE "C" GENERATED ALWAYS AS (text::json ->> 'at') STORED,
        action text COLLATE "C" GENERATED ALWAYS AS (text::json ->> 'action') STORED,
        author text COLLATE "C" GENERATED ALWAYS AS (text::json -> 'who' ->> 'id') STORED,
        outcome text COLLATE "C" GENERATED ALWAYS AS (text::json ->> 'outcome') STORED,
        PRIMARY KEY (workspace_id, seq)
    )
    """,
    """
    CREATE TABLE audit_beginnings ( -- of chains whose first entries were moved into a file
        workspace_id text COLLATE "C" PRIMARY KEY,
        seq bigint NOT NULL, -- of the last entry that was moved
        sha256 text COLLATE "C" NOT NULL, -- of that entry
        at text COLLATE "C" NOT NULL
    )
    """,
    "CREATE INDEX audit_entries_by_action ON audit_entries (workspace_id, action, seq)",
    "CREATE INDEX audit_entries_by_author ON audit_entries (workspace_id, author, seq)",
    "CREATE INDEX audit_entries_by_time ON audit_entries (workspace_id, at)",
    """
    CREATE TABLE audit_digest_keys (
        workspace_id text COLLATE "C" PRIMARY KEY,
        key bytea NOT NULL
    )
    """,
)
AUDIT_GUARDED = ("audit_chains", "audit_beginnings", "audit_entries", "audit_digest_keys")
