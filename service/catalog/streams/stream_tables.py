"""The table of live streams, in PostgreSQL alone."""

POSTGRES_STREAM_TABLES = (
    """\
CREATE TABLE live_streams (
    place_id text COLLATE "C" PRIMARY KEY,
    workspace_id text COLLATE "C" NOT NULL,
    author_id text COLLATE "C", -- of the key or holder of tokens; NULL = nobody
    lease_until double precision NOT NULL -- seconds since 1970, clock of the database
)""",
    "CREATE INDEX live_streams_of_workspace ON live_streams (workspace_id)",
)
STREAM_TABLE = "live_streams"
