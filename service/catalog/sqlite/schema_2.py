"""The tables of schema 2, and how schema 1 becomes it. Frozen: files written so exist for ever.

Why it looks like this:

- Vectors and thumbnails have tables of their own. SQLite reads whole pages, and a row of a few
  hundred bytes beside kilobytes of blob would make a filter over 100k scans read gigabytes.
- ``row_id`` is AUTOINCREMENT: a deleted scan's number is never given to another, so an index
  that has not heard of the deletion cannot answer with the wrong scan.
- Every table carries ``workspace_id``, children too, so that no query has to trust a join for it.
- ``classifier_examples`` has no foreign key to scans: it must tell what a classifier learnt from
  after the scan is gone. It keeps the row number as well, because a scan id can be used again.
- Examples belong to the classifier and not to one version: a version is the list of those it
  was fitted from, so ten versions of a thousand examples hold each vector once.
- A scan's vector is read from the scan. When the scan is deleted it is gone from here as well.
"""

CLASSIFIER_TABLES = (
    """
    CREATE TABLE classifiers (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
        classifier_id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        created_at TEXT NOT NULL,
        published INTEGER NOT NULL, -- number of the version that predicts
        revision INTEGER NOT NULL, -- grows with each new version and each publishing
        UNIQUE (workspace_id, name)
    )
    """,
    """
    CREATE TABLE classifier_versions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL,
        classifier_seq INTEGER NOT NULL REFERENCES classifiers (seq) ON DELETE CASCADE,
        number INTEGER NOT NULL CHECK (number > 0),
        encoder_id TEXT NOT NULL,
        classes TEXT NOT NULL,
        report TEXT NOT NULL,
        settings TEXT NOT NULL,
        created_at TEXT NOT NULL,
        key_id TEXT, -- of the key that made it
        key_name TEXT,
        example_count INTEGER NOT NULL,
        artifact BLOB NOT NULL,
        out_of_fold BLOB NOT NULL, -- scores of heads that had not seen the examples
        UNIQUE (classifier_seq, number)
    )
    """,
    """
    CREATE TABLE classifier_examples (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL,
        classifier_seq INTEGER NOT NULL REFERENCES classifiers (seq) ON DELETE CASCADE,
        example_id TEXT NOT NULL,
        collection TEXT, -- of a stored scan; NULL = an upload
        scan_id TEXT,
        scan_row_id INTEGER, -- NULL when the scan was gone before the classifier was stored
        sha256 TEXT, -- of the image file
        subject_id TEXT, -- of an upload; that of a scan is read from the scan
        study_id TEXT,
        vector BLOB, -- of an upload; NULL after its subject was erased
        UNIQUE (classifier_seq, example_id)
    )
    """,
    "CREATE INDEX examples_of_scan ON classifier_examples (scan_row_id)",
    """
    CREATE INDEX examples_of_subject ON classifier_examples (workspace_id, subject_id)
    WHERE subject_id IS NOT NULL
    """,
    """
    CREATE TABLE version_examples (
        version_seq INTEGER NOT NULL REFERENCES classifier_versions (seq) ON DELETE CASCADE,
        workspace_id TEXT NOT NULL,
        position INTEGER NOT NULL, -- 0, 1, ... in the order of fitting
        example_seq INTEGER NOT NULL REFERENCES classifier_examples (seq) ON DELETE CASCADE,
        label TEXT, -- NULL where schema 1 did not keep it
        group_number INTEGER, -- equal = same patient, study or image; tells nothing of who
        PRIMARY KEY (version_seq, position)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX versions_of_example ON version_examples (example_seq)",
)

TABLES = (
    """
    CREATE TABLE workspaces (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL UNIQUE,
        created_at TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE keys (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
        key_id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        secret_sha256 TEXT NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        revoked_at TEXT
    )
    """,
    "CREATE INDEX keys_of_workspace ON keys (workspace_id)",
    """
    CREATE TABLE collections (
        collection_id INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
        name TEXT NOT NULL,
        encoder_id TEXT NOT NULL,
        dim INTEGER NOT NULL CHECK (dim > 0),
        description TEXT NOT NULL,
        created_at TEXT NOT NULL,
        version INTEGER NOT NULL,
        UNIQUE (workspace_id, name),
        UNIQUE (workspace_id, collection_id)
    )
    """,
    """
    CREATE TABLE scans (
        row_id INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL,
        collection_id INTEGER NOT NULL,
        scan_id TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        kind TEXT NOT NULL,
        format TEXT NOT NULL,
        width_px INTEGER NOT NULL,
        height_px INTEGER NOT NULL,
        subject_id TEXT,
        study_id TEXT,
        labels TEXT NOT NULL,
        attributes TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        version INTEGER NOT NULL,
        UNIQUE (collection_id, scan_id),
        UNIQUE (collection_id, sha256),
        FOREIGN KEY (workspace_id, collection_id)
            REFERENCES collections (workspace_id, collection_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX scans_of_collection ON scans (workspace_id, collection_id)",
    """
    CREATE INDEX scans_of_subject ON scans (workspace_id, subject_id)
    WHERE subject_id IS NOT NULL
    """,
    """
    CREATE TABLE scan_vectors (
        row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
        workspace_id TEXT NOT NULL,
        vector BLOB NOT NULL -- little-endian float32, 4 * dim bytes
    )
    """,
    """
    CREATE TABLE scan_thumbnails (
        row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
        workspace_id TEXT NOT NULL,
        jpeg BLOB NOT NULL
    )
    """,
    *CLASSIFIER_TABLES,
    """
    CREATE TABLE answers (
        workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
        key TEXT NOT NULL,
        request_sha256 TEXT NOT NULL,
        status INTEGER NOT NULL,
        body BLOB NOT NULL,
        headers TEXT NOT NULL,
        expires_at REAL NOT NULL, -- seconds since 1970, UTC
        PRIMARY KEY (workspace_id, key)
    )
    """,
    "CREATE INDEX answers_by_expiry ON answers (expires_at)",
    """
    CREATE VIEW collection_records AS
    SELECT c.*, (
        SELECT count(*) FROM scans AS s
        WHERE s.workspace_id = c.workspace_id AND s.collection_id = c.collection_id
    ) AS scans
    FROM collections AS c
    """,
    """
    CREATE VIEW scan_records AS
    SELECT s.*, c.name AS collection, c.encoder_id
    FROM scans AS s JOIN collections AS c ON c.collection_id = s.collection_id
    """,
)

# Schema 1 kept one head per classifier, and of its examples the scans alone, without labels.
FROM_1 = (
    "ALTER TABLE classifiers RENAME TO classifiers_1",
    *CLASSIFIER_TABLES,
    """
    INSERT INTO classifiers
        (seq, workspace_id, classifier_id, name, created_at, published, revision)
    SELECT seq, workspace_id, classifier_id, name, created_at, 1, version FROM classifiers_1
    """,
    """
    INSERT INTO classifier_versions (
        workspace_id, classifier_seq, number, encoder_id, classes, report, settings, created_at,
        example_count, artifact, out_of_fold
    )
    SELECT workspace_id, seq, 1, encoder_id, classes, report, '{}', created_at, (
        SELECT count(*) FROM classifier_scans AS l WHERE l.classifier_seq = seq
    ), head_npz, x'' FROM classifiers_1
    """,
    """
    INSERT INTO classifier_examples (
        workspace_id, classifier_seq, example_id, collection, scan_id, scan_row_id, sha256
    )
    SELECT l.workspace_id, l.classifier_seq, 'exm_' || lower(hex(randomblob(10))),
        l.collection, l.scan_id, l.scan_row_id, s.sha256
    FROM classifier_scans AS l LEFT JOIN scans AS s ON s.row_id = l.scan_row_id
    ORDER BY l.classifier_seq, l.scan_row_id, l.collection, l.scan_id
    """,
    """
    INSERT INTO version_examples (version_seq, workspace_id, position, example_seq)
    SELECT v.seq, e.workspace_id,
        row_number() OVER (PARTITION BY v.seq ORDER BY e.seq) - 1, e.seq
    FROM classifier_examples AS e JOIN classifier_versions AS v USING (classifier_seq)
    """,
    "DROP TABLE classifier_scans",
    "DROP TABLE classifiers_1",
)
