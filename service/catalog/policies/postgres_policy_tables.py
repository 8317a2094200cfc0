"""The tables of policies, and of what keys have stored, in PostgreSQL.

The first is used in the directory alone, beside the keys: whoever looks up a key reads the version
of the policy in the same statement, and a workspace that moves takes nothing along.
"""

POLICY_TABLES = """\
CREATE TABLE workspace_policies (
    workspace_id text COLLATE "C" PRIMARY KEY REFERENCES directory (workspace_id),
    version bigint NOT NULL,
    document text COLLATE "C" NOT NULL, -- JSON: rules and limits that its administrators set
    granted text COLLATE "C" NOT NULL, -- JSON: limits that the operator of the service set
    updated_at text COLLATE "C" NOT NULL
)"""
# By collection, whose lock a writer holds: so no two writers wait for each other here.
KEY_STORAGE_TABLES = (
    """
CREATE TABLE key_storage (
    collection_id bigint NOT NULL REFERENCES collections (collection_id) ON DELETE CASCADE,
    workspace_id text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL, -- whose requests stored the scans
    scans bigint NOT NULL,
    stored_bytes bigint NOT NULL,
    PRIMARY KEY (collection_id, key_id)
)""",
    "CREATE INDEX storage_of_key ON key_storage (workspace_id, key_id)",
    """
CREATE INDEX collections_of_key ON collections (workspace_id, key_id) WHERE key_id IS NOT NULL
""",
)
