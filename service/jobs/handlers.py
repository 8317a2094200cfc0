"""What operations do: fit anew after an erasure, move to another encoder, back up, export, import.

Each can be broken off anywhere and begun anew: it goes on from what the catalog holds.

Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from service.catalog.interface import Catalog
from service.catalog.operation_records import Operation
from service.catalog.records import Author
from service.catalog.sqlite.backup import back_up
from service.classifiers.store import ClassifierStore
from service.embedding.pipeline import EmbeddedImage
from service.errors import EncoderMismatch, InvalidSettings, Overloaded, ServiceError, UnknownItem
from service.gallery.gallery import Gallery
from service.gallery.parquet import export_collection, import_collection
from service.jobs.operations import JobKind, Progress

Embed: TypeAlias = Callable[[Sequence[bytes]], list[EmbeddedImage | ServiceError]]
EMBED_AT_ONCE = 8  # few, so that requests come in between
BUSY_WAIT_S = 0.2


@dataclass(frozen=True, slots=True)
class JobHandlers:
    """The parts of a service that long work needs.

    Attributes:
        embed: blocks; embeds image files as requests do.
        catalog_file: None where the catalog is of no file that could be copied.
        backup_dir: None = no backups.
        backup_keep: most backups that stay.
        exchange_dir: of exported collections, a folder per workspace; None = none.
    """

    catalog: Catalog
    gallery: Gallery
    classifiers: ClassifierStore
    embed: Embed
    encoder_id: str
    catalog_file: Path | None
    backup_dir: Path | None
    backup_keep: int
    exchange_dir: Path | None

    def kinds(self) -> dict[str, JobKind]:
        """By name, for ``Operations``."""
        return {
            "refit": JobKind(self.refit),
            "move": JobKind(self.move),
            "backup": JobKind(self.back_up),
            "export": JobKind(self.export),
            "import": JobKind(self.take_in),
        }

    def refit(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Publish versions of the named classifiers that know nothing of what was erased."""
        names, author = operation.request["classifiers"], Author(**operation.request["author"])
        told: list[dict[str, Any]] = []
        for done, name in enumerate(names):
            progress.report(done, len(names))
            try:
                made = self.classifiers.refit(operation.workspace_id, name, author)
            except ServiceError as error:  # too few examples are left of one: the others go on
                told.append({"name": name, "code": error.code, "detail": str(error)})
            else:
                told.append({"name": name, "version": made[1].number if made else None})
        progress.report(len(names), len(names))
        return {"classifiers": told}

    def move(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Embed the kept images of a collection that has begun to move, then switch.

        Raises:
            EncoderMismatch: another encoder is loaded by now than the move is to.
            UnknownItem: the collection is gone, or the move was given up.
        """
        owner, name = operation.workspace_id, operation.request["collection"]
        if operation.request["encoder_id"] != self.encoder_id:
            goal = operation.request["encoder_id"]
            raise EncoderMismatch(f"the move is to {goal}, loaded is {self.encoder_id}")
        move = self.catalog.get_reembedding(owner, name)
        done, total = move.embedded, self.catalog.get_collection(owner, name).scans
        while todo := self.catalog.images_to_embed(owner, name, limit=EMBED_AT_ONCE):
            if move.state == "switched":
                break
            embeddings_ND = self._patiently([png for _, png in todo], progress)
            row_ids = [row_id for row_id, _ in todo]
            self.catalog.stage_vectors(owner, name, row_ids, embeddings_ND)
            done += len(todo)
            progress.report(min(done, total), total)
        if move.state == "embedding":  # else an earlier attempt ended just behind the switch
            progress.check()
            self.gallery.switch(owner, name)
        return {"collection": name, "encoder_id": self.encoder_id, "scans": total}

    def _patiently(self, images: list[bytes], progress: Progress) -> np.ndarray:
        """embeddings_ND, float32. Raises ServiceError: of the first image that fails."""
        while True:
            try:
                found = self.embed(images)
            except Overloaded:  # requests go first
                progress.wait(BUSY_WAIT_S)
                continue
            for each in found:
                if isinstance(each, ServiceError):
                    raise each
            return np.stack([each.embedding_D for each in found if isinstance(each, EmbeddedImage)])

    def back_up(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """One cycle of backups.

        Raises:
            InvalidSettings: no folder is set.
            CatalogFailure: the folder cannot be written.
        """
        if self.backup_dir is None or self.catalog_file is None:
            raise InvalidSettings("SONOPROBE_BACKUP_DIR: no folder for backups is set")
        made = back_up(
            self.catalog_file,
            self.backup_dir,
            keep=self.backup_keep,
            on_page=progress.report,
        )
        return {"backup": made.name}

    def export(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Write a collection into the workspace's folder of exports. Raises as ``exchange``."""
        name, to = operation.request["collection"], operation.request["to"]
        folder = self.exchange_folder(operation.workspace_id, to)
        if operation.attempts > 1 and folder.exists():  # whole: the attempt before could not say so
            return {"export": to}
        scans = export_collection(
            self.catalog, operation.workspace_id, name, folder, on_scan=progress.report
        )
        return {"export": to, "scans": scans}

    def take_in(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Read a collection from the workspace's folder of exports. Raises as ``exchange``."""
        owner, name = operation.workspace_id, operation.request["collection"]
        folder = self.exchange_folder(owner, operation.request["from"])
        try:
            done = import_collection(self.catalog, owner, folder, name, on_scan=progress.report)
        finally:
            self._index_what_came(owner, name)
        return {"collection": name, "stored": done.stored, "known": done.known}

    def _index_what_came(self, owner: str, name: str) -> None:
        try:
            self.gallery.reload(owner, name)
        except UnknownItem:  # refused before anything came
            return

    def exchange_folder(self, workspace_id: str, export: str) -> Path:
        """Where an export of a workspace lies. Raises UnknownItem: no folder is set."""
        if self.exchange_dir is None:
            raise UnknownItem("no folder of exports is set: SONOPROBE_EXCHANGE_DIR")
        return self.exchange_dir / workspace_id / export
