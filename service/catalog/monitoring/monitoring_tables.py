"""The tables of the use of classifiers, for each engine.

No row is of one prediction except for
outcomes, which callers send.
"""

_SQLITE = """\
CREATE TABLE classifier_usage (
    version_seq INTEGER NOT NULL REFERENCES classifier_versions (seq) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    period TEXT NOT NULL CHECK (period IN ('slot', 'block', 'total')),
    number INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    answers INTEGER NOT NULL,
    counts TEXT NOT NULL, -- JSON of counts, which add up
    PRIMARY KEY (version_seq, period, number)
) WITHOUT ROWID;

CREATE TABLE classifier_outcomes (
    version_seq INTEGER NOT NULL REFERENCES classifier_versions (seq) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL,
    prediction_id TEXT NOT NULL,
    patient_digest TEXT, -- as that of an erased subject; NULL = nobody was named
    probabilities TEXT NOT NULL,
    abstained INTEGER NOT NULL,
    actual TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    PRIMARY KEY (version_seq, prediction_id)
) WITHOUT ROWID;

CREATE INDEX outcomes_of_patient ON classifier_outcomes (workspace_id, patient_digest)
WHERE patient_digest IS NOT NULL"""

_POSTGRES = """\
CREATE TABLE classifier_usage (
    version_seq bigint NOT NULL REFERENCES classifier_versions (seq) ON DELETE CASCADE,
    workspace_id text COLLATE "C" NOT NULL,
    period text COLLATE "C" NOT NULL CHECK (period IN ('slot', 'block', 'total')),
    number bigint NOT NULL,
    started_at text COLLATE "C" NOT NULL,
    ended_at text COLLATE "C" NOT NULL,
    answers bigint NOT NULL,
    counts text COLLATE "C" NOT NULL, -- JSON of counts, which add up
    PRIMARY KEY (version_seq, period, number)
);

CREATE TABLE classifier_outcomes (
    version_seq bigint NOT NULL REFERENCES classifier_versions (seq) ON DELETE CASCADE,
    workspace_id text COLLATE "C" NOT NULL,
    prediction_id text COLLATE "C" NOT NULL,
    patient_digest text COLLATE "C", -- as that of an erased subject; NULL = nobody was named
    probabilities text COLLATE "C" NOT NULL,
    abstained boolean NOT NULL,
    actual text COLLATE "C" NOT NULL,
    recorded_at text COLLATE "C" NOT NULL,
    PRIMARY KEY (version_seq, prediction_id)
);

CREATE INDEX outcomes_of_patient ON classifier_outcomes (workspace_id, patient_digest)
WHERE patient_digest IS NOT NULL"""

SQLITE_MONITORING_TABLES = tuple(_SQLITE.split(";\n\n"))
POSTGRES_MONITORING_TABLES = tuple(_POSTGRES.split(";\n\n"))
TABLES_OF_WORKSPACES = ("classifier_usage", "classifier_outcomes")
