"""The parts of the catalog in PostgreSQL that erase, over a real database, and scans to erase."""

import hashlib
from pathlib import Path

import numpy as np
from pgvector import Vector

from service.catalog.erasure_ledger import ErasureLedger
from service.catalog.ids import now
from service.catalog.postgres.erasure.postgres_erasure import PostgresErasure
from service.catalog.postgres.erasure.postgres_replay import PostgresReplay
from service.catalog.postgres.erasure.postgres_retention import PostgresRetention
from service.catalog.postgres.erasure.postgres_vacuum import ErasureVacuum
from service.catalog.postgres.postgres_classifiers import PostgresClassifiers
from service.catalog.postgres.postgres_database import PostgresDatabase
from service.catalog.postgres.postgres_reembedding import PostgresReembeddings
from service.catalog.postgres.postgres_rows import require_collection, to_half
from service.catalog.postgres.postgres_version_examples import PostgresVersionExamples
from service.catalog.postgres.replicas.postgres_workspaces import PostgresWorkspaces

DIM = 8


def drop_first(scores: bytes, positions) -> bytes:
    """One byte per example: those of the erased ones become zero."""
    return bytes(0 if n in positions else score for n, score in enumerate(scores))


class Parts(
    PostgresWorkspaces,
    PostgresErasure,
    PostgresReplay,
    PostgresRetention,
    PostgresReembeddings,
    PostgresClassifiers,
    PostgresVersionExamples,
):
    def __init__(self, url: str, folder: Path | None = None, **options) -> None:
        self._database = PostgresDatabase(url, **options)
        self._ledger = None if folder is None else ErasureLedger(folder)
        self._redact = drop_first
        self._vacuum = ErasureVacuum(self._database)

    @property
    def database(self) -> PostgresDatabase:
        return self._database

    def database_name(self) -> str:
        with self._database.directory("read") as connection:
            return connection.execute("SELECT current_database() AS n").fetchone()["n"]

    def create(self, name: str, collection: str = "lungs", retention_days=None) -> str:
        """A workspace with a collection."""
        workspace_id = self.ensure_workspace(name).workspace_id
        with self._database.write(workspace_id) as connection:
            connection.execute(
                "INSERT INTO collections (workspace_id, name, encoder_id, dim, description, "
                "created_at, version, keep_images, intake, retention_days) "
                "VALUES (%s, %s, 'enc_1', %s, '', %s, 1, true, '{}', %s)",
                (workspace_id, collection, DIM, now(), retention_days),
            )
        return workspace_id

    def add(self, workspace_id: str, n: int, collection: str = "lungs", **fields) -> int:
        """Store scan ``n`` with its vector, image and thumbnail; return its row id."""
        with self._database.write(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection, lock=True)
            digest = hashlib.sha256(b"%d" % n).hexdigest()
            values = {
                "workspace_id": workspace_id,
                "collection_id": parent["collection_id"],
                "scan_id": f"s{n}",
                "sha256": digest,
                "content_sha256": digest[::-1],
                "labels": "{}",
                "created_at": now(),
                "subject_id": None,
                "study_id": None,
            } | fields
            (row,) = connection.execute(
                f"INSERT INTO scans ({', '.join(values)}, kind, format, width_px, height_px, "
                "frames, frames_used, analysis, attributes, updated_at, version) "
                f"VALUES ({', '.join(['%s'] * len(values))}, 'image', 'png', 1, 1, 1, 1, '{{}}', "
                "'{}', '', 1) RETURNING row_id",
                tuple(values.values()),
            )
            row_id = row["row_id"]
            vector = np.random.default_rng(n).standard_normal(DIM).astype(np.float32)
            connection.execute(
                "INSERT INTO scan_vectors VALUES (%s, %s, %s, %s, %s)",
                (
                    row_id,
                    workspace_id,
                    parent["collection_id"],
                    to_half(vector),
                    Vector(vector),
                ),
            )
            for table, bytes_ in (("scan_images", b"png"), ("scan_thumbnails", b"jpeg")):
                insert = f"INSERT INTO {table} VALUES (%s, %s, %s)"
                connection.execute(insert, (row_id, workspace_id, bytes_ + digest.encode() * 50))
            count = "UPDATE collections SET scans = scans + 1 WHERE collection_id = %s"
            connection.execute(count, (parent["collection_id"],))
        return row_id

    def held(self, workspace_id: str, collection: str = "lungs") -> list[str]:
        """The scan ids of a collection, and its count, which must agree."""
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            query = "SELECT scan_id FROM scans WHERE collection_id = %s ORDER BY row_id"
            rows = connection.execute(query, (parent["collection_id"],)).fetchall()
        assert parent["scans"] == len(rows)
        return [row["scan_id"] for row in rows]

    def close(self) -> None:
        self._database.close()
