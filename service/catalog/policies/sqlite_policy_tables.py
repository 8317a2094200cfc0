"""The tables and triggers of policies in SQLite, and the counts in catalogs of older schemas.

``scans.stored_bytes`` is what one scan takes: vectors, thumbnail and kept image. The triggers add
it up in the row of the collection, where the bytes of a workspace are read without its scans.
"""

POLICY_TABLES = """\
-- What a workspace may store, and how much; no row = whatever the settings of the service allow.
CREATE TABLE workspace_policies (
    workspace_id TEXT PRIMARY KEY REFERENCES workspaces (workspace_id),
    version INTEGER NOT NULL,
    document TEXT NOT NULL, -- JSON: rules and limits that its administrators set
    granted TEXT NOT NULL, -- JSON: limits that the operator of the service set
    updated_at TEXT NOT NULL
);

-- What the requests of each key have stored in a collection; triggers count it.
CREATE TABLE key_storage (
    collection_id INTEGER NOT NULL REFERENCES collections (collection_id) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    scans INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    PRIMARY KEY (collection_id, key_id)
) WITHOUT ROWID;

CREATE INDEX storage_of_key ON key_storage (workspace_id, key_id);

CREATE INDEX collections_of_key ON collections (workspace_id, key_id) WHERE key_id IS NOT NULL;

CREATE TRIGGER stored_scan_of_key AFTER INSERT ON scans WHEN NEW.key_id IS NOT NULL BEGIN
    INSERT INTO key_storage (collection_id, workspace_id, key_id, scans, stored_bytes)
    VALUES (NEW.collection_id, NEW.workspace_id, NEW.key_id, 1, NEW.stored_bytes)
    ON CONFLICT (collection_id, key_id) DO UPDATE
    SET scans = scans + 1, stored_bytes = stored_bytes + excluded.stored_bytes;
END;

CREATE TRIGGER deleted_scan_of_key AFTER DELETE ON scans WHEN OLD.key_id IS NOT NULL BEGIN
    UPDATE key_storage SET scans = scans - 1, stored_bytes = stored_bytes - OLD.stored_bytes
    WHERE collection_id = OLD.collection_id AND key_id = OLD.key_id;
END;

CREATE TRIGGER resized_scan_of_key AFTER UPDATE OF stored_bytes ON scans
WHEN NEW.key_id IS NOT NULL BEGIN
    UPDATE key_storage SET stored_bytes = stored_bytes + NEW.stored_bytes - OLD.stored_bytes
    WHERE collection_id = NEW.collection_id AND key_id = NEW.key_id;
END;

CREATE TRIGGER stored_scan AFTER INSERT ON scans BEGIN
    UPDATE collections
    SET stored_bytes = stored_bytes + NEW.stored_bytes, stored_scans = stored_scans + 1
    WHERE collection_id = NEW.collection_id;
END;

CREATE TRIGGER deleted_scan AFTER DELETE ON scans BEGIN
    UPDATE collections
    SET stored_bytes = stored_bytes - OLD.stored_bytes, stored_scans = stored_scans - 1
    WHERE collection_id = OLD.collection_id;
END;

CREATE TRIGGER resized_scan AFTER UPDATE OF stored_bytes ON scans BEGIN
    UPDATE collections SET stored_bytes = stored_bytes + NEW.stored_bytes - OLD.stored_bytes
    WHERE collection_id = NEW.collection_id;
END;

CREATE TRIGGER forgotten_image AFTER DELETE ON scan_images BEGIN
    UPDATE scans SET stored_bytes = stored_bytes - length(OLD.png) WHERE row_id = OLD.row_id;
END"""
# Of scans and collections that schemas 1 and 2 stored, before there are triggers.
COUNTS_OF_OLDER_SCHEMAS = (
    """
    UPDATE scans SET stored_bytes =
        coalesce((SELECT length(vector) FROM scan_vectors AS v WHERE v.row_id = scans.row_id), 0)
        + coalesce((SELECT length(jpeg) FROM scan_thumbnails AS t
            WHERE t.row_id = scans.row_id), 0)
        + coalesce((SELECT length(png) FROM scan_images AS i WHERE i.row_id = scans.row_id), 0)
        + coalesce((SELECT sum(length(vector)) FROM scan_frames AS f
            WHERE f.row_id = scans.row_id), 0)
    """,
    """
    UPDATE collections SET (stored_scans, stored_bytes) = (
        SELECT count(*), coalesce(sum(stored_bytes), 0) FROM scans AS s
        WHERE s.collection_id = collections.collection_id
    )
    """,
)
