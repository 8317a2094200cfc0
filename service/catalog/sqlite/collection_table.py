"""Collections, in SQLite: a name and an encoder, and a number inside that scans point to."""

from collections.abc import Mapping
from typing import Any

from service.catalog.lifecycle_records import PolicyPatch
from service.catalog.records import Collection, Page
from service.catalog.sqlite.codec import (
    decode_collection,
    encode_object,
    new_page,
    now,
    require_collection,
    require_limit,
    require_text,
    require_version,
    require_workspace,
)
from service.catalog.sqlite.database import Database
from service.errors import InputError, NameTaken, UnknownItem

MAX_DAYS = 100_000  # Python's calendar ends in the year 9999
POLICY = frozenset({"description", "keep_images", "retention_days"})


class Collections:
    """The part of the catalog that holds galleries."""

    _database: Database

    def create_collection(
        self,
        workspace_id: str,
        name: str,
        *,
        encoder_id: str,
        dim: int,
        description: str = "",
        keep_images: bool = False,
        retention_days: float | None = None,
        intake: Mapping[str, Any] | None = None,
    ) -> Collection:
        """An empty collection for vectors of ``dim`` numbers from one encoder.

        Raises:
            UnknownItem: no such workspace.
            NameTaken: the workspace has a collection of this name.
            InputError: ``dim`` or ``retention_days`` is not positive, or the name holds NUL or
                no valid Unicode.
        """
        require_text(name, "a collection name")
        if dim < 1:
            raise InputError(f"an embedding must have at least 1 number, got {dim}")
        insert = """
            INSERT INTO collections (
                workspace_id, name, encoder_id, dim, description, created_at, version,
                keep_images, retention_days, intake
            )
            VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (workspace_id, name) DO NOTHING
        """
        moment, policy = now(), (keep_images, require_days(retention_days))
        refused = dict(intake or {})
        record = Collection(name, encoder_id, dim, description, moment, 1, 0, *policy, refused)
        values = (workspace_id, name, encoder_id, dim, description, moment, *policy)
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            if connection.execute(insert, (*values, encode_object(refused))).rowcount == 0:
                raise NameTaken("the workspace has a collection of this name")
        return record

    def patch_collection(
        self, workspace_id: str, name: str, patch: PolicyPatch, *, if_version: int | None = None
    ) -> Collection:
        """Apply and bump ``version``; images that are no longer to be kept are overwritten.

        Raises:
            UnknownItem: no such collection.
            PreconditionFailed: ``if_version`` is not the current one.
            InputError: an age that is not positive, or ``set_fields`` names an unknown field.
        """
        unknown = len(patch.set_fields - POLICY)
        if unknown:
            raise InputError(f"set_fields may name {sorted(POLICY)}, got {unknown} others")
        require_days(patch.retention_days)
        columns = sorted(patch.set_fields)
        values = [getattr(patch, column) for column in columns]
        update = f"""
            UPDATE collections SET {"".join(f"{column} = ?, " for column in columns)}
                version = version + 1 WHERE collection_id = ?
        """  # noqa: S608 - the columns are of POLICY
        forget = """
            DELETE FROM scan_images
            WHERE row_id IN (SELECT row_id FROM scans WHERE workspace_id = ? AND collection_id = ?)
        """
        stops_keeping = "keep_images" in patch.set_fields and not patch.keep_images
        with self._database.write() as connection:
            found = require_collection(connection, workspace_id, name)
            require_version(found["version"], if_version)
            connection.execute(update, (*values, found["collection_id"]))
            if stops_keeping:
                connection.execute(forget, (workspace_id, found["collection_id"]))
        if stops_keeping:
            self._database.forget_deleted()
        return self.get_collection(workspace_id, name)

    def get_collection(self, workspace_id: str, name: str) -> Collection:
        """Raises UnknownItem."""
        sql = "SELECT * FROM collection_records WHERE workspace_id = ? AND name = ?"
        with self._database.read() as connection:
            row = connection.execute(sql, (workspace_id, name)).fetchone()
        if row is None:
            raise UnknownItem("no such collection in this workspace")
        return decode_collection(row)

    def list_collections(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Collection]:
        """Sorted by name in code point order, starting after the name ``after``."""
        sql = """
            SELECT * FROM collection_records
            WHERE workspace_id = ? AND (? IS NULL OR name > ?) ORDER BY name LIMIT ?
        """
        variables = (workspace_id, after, after, require_limit(limit) + 1)
        with self._database.read() as connection:
            rows = connection.execute(sql, variables).fetchall()
        return new_page([decode_collection(row) for row in rows], limit, lambda item: item.name)

    def delete_collection(
        self, workspace_id: str, name: str, *, if_version: int | None = None
    ) -> int:
        """Delete it with all its scans; return how many. Raises UnknownItem, PreconditionFailed."""
        count = "SELECT count(*) FROM scans WHERE workspace_id = ? AND collection_id = ?"
        delete = "DELETE FROM collections WHERE workspace_id = ? AND collection_id = ?"
        with self._database.write() as connection:
            found = require_collection(connection, workspace_id, name)
            require_version(found["version"], if_version)
            variables = (workspace_id, found["collection_id"])
            scans = int(connection.execute(count, variables).fetchone()[0])
            connection.execute(delete, variables)  # scans, vectors, thumbnails: by cascade
        return scans

    def all_collections(self) -> tuple[tuple[str, Collection], ...]:
        """(workspace_id, collection) of every workspace, sorted by both."""
        sql = "SELECT * FROM collection_records ORDER BY workspace_id, name"
        with self._database.read() as connection:
            rows = connection.execute(sql).fetchall()
        return tuple((row["workspace_id"], decode_collection(row)) for row in rows)


def require_days(days: float | None) -> float | None:
    """Return the age. Raises InputError: not above 0."""
    if days is not None and not 0 < days <= MAX_DAYS:
        raise InputError(f"an age must be above 0 and at most {MAX_DAYS} days")
    return days
