"""The table of policies in PostgreSQL.

It is used in the directory alone, beside the keys: whoever looks up a key reads the version of the
policy in the same statement, and a workspace that moves takes nothing along.
"""

POLICY_TABLES = """\
CREATE TABLE workspace_policies (
    workspace_id text COLLATE "C" PRIMARY KEY REFERENCES directory (workspace_id),
    version bigint NOT NULL,
    document text COLLATE "C" NOT NULL, -- JSON: rules and limits that its administrators set
    granted text COLLATE "C" NOT NULL, -- JSON: limits that the operator of the service set
    updated_at text COLLATE "C" NOT NULL
)"""
