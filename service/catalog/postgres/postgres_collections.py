"""Collections in PostgreSQL: a name, an encoder, and an internal number for scans to refer to."""

from collections.abc import Mapping
from typing import Any

from psycopg import sql

from service.catalog.codec import to_columns
from service.catalog.erasure_ledger import collection_digest, new_erasure
from service.catalog.ids import now
from service.catalog.policies.postgres_policies import admit_usage
from service.catalog.postgres.erasure.postgres_erasure import drop_rows
from service.catalog.postgres.postgres_locks import lock_erasures
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    decode,
    forget_answers,
    forget_images,
    insert,
    note,
    owe_vacuum,
    require_collection,
    require_workspace,
    select,
    until_nul,
)
from service.catalog.records import Collection, Page, PolicyPatch, new_page
from service.catalog.validation import (
    POLICY,
    require_days,
    require_fields,
    require_limit,
    require_text,
    require_version,
)
from service.errors import InputError, NameTaken

_LIST = """
    SELECT * FROM collection_records
    WHERE workspace_id = %s AND (%s::text IS NULL OR name > %s) ORDER BY name LIMIT %s
"""


class PostgresCollections(PostgresTable):
    """The part of the catalog for collections."""

    def create_collection(
        self,
        workspace_id: str,
        name: str,
        description: str = "",
        *,
        encoder_id: str,
        dim: int,
        keep_images: bool = False,
        retention_days: float | None = None,
        intake: Mapping[str, Any] | None = None,
    ) -> Collection:
        admit = self._rules.admission(workspace_id)
        self._rules.intake(workspace_id).require_collection(keep_images=keep_images)
        require_text(name, "a collection name")
        require_text(description, "a description")
        if dim < 1:
            raise InputError(f"expected embeddings of at least 1 number, got {dim}")
        policy = (keep_images, require_days(retention_days), dict(intake or {}))
        record = Collection(name, encoder_id, dim, description, now(), 1, 0, *policy)
        values = {"workspace_id": workspace_id, "key_id": self._rules.payer()} | to_columns(record)
        unless = "ON CONFLICT (workspace_id, name) DO NOTHING"
        with self._database.write(workspace_id) as connection:
            require_workspace(connection, workspace_id)
            column = "collection_id"
            if (
                insert(connection, "collections", values, otherwise=unless, returning=column)
                is None
            ):
                raise NameTaken("the workspace has a collection of this name")
            admit_usage(connection, workspace_id, admit)
        return record

    def patch_collection(
        self, workspace_id: str, name: str, patch: PolicyPatch, *, if_version: int | None = None
    ) -> Collection:
        require_fields(patch.set_fields, POLICY)
        require_days(patch.retention_days)
        require_text(patch.description, "a description")
        changes = {column: getattr(patch, column) for column in sorted(patch.set_fields)}
        if "retention_days" in changes:  # the next sweep judges anew
            changes["retention_held"] = 0
        update = sql.SQL(
            "UPDATE collections SET {} version = version + 1 WHERE collection_id = %s RETURNING *"
        ).format(
            sql.SQL("").join(sql.SQL("{} = %s, ").format(sql.Identifier(name)) for name in changes)
        )
        if "keep_images" in patch.set_fields:
            self._rules.intake(workspace_id).require_collection(keep_images=patch.keep_images)
        stops_keeping = "keep_images" in patch.set_fields and not patch.keep_images
        with self._database.write(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, name, lock=True)
            require_version(parent["version"], if_version)
            collection_id = parent["collection_id"]
            row = connection.execute(update, (*changes.values(), collection_id)).fetchone()
            dropped = 0
            if stops_keeping:
                dropped = forget_images(connection, collection_id)
                owe_vacuum(connection)
            digest = collection_digest(workspace_id, collection_id, parent["created_at"])
            erasures = [new_erasure("images", workspace_id, digest)] if dropped else []
            note(connection, erasures)
        if erasures:
            self._noted(erasures)
        return decode(Collection, row or {})

    def get_collection(self, workspace_id: str, name: str) -> Collection:
        with self._database.read(workspace_id) as connection:
            return decode(Collection, require_collection(connection, workspace_id, name))

    def list_collections(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Collection]:
        start = until_nul(after)
        variables = (workspace_id, start, start, require_limit(limit) + 1)
        found = self._select(Collection, workspace_id, _LIST, *variables)
        return new_page(found, limit, lambda item: item.name)

    def delete_collection(
        self, workspace_id: str, name: str, *, if_version: int | None = None
    ) -> int:
        rows = "SELECT row_id FROM scans WHERE collection_id = %s"
        delete = "DELETE FROM collections WHERE collection_id = %s"
        with self._database.write(workspace_id) as connection:
            lock_erasures(connection, workspace_id)
            parent = require_collection(connection, workspace_id, name, lock=True)
            require_version(parent["version"], if_version)
            collection_id = parent["collection_id"]
            going = [row["row_id"] for row in select(connection, rows, collection_id)]
            drop_rows(connection, going, self._redact, forget_examples=True)
            connection.execute(delete, (collection_id,))
            digest = collection_digest(workspace_id, collection_id, parent["created_at"])
            erasure = new_erasure("collection", workspace_id, digest)
            note(connection, [erasure])
            forget_answers(connection, workspace_id)
        self._noted([erasure])
        return len(going)

    def all_collections(self) -> tuple[tuple[str, Collection], ...]:
        # Not those of a copy that is arriving, or that is left after a move.
        query = """
            SELECT c.* FROM collection_records AS c JOIN workspaces AS w USING (workspace_id)
            WHERE w.state IN ('active', 'read_only')
        """
        rows = []
        for shard in self._database.shards:
            with self._database.everything(shard, "read") as connection:
                rows += select(connection, query)
        rows.sort(key=lambda row: (row["workspace_id"], row["name"]))
        return tuple((row["workspace_id"], decode(Collection, row)) for row in rows)
