"""The functions by which the service builds partitions of large collections.

A partition is a table ``search_halves_<number>`` with a copy of the half-precision vectors of one
collection and an HNSW index over them. It is no partition of a common parent, because PostgreSQL
locks the parent exclusively whenever one of its partitions is exchanged or dropped, and would then
hold up the searches of all other collections.

The role of the service owns nothing, so it cannot create tables. These functions run with the
rights of the owner, take numbers only, and look up everything else in the catalog. The table
``search_parts`` says which partition of a collection is in use; only they write to it. Until it is
in use, its table is called ``search_build_<number>``: the vacuum after erasures looks for the other
name and does not wait for the build.

Locks: ``search_begin``, ``search_publish`` and ``search_sweep`` lock the row of the collection, as
every writer does, for some milliseconds. What takes longer holds no lock that a writer waits for.
"""

# Partitions, and what filters read. The view has the rights of the owner, and the wall between
# workspaces as a condition of its own: a condition on a table with row-level security may use no
# index, unless its operator is marked leakproof, and those of jsonb are not.
SEARCH_TABLES = (
    """
    CREATE TABLE search_parts (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        workspace_id text COLLATE "C" NOT NULL,
        collection_id bigint NOT NULL REFERENCES collections (collection_id) ON DELETE CASCADE,
        state text COLLATE "C" NOT NULL CHECK (state IN ('building', 'ready')),
        last_row_id bigint NOT NULL, -- later rows are searched exactly
        rows bigint NOT NULL, -- of the partition, without deleted ones
        removed bigint NOT NULL DEFAULT 0, -- deleted since it was built
        swept_to bigint NOT NULL DEFAULT 0, -- up to this row id it has no row that is not a scan
        UNIQUE (collection_id, state)
    )
    """,
    """
    CREATE VIEW filtered_scans AS
    SELECT row_id, workspace_id, collection_id, subject_id, study_id, labels, attributes,
        labels_b, attributes_b, created_at, updated_at
    FROM scans WHERE (SELECT current_setting('app.workspace', true)) IN (workspace_id, '*')
    """,
)
_RIGHTS = "SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp"
# The functions see all workspaces, and put the wall of their caller up again before they return;
# an error undoes the setting with the transaction. A function may not have it in its header: only
# a superuser may write a setting there that the server does not know.
_OWN = "caller text := coalesce(current_setting('app.workspace', true), '');"
_ENTER = "PERFORM set_config('app.workspace', '*', true);"
_LEAVE = "PERFORM set_config('app.workspace', caller, true);"

# A deletion takes its rows out of the partition in the same transaction. A build does not see it
# and may copy rows that are gone by then: search_sweep removes them.
_DELETED = """
CREATE FUNCTION search_rows_deleted() RETURNS trigger LANGUAGE plpgsql {rights} AS $$
DECLARE
    {own}
    part record;
    gone bigint;
BEGIN
    {enter}
    FOR part IN
        SELECT number FROM search_parts AS p
        WHERE state = 'ready' AND collection_id IN (SELECT collection_id FROM deleted)
        -- Of a deleted collection the whole partition goes.
        AND EXISTS (SELECT 1 FROM collections AS c WHERE c.collection_id = p.collection_id)
        ORDER BY number
    LOOP
        EXECUTE format(
            'DELETE FROM search_halves_%s AS h USING deleted AS d WHERE h.row_id = d.row_id',
            part.number
        );
        GET DIAGNOSTICS gone = ROW_COUNT;
        IF gone > 0 THEN
            UPDATE search_parts SET rows = rows - gone, removed = removed + gone
            WHERE number = part.number;
        END IF;
    END LOOP;
    {leave}
    RETURN NULL;
END $$
"""
_DELETED_TRIGGER = """
CREATE TRIGGER search_rows_deleted AFTER DELETE ON scans REFERENCING OLD TABLE AS deleted
FOR EACH STATEMENT EXECUTE FUNCTION search_rows_deleted()
"""

# Vectors of another encoder: the partition, and one that is being built, are worthless.
_EXCHANGED = """
CREATE FUNCTION search_vectors_exchanged() RETURNS trigger LANGUAGE plpgsql {rights} AS $$
DECLARE
    {own}
BEGIN
    {enter}
    DELETE FROM search_parts WHERE collection_id = NEW.collection_id;
    {leave}
    RETURN NULL;
END $$
"""
_EXCHANGED_TRIGGER = """
CREATE TRIGGER search_vectors_exchanged AFTER UPDATE OF encoder_id ON collections
FOR EACH ROW EXECUTE FUNCTION search_vectors_exchanged()
"""

# The lock waits for writers that began before the partition was known. Row ids become visible in
# order, so what they stored is at or below last_row_id, and what comes later is above it.
_BEGIN = """
CREATE FUNCTION search_begin(of_collection bigint) RETURNS bigint LANGUAGE plpgsql {rights} AS $$
DECLARE
    {own}
    parent collections%ROWTYPE;
    part bigint;
BEGIN
    {enter}
    SELECT * INTO parent FROM collections WHERE collection_id = of_collection FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        {leave}
        RETURN NULL;
    END IF;
    DELETE FROM search_parts WHERE collection_id = of_collection AND state = 'building';
    INSERT INTO search_parts (workspace_id, collection_id, state, last_row_id, rows)
    SELECT parent.workspace_id, of_collection, 'building', coalesce(max(row_id), 0), 0
    FROM scan_vectors WHERE collection_id = of_collection
    RETURNING number INTO part;
    EXECUTE format(
        'CREATE TABLE public.search_build_%s (row_id bigint NOT NULL, half halfvec(%s) NOT NULL)',
        part, parent.dim
    );
    EXECUTE format('ALTER TABLE search_build_%s ALTER COLUMN half SET STORAGE PLAIN', part);
    EXECUTE format('ALTER TABLE search_build_%s ENABLE ROW LEVEL SECURITY', part);
    EXECUTE format('ALTER TABLE search_build_%s FORCE ROW LEVEL SECURITY', part);
    EXECUTE format(
        'CREATE POLICY of_one_workspace ON search_build_%s '
        'USING ((SELECT current_setting(''app.workspace'', true)) IN (%L, ''*''))',
        part, parent.workspace_id
    );
    {leave}
    RETURN part;
END $$
"""

# In a transaction after search_begin: a deletion after its lock is then seen here, or swept.
_FILL = """
CREATE FUNCTION search_fill(part bigint) RETURNS bigint LANGUAGE plpgsql {rights} AS $$
DECLARE
    {own}
    filled bigint;
BEGIN
    {enter}
    EXECUTE format(
        'INSERT INTO search_build_%s (row_id, half) '
        'SELECT v.row_id, v.half FROM scan_vectors AS v JOIN search_parts AS p '
        'ON v.collection_id = p.collection_id AND v.row_id <= p.last_row_id '
        'WHERE p.number = $1 AND p.state = ''building'' AND v.half IS NOT NULL ORDER BY v.row_id',
        part
    ) USING part;
    GET DIAGNOSTICS filled = ROW_COUNT;
    UPDATE search_parts SET rows = filled WHERE number = part AND state = 'building';
    {leave}
    RETURN filled;
END $$
"""

_INDEX = """
CREATE FUNCTION search_index(part bigint, memory_mb integer) RETURNS void
LANGUAGE plpgsql {rights} SET maintenance_work_mem = '64MB' AS $$
DECLARE
    {own}
BEGIN
    {enter}
    IF memory_mb NOT BETWEEN 16 AND 1000000 THEN
        RAISE 'memory out of range' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM 1 FROM search_parts WHERE number = part AND state = 'building';
    IF NOT FOUND THEN
        {leave}
        RETURN;
    END IF;
    PERFORM set_config('maintenance_work_mem', memory_mb || 'MB', true);
    EXECUTE format('CREATE UNIQUE INDEX ON search_build_%s (row_id)', part);
    EXECUTE format(
        'CREATE INDEX ON search_build_%s USING hnsw (half halfvec_ip_ops) '
        'WITH (m = 16, ef_construction = 64)',
        part
    );
    EXECUTE format('ANALYZE search_build_%s', part);
    {leave}
END $$
"""

# False: the vectors were exchanged, or the collection deleted, while the partition was built.
_PUBLISH = """
CREATE FUNCTION search_publish(part bigint) RETURNS boolean LANGUAGE plpgsql {rights} AS $$
DECLARE
    {own}
    parent bigint;
BEGIN
    {enter}
    SELECT c.collection_id INTO parent FROM collections AS c
    WHERE c.collection_id = (SELECT collection_id FROM search_parts WHERE number = part)
    FOR NO KEY UPDATE;
    PERFORM 1 FROM search_parts WHERE number = part AND state = 'building' FOR UPDATE;
    IF NOT FOUND THEN
        {leave}
        RETURN false;
    END IF;
    DELETE FROM search_parts WHERE collection_id = parent AND state = 'ready';
    UPDATE search_parts SET state = 'ready' WHERE number = part;
    EXECUTE format('ALTER TABLE search_build_%s RENAME TO search_halves_%s', part, part);
    {leave}
    RETURN true;
END $$
"""

# Nobody waits for the insertions: the row of search_parts is locked after them.
_EXTEND = """
CREATE FUNCTION search_extend(part bigint, max_rows integer) RETURNS bigint
LANGUAGE plpgsql {rights} AS $$
DECLARE
    {own}
    was search_parts%ROWTYPE;
    up_to bigint;
    added bigint;
BEGIN
    {enter}
    SELECT * INTO was FROM search_parts WHERE number = part AND state = 'ready';
    IF NOT FOUND THEN
        {leave}
        RETURN 0;
    END IF;
    SELECT max(row_id) INTO up_to FROM (
        SELECT row_id FROM scan_vectors
        WHERE collection_id = was.collection_id AND row_id > was.last_row_id
        ORDER BY row_id LIMIT max_rows
    ) AS next;
    IF up_to IS NULL THEN
        {leave}
        RETURN 0;
    END IF;
    EXECUTE format(
        'INSERT INTO search_halves_%s (row_id, half) SELECT row_id, half FROM scan_vectors '
        'WHERE collection_id = $1 AND row_id > $2 AND row_id <= $3 AND half IS NOT NULL',
        part
    ) USING was.collection_id, was.last_row_id, up_to;
    GET DIAGNOSTICS added = ROW_COUNT;
    UPDATE search_parts SET last_row_id = up_to, rows = rows + added WHERE number = part;
    IF NOT FOUND THEN
        RAISE 'the partition was withdrawn' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    {leave}
    RETURN added;
END $$
"""

# The lock waits for deletions that began before the copies were committed. Answers whether there
# may be more to sweep.
_SWEEP = """
CREATE FUNCTION search_sweep(part bigint, max_rows integer) RETURNS boolean
LANGUAGE plpgsql {rights} AS $$
DECLARE
    {own}
    was search_parts%ROWTYPE;
    up_to bigint;
    gone bigint;
BEGIN
    {enter}
    PERFORM 1 FROM collections AS c
    WHERE c.collection_id = (SELECT collection_id FROM search_parts WHERE number = part)
    FOR NO KEY UPDATE;
    SELECT * INTO was FROM search_parts WHERE number = part AND state = 'ready' FOR UPDATE;
    IF NOT FOUND OR was.swept_to >= was.last_row_id THEN
        {leave}
        RETURN false;
    END IF;
    EXECUTE format(
        'SELECT row_id FROM search_halves_%s WHERE row_id > $1 ORDER BY row_id '
        'OFFSET $2 LIMIT 1', part
    ) INTO up_to USING was.swept_to, max_rows;
    up_to := coalesce(up_to, was.last_row_id);
    EXECUTE format(
        'DELETE FROM search_halves_%s AS h WHERE h.row_id > $1 AND h.row_id <= $2 '
        'AND NOT EXISTS (SELECT 1 FROM scans AS s WHERE s.row_id = h.row_id)', part
    ) USING was.swept_to, up_to;
    GET DIAGNOSTICS gone = ROW_COUNT;
    UPDATE search_parts SET rows = rows - gone, removed = removed + gone, swept_to = up_to
    WHERE number = part;
    IF gone > 0 THEN -- the vacuum after the erasure may have come too early for these copies
        INSERT INTO vacuums_owed DEFAULT VALUES;
    END IF;
    {leave}
    RETURN up_to < was.last_row_id;
END $$
"""

_DROP = """
CREATE FUNCTION search_drop(part bigint) RETURNS void LANGUAGE plpgsql {rights} AS $$
DECLARE
    {own}
BEGIN
    {enter}
    DELETE FROM search_parts WHERE number = part;
    {leave}
END $$
"""

# Tables that no row of search_parts names: of deleted collections, older builds and broken ones.
_TIDY = """
CREATE FUNCTION search_tidy() RETURNS bigint LANGUAGE plpgsql {rights} AS $$
DECLARE
    {own}
    rest record;
    dropped bigint := 0;
BEGIN
    {enter}
    DELETE FROM search_parts WHERE state = 'building';
    FOR rest IN
        SELECT c.relname FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        AND c.relname ~ '^search_(build|halves)_[0-9]+$' AND NOT EXISTS (
            SELECT 1 FROM search_parts AS p WHERE c.relname = 'search_halves_' || p.number
        )
    LOOP
        EXECUTE format('DROP TABLE %I', rest.relname);
        dropped := dropped + 1;
    END LOOP;
    {leave}
    RETURN dropped;
END $$
"""
_BODIES = (
    *(_DELETED, _DELETED_TRIGGER, _EXCHANGED, _EXCHANGED_TRIGGER),
    *(_BEGIN, _FILL, _INDEX, _PUBLISH, _EXTEND, _SWEEP, _DROP, _TIDY),
)
_PARTS = {"rights": _RIGHTS, "own": _OWN, "enter": _ENTER, "leave": _LEAVE}


def _filled(body: str) -> str:
    for name, part in _PARTS.items():
        body = body.replace(f"{{{name}}}", part)
    return body


SEARCH_FUNCTIONS = tuple(map(_filled, _BODIES))
# name -> types of its arguments, of the functions that the role of the service calls
CALLED = {
    "search_begin": "bigint",
    "search_fill": "bigint",
    "search_index": "bigint, integer",
    "search_publish": "bigint",
    "search_extend": "bigint, integer",
    "search_sweep": "bigint, integer",
    "search_drop": "bigint",
    "search_tidy": "",
}
REVOKE_FROM_ALL = "REVOKE EXECUTE ON FUNCTION {name}({types}) FROM PUBLIC"
GRANT_TO_ROLE = "GRANT EXECUTE ON FUNCTION {name}({types}) TO {role}"
