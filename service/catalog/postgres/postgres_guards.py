"""Row-level security: a connection sees the rows of the workspace that it names."""

from service.catalog.layouts.layout_tables import LAYOUT_TABLE
from service.catalog.monitoring.monitoring_tables import TABLES_OF_WORKSPACES
from service.catalog.streams.stream_tables import STREAM_TABLE

GUARDED = (
    "answers",
    "collections",
    "key_storage",
    "scans",
    "scan_vectors",
    "scan_thumbnails",
    "scan_images",
    "scan_frames",
    "search_parts",
    "classifiers",
    "classifier_versions",
    "classifier_examples",
    "version_examples",
    "operations",
    "reembeddings",
    "staged_vectors",
    "erasures",
    *TABLES_OF_WORKSPACES,
    "signing_keys",
    "workspace_policies",
    LAYOUT_TABLE,
    STREAM_TABLE,
)
UNFORCED = ("scans",)  # the owner reads it for the view filtered_scans
# The setting is read once a statement, not once a row, which costs 8 ms for 10,000 rows.
GUARD = """
    ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
    ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
    CREATE POLICY of_one_workspace ON {table}
    USING (
        workspace_id = (SELECT current_setting('app.workspace', true))
        OR '*' = (SELECT current_setting('app.workspace', true))
    )
"""
