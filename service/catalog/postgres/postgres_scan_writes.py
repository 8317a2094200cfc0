"""Storing and changing scans in PostgreSQL.

Who writes to a collection holds the lock of its row: so nobody else stores the same image or id
between the look and the insert, and row ids become visible in their order.

Shape suffixes: D embedding width.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from psycopg.rows import DictRow

from service.catalog.copying.copied_rows import in_place
from service.catalog.erasure_digests import unless_erased as without_erased
from service.catalog.ids import now
from service.catalog.policies.intake_rules import IntakeRules
from service.catalog.policies.policy_records import AdmitUsage
from service.catalog.policies.postgres_policies import admit_usage, count_for_key
from service.catalog.postgres.erasure.postgres_erasure import erasure_times
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_locks import keep_erasures_away, lock_erasures
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    decode,
    first,
    forget_answers,
    require_collection,
    require_scan,
    to_half,
    to_vector,
)
from service.catalog.records import NewScan, Scan, ScanPatch, StoredScan
from service.catalog.scan_changes import (
    MAX_COPIES,
    PATCHABLE,
    PreparedScan,
    encoded,
    has_copy,
    ignored,
    name_taken,
    patched,
    prepare,
    removes,
    require_encoder,
)
from service.catalog.validation import require_fields, require_version
from service.errors import InputError, ServiceError

# The same image (the same file, or other bytes of the same pixels), or the same scan id.
_KNOWN = """
    WITH wanted AS (
        SELECT * FROM unnest(%(places)s::bigint[], %(scan_ids)s::text[], %(sha256s)s::text[],
            %(contents)s::text[], %(subjects)s::text[])
        AS w (place, scan_id, sha256, content_sha256, subject)
    )
    SELECT w.place, 0 AS rank, s.row_id FROM wanted AS w JOIN scans AS s
    ON s.collection_id = %(collection_id)s AND s.sha256 = w.sha256
        AND coalesce(s.subject_id, '') = w.subject
    UNION ALL
    SELECT w.place, 1, s.row_id FROM wanted AS w JOIN scans AS s
    ON s.collection_id = %(collection_id)s AND s.content_sha256 = w.content_sha256
        AND coalesce(s.subject_id, '') = w.subject
    UNION ALL
    SELECT w.place, 2, s.row_id FROM wanted AS w JOIN scans AS s
    ON s.collection_id = %(collection_id)s AND s.scan_id = w.scan_id
    ORDER BY place, rank
"""
# One statement a scan: a round trip for each table would take longer than the work.
_INSERT = """
    WITH stored AS (
        INSERT INTO scans ({columns}) VALUES ({values}) RETURNING row_id
    ), vectors AS (
        INSERT INTO scan_vectors (row_id, workspace_id, collection_id, half, vector)
        SELECT row_id, %(workspace_id)s, %(collection_id)s, %(half)s, %(vector)s FROM stored
    ), images AS (
        INSERT INTO scan_images (row_id, workspace_id, png)
        SELECT row_id, %(workspace_id)s, %(png)s::bytea FROM stored
        WHERE %(png)s::bytea IS NOT NULL
    )
    INSERT INTO scan_thumbnails (row_id, workspace_id, jpeg)
    SELECT row_id, %(workspace_id)s, %(jpeg)s FROM stored
"""
_INSERT_FRAME = """
    INSERT INTO scan_frames (row_id, workspace_id, collection_id, place, time_s, copies, vector)
    SELECT row_id, workspace_id, collection_id, %s, %s, %s, %s FROM scans
    WHERE collection_id = %s AND scan_id = %s
"""
_COUNT = """
    UPDATE collections SET scans = scans + %s, stored_bytes = stored_bytes + %s,
        frames_stamp = frames_stamp + %s
    WHERE collection_id = %s
"""
_STORED = """
    SELECT * FROM scan_records
    WHERE row_id = ANY(%s::bigint[]) OR collection_id = %s AND scan_id = ANY(%s::text[])
"""
# Older rows only: later ones of the same call were not stored yet when it was the turn of this.
_COPIES = """
    SELECT n.scan_id AS of, c.scan_id FROM scans AS n CROSS JOIN LATERAL (
        SELECT row_id, scan_id FROM scans
        WHERE collection_id = n.collection_id AND sha256 = n.sha256 AND row_id < n.row_id
        UNION
        SELECT row_id, scan_id FROM scans
        WHERE collection_id = n.collection_id AND content_sha256 = n.content_sha256
            AND row_id < n.row_id
        ORDER BY row_id LIMIT %s
    ) AS c
    WHERE n.collection_id = %s AND n.scan_id = ANY(%s::text[]) ORDER BY n.row_id, c.row_id
"""
_UPDATE = """
    UPDATE scans
    SET subject_id = %s, study_id = %s, labels = %s, attributes = %s, updated_at = %s,
        version = version + 1
    WHERE row_id = %s
"""
_OTHER = """
    SELECT 1 FROM scans AS s JOIN scans AS o
    ON o.collection_id = s.collection_id AND o.{column} = s.{column}
        AND coalesce(o.subject_id, '') = coalesce(%s::text, '')
    WHERE s.row_id = %s
"""


class PostgresScanWrites(PostgresTable):
    """The part of the catalog that changes scans."""

    def add_scans(
        self,
        workspace_id: str,
        collection: str,
        scans: Sequence[NewScan],
        *,
        encoder_id: str,
        unless_erased: bool = False,
    ) -> list[StoredScan | ServiceError]:
        rules, admit = self._rules.intake(workspace_id), self._rules.admission(workspace_id)
        payer = self._rules.payer()
        with self._database.write(workspace_id) as connection:
            if unless_erased:  # an erasure that began would not see what is stored here
                keep_erasures_away(connection, workspace_id)
            parent = require_collection(connection, workspace_id, collection, lock=True)
            require_encoder(parent["encoder_id"], encoder_id)
            choices: list[NewScan | ServiceError] = list(scans)
            if unless_erased:
                times = erasure_times(connection, workspace_id)
                choices = without_erased(scans, times, workspace_id, rules.named)
            left = [choice for choice in choices if isinstance(choice, NewScan)]
            return in_place(choices, store_scans(connection, parent, left, rules, admit, payer))

    def patch_scan(
        self,
        workspace_id: str,
        collection: str,
        scan_id: str,
        patch: ScanPatch,
        *,
        if_version: int | None = None,
    ) -> Scan:
        require_fields(patch.set_fields, PATCHABLE)
        patch = self._rules.intake(workspace_id).patch(patch)
        scope = (workspace_id, collection, scan_id)
        with self._database.write(workspace_id) as connection:
            lock_erasures(connection, workspace_id)  # it may forget answers
            scan = decode(Scan, require_scan(connection, *scope, lock=True))
            require_version(scan.version, if_version)
            changes = patched(scan, patch)
            _require_no_copy(connection, scan, changes["subject_id"])
            connection.execute(_UPDATE, (*encoded(changes), now(), scan.row_id))
            changed = decode(Scan, require_scan(connection, *scope))
            if removes(scan, changes):
                forget_answers(connection, workspace_id)
        return changed


def store_scans(
    connection: Connection,
    collection: DictRow,
    scans: Sequence[NewScan],
    rules: IntakeRules,
    admit: AdmitUsage | None,
    payer: str | None,
) -> list[StoredScan | ServiceError]:
    """Store scans in a locked collection of their encoder; as ``add_scans``, in the transaction."""
    rules = rules.of_encoder(collection["encoder_id"])
    prepared = [_prepared(new, collection["dim"], rules) for new in scans]
    plan = _planned(connection, collection["collection_id"], prepared)
    answers = _stored(connection, collection, plan, payer)
    if plan.new:
        admit_usage(connection, collection["workspace_id"], admit)
    return answers


@dataclass
class _Plan:
    """What becomes of each scan of a call.

    Attributes:
        answers: per scan an error, the row id of the stored scan that it repeats, or the scan id
            of the one that is stored for it now.
        new: scans to store, in order.
    """

    prepared: list[PreparedScan | InputError]
    answers: list[ServiceError | int | str] = field(default_factory=list)
    new: list[PreparedScan] = field(default_factory=list)


def _prepared(new: NewScan, dim: int, rules: IntakeRules) -> PreparedScan | InputError:
    try:
        return prepare(new, dim, rules)
    except InputError as error:
        return error


def _planned(
    connection: Connection, collection_id: int, prepared: list[PreparedScan | InputError]
) -> _Plan:
    """Decide on the scans in order, as if each were stored before the next one."""
    known = _known(connection, collection_id, prepared)
    plan = _Plan(prepared)
    files: dict[tuple[str, str], str] = {}
    pixels: dict[tuple[str, str], str] = {}
    scan_ids: set[str] = set()
    for place, one in enumerate(prepared):
        if not isinstance(one, PreparedScan):
            plan.answers.append(one)
            continue
        columns = one.columns
        scan_id, subject = columns["scan_id"], columns["subject_id"] or ""
        file, image = (columns["sha256"], subject), (columns["content_sha256"], subject)
        # Of all ranks at most one row each: 0 the same file, 1 the same pixels, 2 the id is taken.
        matches = (known[place].get(0), files.get(file), known[place].get(1), pixels.get(image))
        same = next((match for match in matches if match is not None), None)
        if same is not None:
            plan.answers.append(same)
        elif 2 in known[place] or scan_id in scan_ids:
            plan.answers.append(name_taken())
        else:
            plan.answers.append(scan_id)
            plan.new.append(one)
            scan_ids.add(scan_id)
            files[file] = pixels[image] = scan_id
    return plan


def _known(
    connection: Connection, collection_id: int, prepared: Sequence[PreparedScan | InputError]
) -> defaultdict[int, dict[int, int]]:
    """By the place of a scan: rank of the match -> row id of a stored scan."""
    wanted = [
        (place, one.columns) for place, one in enumerate(prepared) if isinstance(one, PreparedScan)
    ]
    variables = {
        "collection_id": collection_id,
        "places": [place for place, _ in wanted],
        "scan_ids": [columns["scan_id"] for _, columns in wanted],
        "sha256s": [columns["sha256"] for _, columns in wanted],
        "contents": [columns["content_sha256"] for _, columns in wanted],
        "subjects": [columns["subject_id"] or "" for _, columns in wanted],
    }
    known: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for row in connection.execute(_KNOWN, variables):
        known[row["place"]].setdefault(row["rank"], row["row_id"])
    return known


def _stored(
    connection: Connection, collection: DictRow, plan: _Plan, payer: str | None
) -> list[StoredScan | ServiceError]:
    """Store the new scans of a plan; return the answers."""
    collection_id = collection["collection_id"]
    new_ids = [one.columns["scan_id"] for one in plan.new]
    old_rows = [answer for answer in plan.answers if isinstance(answer, int)]
    # Sent in one go: the server need not be waited for between the statements.
    with connection.pipeline():
        _insert(connection, collection, plan.new, payer)
        copies = connection.execute(_COPIES, (MAX_COPIES, collection_id, new_ids))
        stored = connection.execute(_STORED, (old_rows, collection_id, new_ids))
        copies_of: defaultdict[str, list[str]] = defaultdict(list)
        for row in copies:
            copies_of[row["of"]].append(row["scan_id"])
        by_key: dict[int | str, Scan] = {}
        for row in stored:
            scan = decode(Scan, row)
            by_key[scan.row_id] = by_key[scan.scan_id] = scan
    answers: list[StoredScan | ServiceError] = []
    for one, answer in zip(plan.prepared, plan.answers, strict=True):
        if isinstance(answer, ServiceError) or not isinstance(one, PreparedScan):
            answers.append(answer)  # type: ignore[arg-type]
            continue
        scan = by_key[answer]
        if any(one is new for new in plan.new):
            answers.append(StoredScan(scan, True, copies=tuple(copies_of[scan.scan_id])))
        else:
            answers.append(StoredScan(scan, False, tuple(ignored(one, scan))))
    return answers


def _insert(
    connection: Connection, collection: DictRow, new: Sequence[PreparedScan], payer: str | None
) -> None:
    """Store scans with their vectors, images and frames, and count them."""
    if not new:
        return
    collection_id, dim = collection["collection_id"], collection["dim"]
    rows = [_row(collection, one) | {"key_id": payer} for one in new]
    apart = ("half", "vector", "png", "jpeg")
    columns = [name for name in rows[0] if name not in apart]
    statement = _INSERT.format(
        columns=", ".join(columns), values=", ".join(f"%({name})s" for name in columns)
    )
    frames = [
        (
            *(frame.place, frame.time_s, frame.copies),
            to_vector(np.frombuffer(vector, "<f4", dim)),
            *(collection_id, one.columns["scan_id"]),
        )
        for one in new
        for frame, vector in zip(one.new.frames, one.frames, strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
        if frames:
            cursor.executemany(_INSERT_FRAME, frames)
    size = sum(row["stored_bytes"] for row in rows)
    connection.execute(_COUNT, (len(new), size, int(bool(frames)), collection_id))
    count_for_key(connection, collection, payer, len(new), size)


def _row(collection: DictRow, one: PreparedScan) -> dict[str, Any]:
    """The variables of ``_INSERT`` for a scan."""
    new, moment = one.new, now()
    vector_D = np.frombuffer(one.vector, "<f4", collection["dim"])
    return {
        "workspace_id": collection["workspace_id"],
        "collection_id": collection["collection_id"],
        **one.columns,
        "created_at": new.created_at or moment,
        "updated_at": moment,
        "version": 1,
        "stored_bytes": one.stored_bytes(keep_image=collection["keep_images"]),
        "half": to_half(vector_D),
        "vector": to_vector(vector_D),
        "png": new.image_png if collection["keep_images"] else None,
        "jpeg": new.thumbnail_jpeg,
    }


def _require_no_copy(connection: Connection, scan: Scan, subject_id: str | None) -> None:
    """Raises Conflict: the subject has this image already, as another scan."""
    if subject_id == scan.subject_id:
        return
    for column in ("sha256", "content_sha256"):
        query = _OTHER.format(column=column)
        if first(connection, query, subject_id, scan.row_id) is not None:
            raise has_copy()
