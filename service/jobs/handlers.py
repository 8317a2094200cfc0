"""What operations do: refit after an erasure, re-embed, back up, export, import.

Each can be broken off anywhere and begun anew: it goes on from what the catalog holds. Each calls
the use cases that requests call.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from service.catalog.sqlite.backup import back_up
from service.classifiers.store import ClassifierStore
from service.embedding.pipeline import EmbeddedImage
from service.errors import InvalidSettings, Overloaded, ServiceError
from service.gallery.gallery import Gallery
from service.jobs.job_requests import (
    ExportRequest,
    ImportRequest,
    ReembedRequest,
    RefitRequest,
)
from service.jobs.operations import JobKind, Operation, Progress

Embed: TypeAlias = Callable[[Sequence[bytes]], list[EmbeddedImage | ServiceError]]
EMBED_AT_ONCE = 8  # few, so that requests come in between
BUSY_WAIT_S = 0.2


@dataclass(frozen=True, slots=True)
class JobHandlers:
    """The parts of a service that long work needs.

    Attributes:
        embed: blocks; embeds kept images as requests embed files.
        catalog_file: None where the catalog is of no file that could be copied.
        backup_dir: None = no backups.
        backup_keep: most backups that stay.
    """

    gallery: Gallery
    classifiers: ClassifierStore
    embed: Embed
    catalog_file: Path | None
    backup_dir: Path | None
    backup_keep: int

    def kinds(self) -> dict[str, JobKind]:
        """By name, for ``Operations``."""
        return {
            "refit": JobKind(self.refit),
            "reembed": JobKind(self.reembed),
            "backup": JobKind(self.back_up),
            "export": JobKind(self.export),
            "import": JobKind(self.import_),
        }

    def refit(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Publish versions of the named classifiers that know nothing of what was erased."""
        request = RefitRequest.from_json(operation.request)
        names = request.classifiers
        results: list[dict[str, Any]] = []
        for done, name in enumerate(names):
            progress.report(done, len(names))
            try:
                refitted = self.classifiers.refit(operation.workspace_id, name, request.author)
            except ServiceError as error:  # too few examples are left of one: the others go on
                results.append({"name": name, "code": error.code, "detail": str(error)})
            else:
                number = refitted[1].number if refitted else None
                results.append({"name": name, "version": number})
        progress.report(len(names), len(names))
        return {"classifiers": results}

    def reembed(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Embed the kept images of a collection, then switch to the new vectors.

        Raises:
            EncoderMismatch: another encoder is loaded by now than was asked for.
            UnknownItem: the collection is gone, or the re-embedding was taken back.
        """
        request = ReembedRequest.from_json(operation.request)
        owner, name, change = (
            operation.workspace_id,
            request.collection,
            self.gallery.encoder_change,
        )
        change.require_target(request.encoder_id)
        state = change.get(owner, name)
        done, total = state.embedded, self.gallery.get(owner, name).scans
        while images := change.next_images(owner, name, limit=EMBED_AT_ONCE):
            if state.state == "switched":
                break
            embedded = self._patiently([png for _, png in images], progress)
            change.stage(owner, name, [row_id for row_id, _ in images], embedded)
            done += len(images)
            progress.report(min(done, total), total)
        if state.state == "embedding":  # else an earlier attempt ended just behind the switch
            progress.check()
            change.switch(owner, name)
        return {"collection": name, "encoder_id": request.encoder_id, "scans": total}

    def _patiently(
        self, images: list[bytes], progress: Progress
    ) -> list[EmbeddedImage | ServiceError]:
        while True:
            try:
                return self.embed(images)
            except Overloaded:  # requests go first
                progress.wait(BUSY_WAIT_S)

    def back_up(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """One cycle of backups.

        Raises:
            InvalidSettings: no folder is set.
            CatalogFailure: the folder cannot be written.
        """
        if self.backup_dir is None or self.catalog_file is None:
            raise InvalidSettings("SONOPROBE_BACKUP_DIR: no folder for backups is set")
        folder = back_up(
            self.catalog_file,
            self.backup_dir,
            keep=self.backup_keep,
            on_page=progress.report,
        )
        return {"backup": folder.name}

    def export(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Write a collection into the workspace's folder of exports. Raises as the gallery."""
        request = ExportRequest.from_json(operation.request)
        owner, folder = operation.workspace_id, self.gallery.exports
        if operation.attempts > 1 and folder.of(owner, request.to).exists():
            return {"export": request.to}  # whole: the attempt before could not say so
        scans = self.gallery.export(owner, request.collection, request.to, on_scan=progress.report)
        return {"export": request.to, "scans": scans}

    def import_(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Read a collection from the workspace's folder of exports. Raises as the gallery."""
        request = ImportRequest.from_json(operation.request)
        imported = self.gallery.import_(
            operation.workspace_id, request.source, request.collection, on_scan=progress.report
        )
        return {
            "collection": request.collection,
            "stored": imported.stored,
            "known": imported.known,
        }
