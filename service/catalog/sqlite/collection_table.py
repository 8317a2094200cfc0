"""Collections in SQLite: a name, an encoder, and an internal number for scans to refer to."""

from collections.abc import Mapping
from typing import Any

from service.catalog.codec import to_columns
from service.catalog.erasure_ledger import collection_digest, new_erasure
from service.catalog.ids import now
from service.catalog.policies.sqlite_policies import admit_usage
from service.catalog.records import Collection, Page, PolicyPatch, new_page
from service.catalog.sqlite.erasure import collect, delete_collected, forget_answers, note
from service.catalog.sqlite.rows import (
    SqliteTable,
    decode,
    insert,
    require_collection,
    require_row,
    require_workspace,
)
from service.catalog.validation import (
    POLICY,
    require_days,
    require_fields,
    require_limit,
    require_text,
    require_version,
)
from service.errors import InputError, NameTaken


class SqliteCollections(SqliteTable):
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
        values = {"workspace_id": workspace_id} | to_columns(record)
        del values["scans"]  # counted, not stored
        values["key_id"] = self._rules.payer()
        unless = "ON CONFLICT (workspace_id, name) DO NOTHING"
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            if insert(connection, "collections", values, unless) is None:
                raise NameTaken("the workspace has a collection of this name")
            admit_usage(connection, workspace_id, admit)
        return record

    def patch_collection(
        self, workspace_id: str, name: str, patch: PolicyPatch, *, if_version: int | None = None
    ) -> Collection:
        require_fields(patch.set_fields, POLICY)
        require_days(patch.retention_days)
        require_text(patch.description, "a description")
        columns = sorted(patch.set_fields)
        values = [getattr(patch, column) for column in columns]
        if "retention_days" in columns:  # the next sweep judges anew
            columns, values = [*columns, "retention_held"], [*values, 0]
        update = f"""
            UPDATE collections SET {"".join(f"{column} = ?, " for column in columns)}
                version = version + 1 WHERE collection_id = ?
        """  # noqa: S608 - the columns are of POLICY
        forget = """
            DELETE FROM scan_images
            WHERE row_id IN (SELECT row_id FROM scans WHERE workspace_id = ? AND collection_id = ?)
        """
        if "keep_images" in patch.set_fields:
            self._rules.intake(workspace_id).require_collection(keep_images=patch.keep_images)
        stops_keeping = "keep_images" in patch.set_fields and not patch.keep_images
        with self._database.write() as connection:
            parent = require_collection(connection, workspace_id, name)
            require_version(parent["version"], if_version)
            connection.execute(update, (*values, parent["collection_id"]))
            dropped = 0
            if stops_keeping:
                scope = (workspace_id, parent["collection_id"])
                dropped = connection.execute(forget, scope).rowcount
            digest = collection_digest(workspace_id, parent["collection_id"], parent["created_at"])
            erasures = [new_erasure("images", workspace_id, digest)] if dropped else []
            note(connection, erasures)
        if erasures:
            self._forgotten(erasures)
        return self.get_collection(workspace_id, name)

    def get_collection(self, workspace_id: str, name: str) -> Collection:
        sql = "SELECT * FROM collection_records WHERE workspace_id = ? AND name = ?"
        missing = "no such collection in this workspace"
        with self._database.read() as connection:
            return decode(Collection, require_row(connection, missing, sql, workspace_id, name))

    def list_collections(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Collection]:
        sql = """
            SELECT * FROM collection_records
            WHERE workspace_id = ? AND (? IS NULL OR name > ?) ORDER BY name LIMIT ?
        """
        variables = (workspace_id, after, after, require_limit(limit) + 1)
        return new_page(self._select(Collection, sql, *variables), limit, lambda item: item.name)

    def delete_collection(
        self, workspace_id: str, name: str, *, if_version: int | None = None
    ) -> int:
        count = "SELECT count(*) FROM scans WHERE workspace_id = ? AND collection_id = ?"
        delete = "DELETE FROM collections WHERE workspace_id = ? AND collection_id = ?"
        with self._database.write() as connection:
            parent = require_collection(connection, workspace_id, name)
            require_version(parent["version"], if_version)
            variables = (workspace_id, parent["collection_id"])
            scans = int(connection.execute(count, variables).fetchone()[0])
            collect(connection, "workspace_id = ? AND collection_id = ?", *variables)
            delete_collected(connection, self._redact, forget_examples=True)
            connection.execute(delete, variables)
            digest = collection_digest(*variables, parent["created_at"])
            erasure = new_erasure("collection", workspace_id, digest)
            note(connection, [erasure])
            forget_answers(connection, workspace_id)
        self._forgotten([erasure])
        return scans

    def all_collections(self) -> tuple[tuple[str, Collection], ...]:
        sql = "SELECT * FROM collection_records ORDER BY workspace_id, name"
        with self._database.read() as connection:
            rows = connection.execute(sql).fetchall()
        return tuple((row["workspace_id"], decode(Collection, row)) for row in rows)
