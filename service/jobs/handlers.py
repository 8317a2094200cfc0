"""The work of operations: fit, refit, re-embed, lay out, rename ids, back up, export, delete.

Each can stop anywhere and start again, because it continues from the state of the catalog. Each
calls the same use cases as requests.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from service.catalog.redaction import Redact
from service.catalog.sqlite.backup import back_up
from service.classifiers.registry import ClassifierRegistry
from service.classifiers.requests import FitRequest, RefitFromSource
from service.classifiers.store import ClassifierStore
from service.embedding.pipeline import EmbeddedImage
from service.errors import InvalidSettings, NotSupported, Overloaded, ServiceError
from service.gallery.gallery import Gallery
from service.jobs.job_requests import (
    Author,
    ExportRequest,
    ImportRequest,
    LayoutRequest,
    ReembedRequest,
    RefitRequest,
    WorkspaceDeletion,
)
from service.jobs.operation_workers import JobKind
from service.jobs.operations import Operation
from service.jobs.progress import Progress
from service.jobs.threads import gc_paused

Embed: TypeAlias = Callable[[Sequence[bytes]], list[EmbeddedImage | ServiceError]]
PayingFor: TypeAlias = Callable[[str, Author], AbstractContextManager[None]]
EMBED_AT_ONCE = 8  # few, so that requests get their turn in between
BUSY_WAIT_S = 0.2


@dataclass(frozen=True, slots=True)
class JobHandlers:
    """The parts of a service that operations need.

    Attributes:
        embed: embeds kept images as requests embed files; blocks.
        catalog_file: None if the catalog is not one file that can be copied.
        backup_dir: None = no backups.
        backup_keep: maximal number of backups.
        redact: removes the out-of-fold scores of erased examples.
        paying_for: counts what the block embeds for a workspace and an author.
    """

    gallery: Gallery
    classifiers: ClassifierStore
    embed: Embed
    catalog_file: Path | None
    backup_dir: Path | None
    backup_keep: int
    registry: ClassifierRegistry
    redact: Redact
    paying_for: PayingFor

    def kinds(self) -> dict[str, JobKind]:
        """The kinds of operations by name."""
        return {
            "fit": JobKind(gc_paused()(self.fit)),
            "refit": JobKind(gc_paused()(self.refit)),
            "reembed": JobKind(self.reembed),
            "layout": JobKind(self.lay_out),
            "pseudonymize": JobKind(self.pseudonymize),
            "backup": JobKind(self.back_up),
            "export": JobKind(self.export),
            "import": JobKind(self.import_),
            # Cancelled behind its last step, it would leave no receipt and an open audit chain.
            "delete_workspace": JobKind(self.delete_workspace, is_cancellable=False),
        }

    def fit(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Fit a classifier (``Prefer: respond-async``)."""
        request = FitRequest.from_json(operation.request)
        with self.paying_for(operation.workspace_id, request.author):
            self.registry.fit(
                operation.workspace_id,
                request,
                operation_id=operation.operation_id,
                before_fit=lambda examples: progress.report(0, examples),
                before_storing=progress.check,
            )
        return {"classifier": request.name, "location": f"/v1/classifiers/{request.name}"}

    def refit(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Fit and publish versions of the named classifiers without the erased examples.

        Or fit the next version of one classifier from its source, which fails if that fails.
        A refit after an erasure is counted for nobody: no rate may leave a patient in a version.
        """
        if "classifiers" not in operation.request:
            return self._refit_from_source(operation, progress)
        request = RefitRequest.from_json(operation.request)
        names = request.classifiers
        results: list[dict[str, Any]] = []
        for done, name in enumerate(names):
            progress.report(done, len(names))
            try:
                refitted = self.classifiers.refit(operation.workspace_id, name, request.author)
            except ServiceError as error:  # one may have too few examples left: refit the others
                results.append({"name": name, "code": error.code, "detail": str(error)})
            else:
                number = refitted[1].number if refitted else None
                results.append({"name": name, "version": number})
        progress.report(len(names), len(names))
        return {"classifiers": results}

    def _refit_from_source(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        request = RefitFromSource.from_json(operation.request)
        with self.paying_for(operation.workspace_id, request.author):
            _, version = self.registry.refit(
                operation.workspace_id,
                request,
                operation_id=operation.operation_id,
                before_fit=lambda labels: progress.report(0, labels),
            )
        return {"classifiers": [{"name": request.name, "version": version.number}]}

    def reembed(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Embed the kept images of a collection, then switch to the new vectors.

        Raises:
            EncoderMismatch: the loaded encoder is not the one of the request.
            UnknownItem: the collection was deleted, or the re-embedding was ended.
        """
        request = ReembedRequest.from_json(operation.request)
        owner, name = operation.workspace_id, request.collection
        change = self.gallery.encoder_change
        change.require_target(request.encoder_id)
        state = change.get(owner, name)
        done, total = state.embedded, self.gallery.get(owner, name).scans
        while images := change.next_images(owner, name, limit=EMBED_AT_ONCE):
            if state.state == "switched":
                break
            embedded = self._embed([png for _, png in images], progress)
            change.stage(owner, name, [row_id for row_id, _ in images], embedded)
            done += len(images)
            progress.report(min(done, total), total)
        if state.state == "embedding":  # else an earlier attempt ended just after the switch
            progress.check()
            change.switch(owner, name)
        return {"collection": name, "encoder_id": request.encoder_id, "scans": total}

    def _embed(self, images: list[bytes], progress: Progress) -> list[EmbeddedImage | ServiceError]:
        """Embed when the service is not busy."""
        while True:
            try:
                return self.embed(images)
            except Overloaded:  # requests have priority
                progress.wait(BUSY_WAIT_S)

    def lay_out(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Lay a collection out for its map; see ``projection.lay_out``."""
        name = LayoutRequest.from_json(operation.request).collection
        owner, encoder_id = operation.workspace_id, self.gallery.vector_search.encoder_id
        placed, kept = self.gallery.lay_out(owner, name, encoder_id, progress.report)
        return {"collection": name, "placed": placed, "kept": kept}

    def pseudonymize(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Give pseudonyms to ids of before the policy; see ``pseudonymize.pseudonymize``."""
        renamed = self.gallery.pseudonymize(operation.workspace_id, progress.report)
        return asdict(renamed)

    def back_up(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Run one cycle of backups. Raises NotSupported, InvalidSettings, CatalogFailure."""
        if self.catalog_file is None:
            raise NotSupported(
                "the catalog is not one file: back up its database with its own tools"
            )
        if self.backup_dir is None:
            raise InvalidSettings("expected a folder for backups in SONOPROBE_BACKUP_DIR, got none")
        keep, on_page = self.backup_keep, progress.report
        folder = back_up(
            self.catalog_file, self.backup_dir, keep=keep, on_page=on_page, redact=self.redact
        )
        return {"backup": folder.name}

    def export(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Write a collection into the workspace's folder of exports; see ``Gallery.export``."""
        request = ExportRequest.from_json(operation.request)
        owner, folder = operation.workspace_id, self.gallery.exports
        if operation.attempts > 1 and folder.of(owner, request.to).exists():
            return {"export": request.to}  # complete: the earlier attempt could not record it
        scans = self.gallery.export(owner, request.collection, request.to, on_scan=progress.report)
        return {"export": request.to, "scans": scans}

    def import_(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Read a collection from the workspace's folder of exports; see ``Gallery.import_``."""
        request = ImportRequest.from_json(operation.request)
        imported = self.gallery.import_(
            operation.workspace_id, request.source, request.collection, on_scan=progress.report
        )
        return {"collection": request.collection, **asdict(imported)}

    def delete_workspace(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Delete a workspace that was closed for it; the result counts what was in it."""
        request = WorkspaceDeletion.from_json(operation.request)
        known = self.gallery.remove_workspace(request.workspace_id, on_collection=progress.report)
        self.classifiers.forget()
        counts = {**asdict(request), "workspace": request.name, "backups_know": known}
        del counts["name"]
        return counts
